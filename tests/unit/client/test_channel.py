"""How the clients reach a server: repeats, limits, and that both use the same options on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from tests.unit.client import answers
from tests.unit.client.stub_server import Behaviour, serving, take

from stopline import AsyncClient, CallCancelledError, Client, Filtered, InternalError, UnavailableError
from stopline._channel import MESSAGE_BYTES, channel_options, service_config
from stopline.v1 import admin_service_pb2, consent_service_pb2, timeline_service_pb2
from stopline.v1 import consent_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]
PHONE = "+14155550100"


def _methods() -> dict[tuple[str, str], MethodDescriptor]:
    modules = (admin_service_pb2, consent_service_pb2, timeline_service_pb2)
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    return {(service.full_name, method.name): method for service in services for method in service.methods}


def test_only_what_is_harmless_is_repeated() -> None:
    config = json.loads(service_config())
    (entry,) = config["methodConfig"]
    assert entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    methods = _methods()
    for name in entry["name"]:
        level = methods[name["service"], name["method"]].GetOptions().idempotency_level
        assert level != MethodOptions.IDEMPOTENCY_UNKNOWN, name
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]


def test_an_option_of_the_caller_wins() -> None:
    name = "grpc.max_receive_message_length"
    options = channel_options([(name, 1), ("grpc.primary_user_agent", "crm/1")])
    assert dict(options)[name] == 1
    assert dict(options)["grpc.primary_user_agent"] == "crm/1"
    assert [key for key, _ in options].count(name) == 1
    assert dict(channel_options())[name] == MESSAGE_BYTES


def _failing_at_first(times: int, code: grpc.StatusCode, calls: list[float]) -> Behaviour:
    async def behave(request: object, context: Context) -> pb.IsSendableResponse:
        calls.append(asyncio.get_running_loop().time())
        if len(calls) <= times:
            await context.abort(code, "not now")
        return answers.check()

    return behave


async def test_an_unavailable_check_is_repeated() -> None:
    calls: list[float] = []
    async with serving({"IsSendable": _failing_at_first(2, grpc.StatusCode.UNAVAILABLE, calls)}) as target:
        async with AsyncClient(target, timeout=10) as client:
            assert await client.is_sendable("acme", PHONE)
        assert len(calls) == 3
        calls.clear()
        with Client(target, timeout=10) as sync_client:
            assert await asyncio.to_thread(sync_client.is_sendable, "acme", PHONE)
        assert len(calls) == 3


async def test_a_check_is_not_repeated_for_ever_nor_after_another_error() -> None:
    calls: list[float] = []
    async with serving({"IsSendable": _failing_at_first(100, grpc.StatusCode.UNAVAILABLE, calls)}) as target:
        async with AsyncClient(target, timeout=10) as client:
            with pytest.raises(UnavailableError):
                await client.is_sendable("acme", PHONE)
    assert len(calls) == 4
    calls.clear()
    async with serving({"IsSendable": _failing_at_first(1, grpc.StatusCode.INTERNAL, calls)}) as target:
        async with AsyncClient(target, timeout=10) as client:
            with pytest.raises(InternalError):
                await client.is_sendable("acme", PHONE)
    assert len(calls) == 1


async def test_a_stream_is_repeated_before_its_first_answer_only() -> None:
    streams = 0

    async def behave(
        requests: AsyncIterator[pb.StreamFilterRequest], context: Context
    ) -> AsyncIterator[pb.StreamFilterResponse]:
        nonlocal streams
        streams += 1
        stream, answered = streams, 0
        async for request in requests:
            if stream == 1 or answered == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            answered += 1
            yield pb.StreamFilterResponse(chunk_id=request.chunk_id, batch=answers.batch(answers.SENDABLE))

    taken: list[Filtered] = []
    async with serving({"StreamFilter": behave}) as target, AsyncClient(target) as client:
        with pytest.raises(UnavailableError):
            await take(client.filter("acme", [PHONE, PHONE], chunk_size=1), taken)
    assert (streams, len(taken)) == (2, 1)


async def test_a_client_finds_a_server_that_comes_back() -> None:
    async with serving({"IsSendable": _failing_at_first(0, grpc.StatusCode.OK, [])}) as target:
        client = Client(target, timeout=2)
        assert await asyncio.to_thread(client.is_sendable, "acme", PHONE)
    with pytest.raises(UnavailableError):
        await asyncio.to_thread(client.is_sendable, "acme", PHONE)
    port = int(target.rpartition(":")[2])
    async with serving({"IsSendable": _failing_at_first(0, grpc.StatusCode.OK, [])}, port=port):
        for _ in range(50):
            try:
                assert await asyncio.to_thread(client.is_sendable, "acme", PHONE)
                break
            except UnavailableError:
                await asyncio.sleep(0.1)
        else:
            pytest.fail("the client did not find the server within seconds")
    client.close()


async def _echo(
    requests: AsyncIterator[pb.StreamFilterRequest], context: Context
) -> AsyncIterator[pb.StreamFilterResponse]:
    async for request in requests:
        batch = answers.batch(*[answers.SENDABLE] * len(request.batch.phones))
        yield pb.StreamFilterResponse(chunk_id=request.chunk_id, batch=batch)


async def test_the_synchronous_stream_on_a_socket() -> None:
    numbers = [f"+1415{number:07}" for number in range(300_000)]
    async with serving({"StreamFilter": _echo}, message_bytes=MESSAGE_BYTES) as target:
        with Client(target) as client:
            taken = await asyncio.to_thread(lambda: list(client.filter("acme", numbers)))
            few = await asyncio.to_thread(lambda: list(client.filter("acme", numbers[:200], chunk_size=1)))
    assert [each.phone for each in taken] == numbers
    assert [each.phone for each in few] == numbers[:200]


async def test_the_synchronous_stream_says_what_cut_it() -> None:
    async def behave(
        requests: AsyncIterator[pb.StreamFilterRequest], context: Context
    ) -> AsyncIterator[pb.StreamFilterResponse]:
        async for request in requests:
            batch = answers.batch(*[answers.SENDABLE] * len(request.batch.phones))
            yield pb.StreamFilterResponse(chunk_id=request.chunk_id, batch=batch)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "", answers.NOT_NOW)

    taken: list[Filtered] = []
    async with serving({"StreamFilter": behave}, message_bytes=MESSAGE_BYTES) as target:
        with Client(target) as client, pytest.raises(UnavailableError) as raised:
            await asyncio.to_thread(lambda: taken.extend(client.filter("acme", [PHONE] * 200_000, chunk_size=50_000)))
    assert raised.value.reason == "STORE_UNAVAILABLE"


async def test_an_answer_that_is_no_message_raises() -> None:
    async def garbage(request: object, context: Context) -> bytes:
        return b"\xff\xff\xff"

    async with serving({"IsSendable": garbage}) as target:
        with Client(target) as client, pytest.raises(InternalError):
            await asyncio.to_thread(client.is_sendable, "acme", PHONE)


async def test_closing_the_client_ends_what_waits() -> None:
    async def for_ever(request: object, context: Context) -> None:
        await asyncio.Event().wait()

    async with serving({"IsSendable": for_ever}) as target:
        client = Client(target, timeout=10)
        waiting = asyncio.create_task(asyncio.to_thread(client.is_sendable, "acme", PHONE))
        await asyncio.sleep(0.1)
        client.close()
        with pytest.raises(CallCancelledError):
            await waiting


async def test_a_channel_of_the_caller_stays_open() -> None:
    async with serving({"IsSendable": _failing_at_first(0, grpc.StatusCode.OK, [])}) as target:
        with grpc.insecure_channel(target) as channel:
            Client(channel=channel).close()
            assert await asyncio.to_thread(Client(channel=channel).is_sendable, "acme", PHONE)
        async with grpc.aio.insecure_channel(target) as aio_channel:
            await AsyncClient(channel=aio_channel).close()
            assert await AsyncClient(channel=aio_channel).is_sendable("acme", PHONE)
