"""The asynchronous client, against a small server on a socket that answers well or badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.unit.client import answers
from tests.unit.client.stub_server import Behaviour, answering, failing, serving, take

from stopline import (
    AsyncClient,
    CallCancelledError,
    ConsentStatus,
    DeadlineExceededError,
    FieldViolation,
    Filtered,
    InboundAction,
    InvalidArgumentError,
    ProtocolError,
    StoplineError,
    UnavailableError,
    UnimplementedError,
    Verdict,
)
from stopline.v1 import admin_service_pb2, timeline_service_pb2
from stopline.v1 import consent_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]
PHONES = ["+14155550100", "+14155550101"]
GARBAGE = b"\xff\xff\xff"


async def test_a_check() -> None:
    async with serving({"IsSendable": answering(answers.check())}) as target, AsyncClient(target) as client:
        check = await client.is_sendable("acme", PHONES[0])
        assert check
        assert (check.verdict, check.as_of) == (Verdict.SENDABLE, answers.AS_OF)


@pytest.mark.parametrize("answer", [*answers.BAD_CHECKS.values(), GARBAGE], ids=[*answers.BAD_CHECKS, "garbage"])
async def test_a_doubtful_check_raises(answer: pb.IsSendableResponse | bytes) -> None:
    async with serving({"IsSendable": answering(answer)}) as target, AsyncClient(target) as client:
        with pytest.raises(ProtocolError):
            await client.is_sendable("acme", PHONES[0])


@pytest.mark.parametrize("answer", [*answers.BAD_BATCHES.values(), GARBAGE], ids=[*answers.BAD_BATCHES, "garbage"])
async def test_a_doubtful_list_raises(answer: pb.BatchFilterResponse | bytes) -> None:
    async with serving({"BatchFilter": answering(answer)}) as target, AsyncClient(target) as client:
        with pytest.raises(ProtocolError):
            await client.batch_filter("acme", PHONES)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_failure_raises(code: grpc.StatusCode) -> None:
    async with serving({"IsSendable": failing(code)}) as target, AsyncClient(target) as client:
        with pytest.raises(StoplineError) as raised:
            await client.is_sendable("acme", PHONES[0])
        assert raised.value.code is code


async def test_an_error_tells_the_field() -> None:
    behaviour = failing(grpc.StatusCode.INVALID_ARGUMENT, answers.BAD_FIELD)
    async with serving({"IsSendable": behaviour}) as target, AsyncClient(target) as client:
        with pytest.raises(InvalidArgumentError) as raised:
            await client.is_sendable("acme", PHONES[0])
        assert (raised.value.reason, raised.value.field_violations) == (
            "INVALID_FIELD",
            (FieldViolation("phone", "no"),),
        )


async def test_no_server_raises() -> None:
    async with serving({}) as target:
        async with AsyncClient(target) as client:
            with pytest.raises(UnimplementedError):
                await client.is_sendable("acme", PHONES[0])
    async with AsyncClient(target) as client:
        with pytest.raises(UnavailableError):
            await client.is_sendable("acme", PHONES[0])


async def _for_ever(request: object, context: Context) -> None:
    await asyncio.Event().wait()


async def test_a_late_answer_raises() -> None:
    async with serving({"IsSendable": _for_ever}) as target, AsyncClient(target, timeout=0.1) as client:
        with pytest.raises(DeadlineExceededError):
            await client.is_sendable("acme", PHONES[0])


async def test_closing_the_client_is_not_a_cancelled_task() -> None:
    async with serving({"IsSendable": _for_ever}) as target:
        client = AsyncClient(target, timeout=10)
        waiting = asyncio.create_task(client.is_sendable("acme", PHONES[0]))
        await asyncio.sleep(0.1)
        await client.close()
        with pytest.raises(CallCancelledError):
            await waiting


async def test_a_cancelled_task_stays_one() -> None:
    async with serving({"IsSendable": _for_ever}) as target, AsyncClient(target, timeout=10) as client:
        waiting = asyncio.create_task(client.is_sendable("acme", PHONES[0]))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.is_sendable("acme", PHONES[0])


async def test_the_other_calls() -> None:
    def page(request: timeline_service_pb2.ListTimelineRequest) -> timeline_service_pb2.ListTimelineResponse:
        version = 1 if request.page_token else 2
        entries = [timeline_service_pb2.TimelineEntry(version=version)]
        return timeline_service_pb2.ListTimelineResponse(entries=entries, next_page_token="t" if version == 2 else "")

    async def list_timeline(request: Any, context: Context) -> timeline_service_pb2.ListTimelineResponse:
        return page(request)

    behaviours: dict[str, Behaviour] = {
        "RecordInbound": answering(answers.GOOD_INBOUND),
        "GetConsent": answering(timeline_service_pb2.GetConsentResponse(consent=answers.GOOD_INBOUND.consent)),
        "ListTimeline": list_timeline,
        "GetServerInfo": answering(admin_service_pb2.GetServerInfoResponse(version="0.1.0")),
        "BatchFilter": answering(answers.batch(answers.SENDABLE, answers.OPTED_OUT)),
    }
    async with serving(behaviours) as target, AsyncClient(target) as client:
        inbound = await client.record_inbound("acme", "SM1", PHONES[0], "STOP")
        assert (inbound.action, inbound.consent.status) == (InboundAction.OPTED_OUT, ConsentStatus.OPTED_OUT)
        assert (await client.get_consent("acme", PHONES[0])).version == 42
        assert [entry.version async for entry in client.list_timeline("acme", PHONES[0])] == [2, 1]
        assert (await client.server_info()).version == "0.1.0"
        assert (await client.batch_filter("acme", PHONES)).sendable == PHONES[:1]


async def test_a_largest_list_fits_through() -> None:
    numbers = [f"{number:064}" for number in range(100_000)]

    async def batch_filter(request: pb.BatchFilterRequest, context: Context) -> pb.BatchFilterResponse:
        return answers.batch(*[answers.INVALID] * len(request.phones))

    async with serving({"BatchFilter": batch_filter}, message_bytes=16 << 20) as target, AsyncClient(target) as client:
        assert (await client.batch_filter("acme", numbers)).skipped_count == 100_000


async def _echo(
    requests: AsyncIterator[pb.StreamFilterRequest], context: Context
) -> AsyncIterator[pb.StreamFilterResponse]:
    """Answers each number by its last digit: even ones may be texted."""
    async for request in requests:
        verdicts = [answers.OPTED_OUT if int(phone[-1]) % 2 else answers.SENDABLE for phone in request.batch.phones]
        yield pb.StreamFilterResponse(chunk_id=request.chunk_id, batch=answers.batch(*verdicts))


def _numbers(count: int) -> list[str]:
    return [f"+1415{number:07}" for number in range(count)]


async def _as_they_come(numbers: list[str]) -> AsyncIterator[str]:
    for number in numbers:
        yield number


@pytest.mark.parametrize("live", [False, True], ids=["a list", "an async iterator"])
@pytest.mark.parametrize("size", [1, 7, 1000, 200_000])
async def test_a_list_is_answered_in_order(live: bool, size: int) -> None:
    numbers = _numbers(500 if size < 1000 else 200_000)
    async with serving({"StreamFilter": _echo}, message_bytes=16 << 20) as target, AsyncClient(target) as client:
        filtered = client.filter("acme", _as_they_come(numbers) if live else numbers, chunk_size=size)
        taken = [each async for each in filtered]
    assert [each.phone for each in taken] == numbers
    assert all(each.sendable is (int(each.phone[-1]) % 2 == 0) for each in taken)


async def test_an_empty_list_asks_nothing() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        assert [each async for each in client.filter("acme", [])] == []


def _after(answered: int, *, code: grpc.StatusCode | None) -> Behaviour:
    """Answers so many chunks, then ends: with an error, or as if all were well."""

    async def behave(
        requests: AsyncIterator[pb.StreamFilterRequest], context: Context
    ) -> AsyncIterator[pb.StreamFilterResponse]:
        left = answered
        async for request in requests:
            if not left:
                break
            left -= 1
            yield pb.StreamFilterResponse(
                chunk_id=request.chunk_id, batch=answers.batch(*[answers.SENDABLE] * len(request.batch.phones))
            )
        if code is not None:
            await context.abort(code, "", answers.NOT_NOW)

    return behave


@pytest.mark.parametrize("answered", [0, 1, 5])
@pytest.mark.parametrize("code", [None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_a_cut_stream_raises(answered: int, code: grpc.StatusCode | None) -> None:
    taken: list[Filtered] = []
    async with serving({"StreamFilter": _after(answered, code=code)}) as target, AsyncClient(target) as client:
        with pytest.raises(ProtocolError if code is None else StoplineError) as raised:
            await take(client.filter("acme", _numbers(2000), chunk_size=100), taken)
    assert raised.value.code is code
    assert raised.value.reason == ("" if code is None else "STORE_UNAVAILABLE")
    assert [each.phone for each in taken] == _numbers(answered * 100), "all that were answered, and no other"


@pytest.mark.parametrize("batch", [*answers.BAD_BATCHES.values(), GARBAGE], ids=[*answers.BAD_BATCHES, "garbage"])
async def test_a_doubtful_chunk_gives_no_number(batch: pb.BatchFilterResponse | bytes) -> None:
    async def behave(requests: AsyncIterator[pb.StreamFilterRequest], context: Context) -> AsyncIterator[Any]:
        async for _request in requests:
            yield batch if isinstance(batch, bytes) else pb.StreamFilterResponse(batch=batch)

    taken: list[Filtered] = []
    async with serving({"StreamFilter": behave}) as target, AsyncClient(target) as client:
        with pytest.raises(ProtocolError):
            await take(client.filter("acme", PHONES), taken)
    assert taken == []


async def test_an_answer_that_does_not_come_is_waited_for_so_long() -> None:
    async def behave(requests: AsyncIterator[pb.StreamFilterRequest], context: Context) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield None

    taken: list[Filtered] = []
    async with serving({"StreamFilter": behave}) as target, AsyncClient(target, batch_timeout=0.1) as client:
        with pytest.raises(DeadlineExceededError, match="no answer to a chunk"):
            await asyncio.wait_for(take(client.filter("acme", PHONES), taken), 10)
    assert taken == []


async def test_stopping_early_ends_the_call() -> None:
    ended = asyncio.Event()

    async def behave(
        requests: AsyncIterator[pb.StreamFilterRequest], context: Context
    ) -> AsyncIterator[pb.StreamFilterResponse]:
        context.add_done_callback(lambda _context: ended.set())  # type: ignore[arg-type]
        async for response in _echo(requests, context):
            yield response

    read = 0

    async def source() -> AsyncIterator[str]:
        nonlocal read
        for number in _numbers(10_000):
            read += 1
            yield number

    async with serving({"StreamFilter": behave}) as target, AsyncClient(target) as client:
        async with aclosing(client.filter("acme", source(), chunk_size=10)) as filtered:
            async for _each in filtered:
                break
        await asyncio.wait_for(ended.wait(), 10)
    assert read == 20, "one chunk that is taken, one on its way, and no more"


async def test_what_the_list_raises_reaches_the_caller() -> None:
    async def source() -> AsyncIterator[str]:
        yield PHONES[0]
        raise LookupError("the cursor was closed")

    async with serving({"StreamFilter": _echo}) as target, AsyncClient(target) as client:
        with pytest.raises(LookupError, match="cursor"):
            await take(client.filter("acme", source(), chunk_size=1), [])
