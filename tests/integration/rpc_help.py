"""A server on a socket for the tests of its edge: over a store that does as it is told, or over the real ones."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from stopline.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    consent_service_pb2,
    consent_service_pb2_grpc,
    timeline_service_pb2,
    timeline_service_pb2_grpc,
)
from stopline_server.domain.consent import Consent, Entry, NewEvent
from stopline_server.rpc.limits import Limits
from stopline_server.rpc.server import RpcServer
from stopline_server.store.cache import CacheStore
from stopline_server.store.memory import MemoryStore
from stopline_server.store.postgres import PostgresStore
from stopline_server.store.protocol import ConsentStore, LookUp, Recorded

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0  # the deadline of every call here: a server that never answers fails a test, and does not hang it
ACCOUNT = "acme"
# Not the number that error messages write as their example.
ANN, BOB = "+12025550143", "+447700900123"
NO_NUMBERS = [
    "", "STOP", "911", "+1", "+0000000", "+1202555\x000143", "+12025550143999999999", "🙂" * 64, "+1 202 555 014",
]  # fmt: skip
TEN = 1_700_000_000  # some ten o'clock, in seconds

_STUBS = {
    "ConsentService": consent_service_pb2_grpc.ConsentServiceStub,
    "TimelineService": timeline_service_pb2_grpc.TimelineServiceStub,
    "AdminService": admin_service_pb2_grpc.AdminServiceStub,
}
SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module, name in zip((consent_service_pb2, timeline_service_pb2, admin_service_pb2), _STUBS, strict=True)
]
RPCS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]


def path_of(rpc: MethodDescriptor) -> str:
    """The path of an RPC on the wire."""
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


def documented_codes() -> dict[str, str]:
    """The gRPC code of each reason, as error_reason.proto tells it: the first word of its comment."""
    codes, comment = {}, ""
    for line in (ROOT / "protos/stopline/v1/error_reason.proto").read_text(encoding="utf-8").splitlines():
        if value := re.match(r"\s+ERROR_REASON_(\w+) = \d+;", line):
            codes[value[1]] = comment.split(".", 1)[0].strip()
        comment = f"{comment} {text[1]}" if (text := re.match(r"\s+// (.*)", line)) else ""
    return codes


CODES = documented_codes()


@dataclass(frozen=True)
class Failure:
    """What a failed call tells, checked against what is promised for all of them."""

    code: grpc.StatusCode
    reason: str
    fields: Mapping[str, str]  # the description of each
    message: str
    everything: str
    """All text that came: the message, the details, the metadata."""

    @property
    def what(self) -> tuple[grpc.StatusCode, str]:
        """Code and reason."""
        return self.code, self.reason


def told(error: grpc.aio.AioRpcError) -> Failure:
    """The details of an error, each of them as promised."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # all that it asks of a call
    assert status is not None, f"no google.rpc.Status with {error.code()}: {error.details()}"
    details: dict[type[Message], Any] = {}
    for packed in status.details:
        (kind,) = (
            kind
            for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
            if packed.Is(kind.DESCRIPTOR)
        )
        assert kind not in details
        details[kind] = kind()
        packed.Unpack(details[kind])
    everything = "\n".join(map(str, (status.message, *details.values(), *(error.trailing_metadata() or ()))))
    info = details.pop(error_details_pb2.ErrorInfo)
    code = error.code()
    assert info.domain == "stopline"
    assert CODES[info.reason] == code.name
    fields = {}
    # Of bytes that are no message no field can be named.
    if code is grpc.StatusCode.INVALID_ARGUMENT and info.reason != "MALFORMED_MESSAGE":
        fields = {each.field: each.description for each in details.pop(error_details_pb2.BadRequest).field_violations}
        assert fields
        assert all(name and description for name, description in fields.items())
    if code is grpc.StatusCode.UNAVAILABLE:
        assert 0 < details.pop(error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() <= 10_000
    assert not details
    assert status.message
    return Failure(code, info.reason, fields, status.message, everything)


async def failure(call: Awaitable[object]) -> Failure:
    """What a call that must fail tells."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return told(caught.value)


class Scripted(MemoryStore):
    """The memory store, which counts, waits and fails as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.left = 0
        self.error: BaseException | None = None
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def record(self, event: NewEvent) -> Recorded:
        await self._step()
        return await super().record(event)

    async def look_up(self, account: str, phones: Sequence[int], program: str) -> LookUp:
        await self._step()
        return await super().look_up(account, phones, program)

    async def get_consent(self, account: str, phone: int, program: str) -> tuple[Consent, int]:
        await self._step()
        return await super().get_consent(account, phone, program)

    async def list_timeline(self, account: str, phone: int, *, before: int | None, limit: int) -> list[Entry]:
        await self._step()
        return await super().list_timeline(account, phone, before=before, limit=limit)

    def hold(self) -> None:
        """Let calls wait from now on; `entered` tells of the next."""
        self.entered.clear()
        self.go_on.clear()

    async def _step(self) -> None:
        self.asked += 1
        self.entered.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        if self.error is not None:
            raise self.error


class Edge:
    """A server and a channel to it."""

    def __init__(self, server: RpcServer, channel: grpc.aio.Channel) -> None:
        self.server = server
        # Any: the types of grpc.aio's own classes know less of streams than their documentation does.
        self.channel: Any = channel
        self.consent: Any = consent_service_pb2_grpc.ConsentServiceStub(channel)
        self._stubs: dict[str, Any] = {name: stub(channel) for name, stub in _STUBS.items()}

    async def ask(self, request: Message, timeout: float = PATIENCE_S) -> Any:
        """The answer of the RPC that takes this kind of request, by the generated stub; all of them if it streams."""
        (rpc,) = (rpc for rpc in RPCS if rpc.input_type is request.DESCRIPTOR)
        method = getattr(self._stubs[rpc.containing_service.name], rpc.name)
        call = method(iter([request]) if rpc.client_streaming else request, timeout=timeout)
        return [response async for response in call] if rpc.server_streaming else await call

    async def send(self, rpc: MethodDescriptor, *messages: bytes) -> list[bytes]:
        """The answers to bytes, whether they are messages or not."""
        kinds = ("stream" if streams else "unary" for streams in (rpc.client_streaming, rpc.server_streaming))
        method = getattr(self.channel, "_".join(kinds))(path_of(rpc))
        call = method(iter(messages) if rpc.client_streaming else messages[0], timeout=PATIENCE_S)
        return [response async for response in call] if rpc.server_streaming else [await call]

    async def hear(self, body: str, message_id: str, phone: str = ANN, **more: Any) -> Any:
        """An inbound text to the account."""
        request = {"account_id": ACCOUNT, "message_id": message_id, "from_phone": phone, "body": body, **more}
        return await self.ask(consent_service_pb2.RecordInboundRequest(**request))

    async def known(self, phone: str = ANN, account: str = ACCOUNT, program: str = "") -> tuple[Any, Any]:
        """All that is told of a phone: consent and timeline, with the account's version."""
        consent = timeline_service_pb2.GetConsentRequest(account_id=account, phone=phone, program_id=program)
        timeline = timeline_service_pb2.ListTimelineRequest(account_id=account, phone=phone)
        return await self.ask(consent), await self.ask(timeline)

    async def verdicts(self, *phones: str, **more: Any) -> list[int]:
        """One number a phone."""
        batch = consent_service_pb2.BatchFilterRequest(**{"account_id": ACCOUNT, "phones": phones, **more})
        return list((await self.ask(batch)).verdicts)


@asynccontextmanager
async def open_edge(
    store: ConsentStore, *, limits: Limits | None = None, serving: bool = True, options: Iterable[tuple[str, int]] = ()
) -> AsyncIterator[Edge]:
    """A server over a store, and a channel with options of its own to it."""
    server = RpcServer(
        store, listen="127.0.0.1:0", limits=limits or Limits(), schema_revision="test", program_keywords=True
    )
    await server.start()
    if serving:
        await server.set_serving(True)
    # A pool of its own: channels to one address share a connection otherwise, and a port may come back.
    options = [("grpc.use_local_subchannel_pool", 1), *options]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            yield Edge(server, channel)
    finally:
        await server.stop(0)


@asynccontextmanager
async def open_real_edge(database_url: str, redis_url: str) -> AsyncIterator[Edge]:
    """A server as it ships: Postgres through Redis, on a socket."""
    store = CacheStore(PostgresStore(database_url), redis_url)
    store.start()
    await store.warm(5)
    assert store.usable
    try:
        async with open_edge(store) as edge:
            yield edge
    finally:
        await store.close()


class Cable:
    """A TCP connection with a place to cut it: gRPC's own ways to leave all say goodbye."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self.pumps: set[asyncio.Task[None]] = set()
        self.address = ""

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client came."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        for pair in ((reader, far_writer), (far_reader, writer)):
            self.pumps.add(asyncio.create_task(self._pump(*pair)))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    def cut(self) -> None:
        """Cut it."""
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def cable(port: int) -> AsyncIterator[Cable]:
    """A cable to a server on this machine."""
    line = Cable(port)
    async with await asyncio.start_server(line.join, "127.0.0.1", 0) as server:
        line.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield line
        line.cut()
        await asyncio.gather(*line.pumps)


async def eventually(condition: Callable[[], bool], what: Callable[[], object] = lambda: "") -> None:
    """Return once a condition holds; fail if it does not within the patience."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  # conditions of all kinds, few of which tell when they change
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"it never came to be: {what()}")
