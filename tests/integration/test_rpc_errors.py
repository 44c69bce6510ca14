"""Errors on the wire: the closed table, row by row, and what happens to the errors that nobody thought of."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Iterator

import asyncpg
import grpc
import pytest
import structlog
from google.protobuf.message import Message
from tests.integration.rpc_help import (
    ACCOUNT,
    ANN,
    CODES,
    RPCS,
    Edge,
    Scripted,
    eventually,
    failure,
    open_edge,
    open_real_edge,
    told,
)

from stopline.v1 import consent_service_pb2 as consent
from stopline.v1 import error_reason_pb2
from stopline.v1 import timeline_service_pb2 as history
from stopline_server import errors
from stopline_server.logs import configure_logs
from stopline_server.rpc import status
from stopline_server.store.cache import CacheStore
from stopline_server.store.postgres import PostgresStore

SAMPLES = [
    errors.FieldError("some.field", "is wrong"),
    errors.LimitError("some.field", "is over the limit of 7"),
    errors.RegionError("default_region", "is no known region"),
    errors.MalformedMessageError("is no message"),
    errors.MessageIdReusedError(),
    errors.StoreUnavailableError("try again"),
    errors.NotBuiltError("is not built yet"),
]
# What no code of this version sends yet.
LATER = {
    "SHUTTING_DOWN": "draining servers refuse connections, which gRPC tells by itself",
    "OVERLOADED": "admission",
    "UNAUTHENTICATED": "tokens",
    "PERMISSION_DENIED": "tokens",
    "NOT_FOUND": "nothing that has to exist can be named yet",
    "AS_OF_TOO_OLD": "WatchConsents",
    "REVISION_CONFLICT": "UpdatePolicy",
    "EVIDENCE_REQUIRED": "SetConsent, ImportConsents",
    "PROTECTED_KEYWORD": "UpdatePolicy",
    "DEADLINE_EXCEEDED": "the caller's own gRPC library tells this, at its deadline",
}
# As a driver may put it: each word of it is of the inside, or somebody's.
INSIDE = ["SELECT", "consent_pkey", "db-7.internal", "hunter2", ANN.removeprefix("+"), "my body"]
ASKED: list[Message] = [
    consent.RecordInboundRequest(account_id=ACCOUNT, message_id="m1", from_phone=ANN, body="STOP my body"),
    consent.IsSendableRequest(account_id=ACCOUNT, phone=ANN),
    consent.BatchFilterRequest(account_id=ACCOUNT, phones=[ANN]),
    consent.StreamFilterRequest(batch=consent.BatchFilterRequest(account_id=ACCOUNT, phones=[ANN])),
    history.GetConsentRequest(account_id=ACCOUNT, phone=ANN),
    history.ListTimelineRequest(account_id=ACCOUNT, phone=ANN),
]
names = lambda value: type(value).__name__  # noqa: E731  # ids of parameters


@pytest.fixture
def store() -> Scripted:
    return Scripted()


@pytest.fixture
async def edge(store: Scripted) -> AsyncIterator[Edge]:
    async with open_edge(store) as opened:
        yield opened


class Log:
    """All that is logged, by whatever library, as the server would write it."""

    def __init__(self, capture: pytest.CaptureFixture[str], others: pytest.LogCaptureFixture) -> None:
        self._capture = capture
        self._others = others

    def start(self) -> None:
        """Begin. In the test itself: pytest gives each of its phases a standard error of its own."""
        self._others.set_level(logging.DEBUG)
        configure_logs("DEBUG")

    def read(self) -> str:
        """What was logged since the beginning, or the last reading."""
        return self._capture.readouterr().err + self._others.text


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    yield Log(capsys, caplog)
    structlog.reset_defaults()


def test_every_error_has_one_row_and_every_row_an_error() -> None:
    defined = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    # The root is never raised, and a wrong schema ends the server before it has callers.
    assert set(status.TABLE) == defined - {errors.StoplineError, errors.SchemaError}
    assert [type(sample) for sample in SAMPLES] == list(status.TABLE)


def test_every_reason_is_sent_or_comes_later() -> None:
    sent = {row.reason for row in (*status.TABLE.values(), status.INTERNAL)}
    known = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118  # no dict
    assert sent | set(LATER) | {"UNSPECIFIED"} == known == set(CODES)
    assert not sent & set(LATER)


@pytest.mark.parametrize("row", [*status.TABLE.values(), status.INTERNAL], ids=lambda row: row.reason)
def test_a_reason_has_the_code_that_the_proto_tells(row: status.Row) -> None:
    assert CODES[row.reason] == row.code.name


@pytest.mark.parametrize("asked", ASKED, ids=names)
@pytest.mark.parametrize("error", SAMPLES, ids=names)
async def test_an_error_of_the_store_is_told_as_its_row_says(
    edge: Edge, store: Scripted, error: errors.StoplineError, asked: Message
) -> None:
    store.error = error
    failed = await failure(edge.ask(asked))
    assert failed.what == status.TABLE[type(error)]
    assert failed.message == error.message
    if isinstance(error, errors.FieldError):
        assert failed.fields == {error.field: error.description}


class UnknownError(errors.StoreUnavailableError):
    """An error that somebody added without a row."""


BUGS: list[Exception] = [
    RuntimeError(" ".join(INSIDE)),
    KeyError(ANN),
    asyncpg.UniqueViolationError(" ".join(INSIDE)),
    ExceptionGroup(" ".join(INSIDE), [ValueError(ANN)]),
    grpc.RpcError(" ".join(INSIDE)),
    UnknownError(" ".join(INSIDE)),
]


@pytest.mark.parametrize("asked", ASKED, ids=names)
@pytest.mark.parametrize("bug", BUGS, ids=names)
async def test_a_bug_tells_callers_nothing_and_the_log_where(
    edge: Edge, store: Scripted, log: Log, bug: Exception, asked: Message
) -> None:
    log.start()
    store.error = bug
    failed = await failure(edge.ask(asked))
    assert failed.what == (grpc.StatusCode.INTERNAL, "INTERNAL")
    lines = log.read()
    for word in (*INSIDE, type(bug).__name__, "rpc_help", "Traceback"):
        assert word not in failed.everything
    for word in INSIDE:
        assert word not in lines
    # Enough to find it by: what, and where.
    assert f'"kind": "{type(bug).__name__}"' in lines
    assert "rpc_help.py" in lines
    store.error = None
    assert await edge.ask(asked)


class NoLog:
    """A standard error whose reader is gone."""

    def error(self, _line: str) -> None:
        raise BrokenPipeError(" ".join(INSIDE))


async def test_a_log_that_cannot_be_written_changes_no_answer(edge: Edge, store: Scripted, log: Log) -> None:
    structlog.configure(logger_factory=lambda *_: NoLog())
    store.error = RuntimeError(" ".join(INSIDE))
    for asked in ASKED:
        assert (await failure(edge.ask(asked))).what == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_a_bug_in_the_middle_of_a_stream_ends_it_after_what_was_answered(edge: Edge, store: Scripted) -> None:
    call = edge.consent.StreamFilter()
    await call.write(consent.StreamFilterRequest(chunk_id=1, batch=consent.BatchFilterRequest(account_id=ACCOUNT)))
    assert (await call.read()).chunk_id == 1
    store.error = RuntimeError(" ".join(INSIDE))
    await call.write(consent.StreamFilterRequest(chunk_id=2))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert told(caught.value).what == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_a_message_id_is_not_repeated_in_an_error(edge: Edge) -> None:
    """Gateways make ids of what they have, and that is phones."""
    message_id = f"sms:{ANN}:1"
    await edge.hear("STOP", message_id)
    failed = await failure(edge.hear("START", message_id))
    assert failed.what == (grpc.StatusCode.FAILED_PRECONDITION, "MESSAGE_ID_REUSED")
    assert ANN not in failed.everything


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
async def test_before_the_stores_answer_every_call_is_unavailable(store: Scripted, rpc: object) -> None:
    async with open_edge(store, serving=False) as edge:
        failed = await failure(edge.send(rpc, b""))  # type: ignore[arg-type]  # a protocol would say no more
        assert failed.what == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert store.asked == 0


@pytest.mark.parametrize("asked", ASKED, ids=names)
async def test_a_caller_that_gives_up_ends_the_work_and_nobody_elses(
    edge: Edge, store: Scripted, asked: Message
) -> None:
    before = asyncio.all_tasks()
    store.hold()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.ask(asked, timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    store.entered.clear()
    call = asyncio.create_task(edge.ask(asked))
    other = asyncio.create_task(edge.ask(consent.IsSendableRequest(account_id=ACCOUNT, phone=ANN)))
    await eventually(lambda: store.asked >= 2 + store.left)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: store.left == store.asked - 1, lambda: (store.left, store.asked))
    store.go_on.set()
    assert (await other).sendable
    await eventually(lambda: asyncio.all_tasks() <= before, lambda: asyncio.all_tasks() - before)


@pytest.mark.parametrize("asked", ASKED, ids=names)
async def test_a_cancellation_that_no_caller_asked_for_is_answered(edge: Edge, store: Scripted, asked: Message) -> None:
    """As where a shared task of a store is ended: a call without an answer would wait for its deadline, if any."""
    store.error = asyncio.CancelledError()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.ask(asked, timeout=1)
    assert caught.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED, "the call was never answered"
    assert told(caught.value).code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}


async def test_stores_that_cannot_be_reached_are_not_told_of() -> None:
    database = "postgresql://some_user:hunter2@127.0.0.1:1/some_database"
    async with open_edge(CacheStore(PostgresStore(database), "redis://127.0.0.1:1")) as edge:
        for asked in ASKED:
            failed = await failure(edge.ask(asked))
            assert failed.what == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            for word in ("some_user", "hunter2", "some_database", "127.0.0.1", "refused", "OSError", "Exception"):
                assert word not in failed.everything


async def test_a_statement_that_fails_is_told_to_nobody(database_url: str, redis_url: str, log: Log) -> None:
    log.start()
    async with open_real_edge(database_url, redis_url) as edge:
        driver = await asyncpg.connect(database_url)
        await driver.execute("ALTER TABLE consent RENAME phone TO other; ALTER TABLE event RENAME phone TO other")
        await driver.close()
        for asked in ASKED:
            failed = await failure(edge.ask(asked))
            assert failed.what == (grpc.StatusCode.INTERNAL, "INTERNAL")
            for word in ("SELECT", "phone", "column", "asyncpg", ANN):
                assert word not in failed.everything
        lines = log.read()
        assert lines.count("internal error") == len(ASKED)
        for word in ("SELECT", ANN.removeprefix("+"), "my body"):
            assert word not in lines
