"""What a server tells of itself: health, reflection, its limits, what it does not have yet, and that it stops."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tests.integration.rpc_help import (
    ACCOUNT,
    ANN,
    PATIENCE_S,
    ROOT,
    RPCS,
    SERVICES,
    Edge,
    Scripted,
    eventually,
    failure,
    open_edge,
    told,
)

from stopline.v1 import admin_service_pb2 as admin
from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as consent
from stopline_server.app import App, limits_of
from stopline_server.listen import parse_listen, reserve
from stopline_server.settings import Settings, load_settings
from stopline_server.store import migrations

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
OURS = [service.full_name for service in SERVICES]
WATCHED = ["", *OURS]
REFLECTIONS = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
FILES = {path.relative_to(ROOT / "protos").as_posix() for path in (ROOT / "protos/stopline/v1").glob("*.proto")}
GRACE_S = 3.0
QUESTION = consent.IsSendableRequest(account_id=ACCOUNT, phone=ANN)


@pytest.fixture
def store() -> Scripted:
    return Scripted()


@pytest.fixture
async def edge(store: Scripted) -> AsyncIterator[Edge]:
    async with open_edge(store) as opened:
        yield opened


async def health_of(channel: Any, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return int((await health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE_S)).status)


async def next_of(watch: Any) -> int:
    return int((await asyncio.wait_for(watch.read(), PATIENCE_S)).status)


def watch(edge: Edge, service: str) -> Any:
    return health_pb2_grpc.HealthStub(edge.channel).Watch(health_pb2.HealthCheckRequest(service=service))


@pytest.mark.parametrize("service", WATCHED)
async def test_health_says_whether_calls_are_served(store: Scripted, service: str) -> None:
    async with open_edge(store, serving=False) as edge:
        assert await health_of(edge.channel, service) == NOT_SERVING
        watched = watch(edge, service)
        assert await next_of(watched) == NOT_SERVING
        for serving in (True, False, True):
            await edge.server.set_serving(serving)
            expected = SERVING if serving else NOT_SERVING
            assert await next_of(watched) == expected
            assert await health_of(edge.channel, service) == expected
        watched.cancel()


@pytest.mark.parametrize("service", ["nobody", "stopline.v1", "stopline.v1.ConsentService/IsSendable"])
async def test_health_of_what_is_no_service(edge: Edge, service: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_of(edge.channel, service)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watched = watch(edge, service)
    assert await next_of(watched) == UNKNOWN
    watched.cancel()


async def reflected(edge: Edge, reflection: str, **question: Any) -> Any:
    ask = edge.channel.stream_stream(
        f"/{reflection}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = [
        each async for each in ask(iter([reflection_pb2.ServerReflectionRequest(**question)]), timeout=PATIENCE_S)
    ]
    return answer


def files_of(answer: Any) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    contents = answer.file_descriptor_response.file_descriptor_proto
    files = [descriptor_pb2.FileDescriptorProto.FromString(content) for content in contents]
    return {file.name: file for file in files}


@pytest.mark.parametrize("reflection", REFLECTIONS)
async def test_reflection_lists_the_services_and_resolves_each(edge: Edge, reflection: str) -> None:
    listed = (await reflected(edge, reflection, list_services="")).list_services_response.service
    names = {service.name for service in listed}
    assert names == {*OURS, "grpc.health.v1.Health", *REFLECTIONS}
    unresolved = []
    for name in sorted(names):
        files = files_of(await reflected(edge, reflection, file_containing_symbol=name))
        defined = {f"{file.package}.{service.name}" for file in files.values() for service in file.service}
        unresolved += [] if name in defined else [name]
        # With all that they import, or a tool could not use them.
        assert {needed for file in files.values() for needed in file.dependency} <= set(files)
    # As tools describe a server: symbol after symbol. One that is listed and not known ends them.
    assert unresolved == []


@pytest.mark.parametrize("reflection", REFLECTIONS)
async def test_reflection_tells_every_file_of_the_api_and_none_that_is_not_there(edge: Edge, reflection: str) -> None:
    assert "stopline/v1/error_reason.proto" in FILES
    for name in FILES:
        files = files_of(await reflected(edge, reflection, file_by_filename=name))
        assert files[name].package == "stopline.v1"
    (reasons,) = files_of(await reflected(edge, reflection, file_by_filename="stopline/v1/error_reason.proto")).values()
    assert [enum.name for enum in reasons.enum_type] == ["ErrorReason"]
    for question in ({"file_by_filename": "no/such.proto"}, {"file_containing_symbol": "stopline.v1.Nothing"}):
        answer = await reflected(edge, reflection, **question)
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def listed_in_readme() -> set[str]:
    """What README says is not built, as `Service.RPC`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- unimplemented:begin -->\n")
    lines = rest.partition("<!-- unimplemented:end -->")[0].splitlines()
    names = [re.findall(r"`(\w+)`", line) for line in lines]
    return {f"{service}.{rpc}" for service, *rpcs in names for rpc in rpcs}


async def is_built(edge: Edge, rpc: MethodDescriptor) -> bool:
    """Whether an RPC does its work, be it that it finds an empty request wanting."""
    try:
        await edge.send(rpc, b"")
    except grpc.aio.AioRpcError as error:
        failed = told(error)
        assert failed.code in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT}
        assert rpc.name in failed.message or failed.fields
        return failed.code is not grpc.StatusCode.UNIMPLEMENTED
    return True


async def test_what_is_not_built_is_in_the_readme_and_says_so_on_the_wire(edge: Edge) -> None:
    missing = {f"{rpc.containing_service.name}.{rpc.name}" for rpc in RPCS if not await is_built(edge, rpc)}
    assert listed_in_readme() == missing


async def test_a_confirmation_is_not_built_yet_and_passes_nobody(edge: Edge) -> None:
    await edge.hear("STOP", "m1")
    context = consent_pb2.SEND_CONTEXT_OPT_OUT_CONFIRMATION
    asked = consent.IsSendableRequest(account_id=ACCOUNT, phone=ANN, context=context)
    assert (await failure(edge.ask(asked))).what == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")


@pytest.mark.parametrize("path", ["/stopline.v1.ConsentService/Nothing", "/stopline.v1.Nobody/IsSendable", "/", "/x/"])
async def test_what_no_proto_has_is_unimplemented(edge: Edge, path: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.channel.unary_unary(path)(b"", timeout=PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert (await edge.ask(QUESTION)).sendable


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Edge, asyncio.Event, asyncio.Task[None]]]:
    """A worker's whole life in this process: what ends it, and its end."""
    app, stop, ready = App(settings, embedded=False), asyncio.Event(), asyncio.Event()
    life = asyncio.create_task(app.run(stop, ready.set))
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        async with grpc.aio.insecure_channel(settings.listen) as channel:
            yield Edge(app._server, channel), stop, life
    finally:
        stop.set()
        await asyncio.wait_for(life, PATIENCE_S)


async def test_a_server_tells_its_version_its_schema_and_the_limits_of_its_settings(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    hold, address = reserve(parse_listen("127.0.0.1:0"))
    with hold:
        # Each another number than by default, and another than the rest.
        limits = {
            "max_batch_phones": 11, "max_chunk_phones": 12, "max_body_bytes": 13, "max_id_bytes": 17,
            "max_phone_chars": 18, "max_page_size": 19, "max_message_bytes": 1 << 20,
        }  # fmt: skip
        places = {"database_url": database_url, "redis_url": redis_url, "data_dir": tmp_path}
        settings = load_settings({"listen": str(address), **places, **limits})
        async with running(settings) as (edge, stop, life):
            info = await edge.ask(admin.GetServerInfoRequest())
            assert info.version == version("stopline-server")
            assert info.schema_revision == migrations.head() == await migrations.read_revision(database_url)
            told_limits = {field.name: getattr(info.limits, field.name) for field in admin.Limits.DESCRIPTOR.fields}
            kept = limits_of(settings)
            assert told_limits == {name: getattr(kept, name) for name in told_limits}
            assert sorted(told_limits.values()) == sorted(limits.values())
            # And they are kept.
            assert len(await edge.verdicts(*[ANN] * 11)) == 11
            assert (await failure(edge.verdicts(*[ANN] * 12))).reason == "LIMIT_EXCEEDED"
            stop.set()
            await asyncio.wait_for(life, PATIENCE_S)


async def test_a_call_in_progress_is_answered_while_the_server_drains(edge: Edge, store: Scripted) -> None:
    watched = watch(edge, "")
    assert await next_of(watched) == SERVING
    store.hold()
    call = asyncio.create_task(edge.ask(QUESTION))
    stream = edge.consent.StreamFilter(timeout=PATIENCE_S)
    batch = consent.BatchFilterRequest(account_id=ACCOUNT, phones=[ANN])
    await stream.write(consent.StreamFilterRequest(chunk_id=7, batch=batch))
    await eventually(lambda: store.asked == 2)
    stopping = asyncio.create_task(edge.server.stop(PATIENCE_S))
    assert await next_of(watched) == NOT_SERVING

    refused: list[grpc.StatusCode] = []
    while not refused:
        # Until the port is given up; whoever got in before that is in progress too.
        async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.server.port}") as channel:
            late = asyncio.create_task(Edge(edge.server, channel).ask(QUESTION, timeout=0.2))
            try:
                await late
            except grpc.aio.AioRpcError as error:
                refused += [error.code()] if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED else []
    assert refused == [grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.ask(QUESTION, timeout=1)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not call.done()
    assert not stopping.done()

    store.go_on.set()
    assert (await call).sendable
    assert (await stream.read()).chunk_id == 7
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF  # type: ignore[attr-defined]  # its stub forgets it
    watched.cancel()
    await asyncio.wait_for(stopping, GRACE_S)


async def test_a_call_that_does_not_end_is_ended_with_the_grace(edge: Edge, store: Scripted) -> None:
    store.hold()
    call = asyncio.create_task(edge.ask(QUESTION))
    await eventually(lambda: store.asked == 1)
    await asyncio.wait_for(edge.server.stop(0.1), GRACE_S)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    # Nothing that could be read as an answer, nor as the caller's own deadline.
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert store.left == 1


@pytest.mark.parametrize("service", ["", OURS[0], "nobody"])
async def test_whoever_watches_health_does_not_hold_up_the_end(edge: Edge, service: str) -> None:
    """Balancers and clients that check health keep a Watch open for as long as their connection."""
    watched = watch(edge, service)
    assert await next_of(watched) == (UNKNOWN if service == "nobody" else SERVING)
    begin = asyncio.get_running_loop().time()
    await edge.server.stop(GRACE_S)
    assert asyncio.get_running_loop().time() - begin < GRACE_S / 2
    assert service == "nobody" or await next_of(watched) == NOT_SERVING
