"""StreamFilter: what the first message holds for all, what ends a stream, and clients that are slow or leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.integration.rpc_help import (
    ACCOUNT,
    ANN,
    BOB,
    PATIENCE_S,
    Edge,
    Scripted,
    cable,
    eventually,
    open_edge,
    open_real_edge,
    path_of,
    told,
)

from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as consent
from stopline_server.rpc.limits import Limits

SENDABLE, OUT, INVALID, AGAIN = 1, 2, 4, 5
LIMIT = 50
PATH = path_of(consent.DESCRIPTOR.services_by_name["ConsentService"].methods_by_name["StreamFilter"])


@pytest.fixture
def store() -> Scripted:
    return Scripted()


@pytest.fixture
async def edge(store: Scripted) -> AsyncIterator[Edge]:
    """A server that knows of Ann's STOP, and takes short chunks."""
    async with open_edge(store, limits=Limits(chunk_phones=LIMIT)) as opened:
        await opened.hear("STOP", "m1")
        yield opened


def chunk(*phones: str, chunk_id: int = 0, **more: Any) -> consent.StreamFilterRequest:
    """A chunk; after the first message of a stream it may be no more than phones."""
    return consent.StreamFilterRequest(chunk_id=chunk_id, batch=consent.BatchFilterRequest(phones=phones, **more))


def first(*phones: str, **more: Any) -> consent.StreamFilterRequest:
    """The first chunk of a stream."""
    return chunk(*phones, account_id=ACCOUNT, **more)


async def run(
    edge: Edge, requests: Iterable[consent.StreamFilterRequest]
) -> tuple[list[Any], grpc.aio.AioRpcError | None]:
    """Every answer that came, and the error that ended the stream, if one did.

    A request is written once the one before it is answered: grpc.aio's client loses the status of a call that ends
    while a request is on its way (grpc #36066).
    """
    call = edge.consent.StreamFilter(timeout=PATIENCE_S)
    answers = []
    try:
        for request in requests:
            await call.write(request)
            answers.append(await call.read())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF  # type: ignore[attr-defined]  # its stub forgets it
    except grpc.aio.AioRpcError as error:
        return answers, error
    return answers, None


async def test_everything_but_the_phones_is_read_from_the_first_message(edge: Edge) -> None:
    await edge.hear("STOP", "m2", program_id="shoes", phone=BOB)
    asked = {"program_id": "shoes", "context": consent_pb2.SEND_CONTEXT_AUTOMATION, "default_region": "us"}
    requests = [
        first(ANN, **asked),
        chunk("(202) 555-0143", "202-555-0144", BOB),
        chunk(BOB, "rubbish", account_id=ACCOUNT, program_id="shoes"),
        # Not what the stream began with: it is not read.
        chunk("(202) 555-0143", context=consent_pb2.SEND_CONTEXT_BULK, default_region="GB", skip_duplicates=True),
        consent.StreamFilterRequest(),
    ]
    answers, error = await run(edge, requests)
    assert error is None
    assert [list(answer.batch.verdicts) for answer in answers] == [
        [OUT],
        [OUT, SENDABLE, OUT],
        [OUT, INVALID],
        [OUT],
        [],
    ]
    labels = {(label.outcome, label.label) for each in answers for label in each.batch.labels if label.verdict == OUT}
    assert labels == {(consent_pb2.SEND_OUTCOME_UNSUCCESSFUL, "Text Unsubscribed")}
    assert {answer.batch.as_of for answer in answers} == {"v1.2"}


async def test_chunk_ids_are_echoed_as_they_are_in_the_order_of_the_requests(edge: Edge) -> None:
    ids = [7, 7, 0, 2**64 - 1, 3, *range(200)]
    answers, error = await run(edge, [first(BOB, chunk_id=number) for number in ids])
    assert (error, [answer.chunk_id for answer in answers]) == (None, ids)


@pytest.mark.parametrize(
    ("skip", "expected"),
    [
        (True, [[OUT, AGAIN, INVALID], [AGAIN, SENDABLE, INVALID], [AGAIN, AGAIN]]),
        (False, [[OUT, OUT, INVALID], [OUT, SENDABLE, INVALID], [SENDABLE, OUT]]),
    ],
)
async def test_duplicates_are_found_over_the_whole_stream_and_not_beyond_it(
    edge: Edge, skip: bool, expected: list[list[int]]
) -> None:
    for _ in range(2):
        lists = ([ANN, "+1 202 555 0143", "x"], ["+1-202-5550143", BOB, "x"], ["+44 7700 900123", ANN])
        requests = [first(*lists[0], skip_duplicates=skip), *(chunk(*each) for each in lists[1:])]
        answers, error = await run(edge, requests)
        assert error is None
        assert [list(answer.batch.verdicts) for answer in answers] == expected
        for answer in answers:
            counts = {label.verdict: label.count for label in answer.batch.labels}
            assert counts == {verdict: list(answer.batch.verdicts).count(verdict) for verdict in answer.batch.verdicts}


@pytest.mark.parametrize("requests", [[], [first()], [first(), chunk(), chunk()]], ids=["no message", "one", "three"])
async def test_nothing_is_answered_by_nothing(edge: Edge, requests: list[consent.StreamFilterRequest]) -> None:
    answers, error = await run(edge, requests)
    assert error is None
    assert [(list(answer.batch.verdicts), answer.batch.as_of) for answer in answers] == [([], "v1.1")] * len(requests)


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        (chunk(BOB, account_id="other"), "batch.account_id", "INVALID_FIELD"),
        (chunk(BOB, program_id="shoes"), "batch.program_id", "INVALID_FIELD"),
        (chunk(*[BOB] * (LIMIT + 1)), "batch.phones", "LIMIT_EXCEEDED"),
    ],
    ids=["another account", "another program", "too long a chunk"],
)
async def test_a_bad_chunk_ends_the_stream_and_takes_nothing_back(
    edge: Edge, store: Scripted, bad: consent.StreamFilterRequest, field: str, reason: str
) -> None:
    answers, error = await run(edge, [first(ANN), chunk(*[BOB] * LIMIT), bad, chunk(BOB)])
    assert [list(answer.batch.verdicts) for answer in answers] == [[OUT], [SENDABLE] * LIMIT]
    assert error is not None
    failed = told(error)
    assert (failed.what, list(failed.fields)) == ((grpc.StatusCode.INVALID_ARGUMENT, reason), [field])
    if reason == "LIMIT_EXCEEDED":
        assert str(LIMIT) in failed.fields[field]
    assert (await run(edge, [first(ANN)]))[1] is None


@pytest.mark.parametrize("request_", [consent.StreamFilterRequest(), chunk(BOB)], ids=["no batch", "no account"])
async def test_a_stream_begins_with_its_account(edge: Edge, request_: consent.StreamFilterRequest) -> None:
    answers, error = await run(edge, [request_, first(BOB)])
    assert (answers, error is None) == ([], False)
    assert list(told(error).fields) == ["batch.account_id"]  # type: ignore[arg-type]  # asserted above


async def test_a_message_that_is_none_ends_the_stream_after_what_was_answered(edge: Edge) -> None:
    call: Any = edge.channel.stream_stream(PATH)(timeout=PATIENCE_S)
    await call.write(first(ANN).SerializeToString())
    assert list(consent.StreamFilterResponse.FromString(await call.read()).batch.verdicts) == [OUT]
    await call.write(chunk("@@").SerializeToString().replace(b"@@", b"\xc3\x28"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert told(caught.value).reason == "MALFORMED_MESSAGE"


async def test_a_stop_in_the_middle_counts_from_the_next_chunk_on(database_url: str, redis_url: str) -> None:
    """Before and after the copy is filled: every chunk that is asked for after the answer to the STOP knows of it."""
    async with open_real_edge(database_url, redis_url) as edge:
        call = edge.consent.StreamFilter(timeout=PATIENCE_S)
        for number in range(1, 21):
            phone = f"+120255501{number:02}"
            await call.write(first(phone))
            before: Any = await call.read()
            heard = await edge.hear("STOP", f"m{number}", phone=phone)
            await call.write(chunk(phone, BOB))
            after: Any = await call.read()
            assert list(before.batch.verdicts) == [SENDABLE]
            assert (list(after.batch.verdicts), after.batch.as_of) == ([OUT, SENDABLE], heard.as_of)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF  # type: ignore[attr-defined]  # its stub forgets it


async def at_work(edge: Edge, store: Scripted, call: Any) -> None:
    """The server asks its store for the second chunk."""
    store.hold()
    await call.write(chunk(BOB))
    await asyncio.wait_for(store.entered.wait(), PATIENCE_S)


async def waiting_for_a_request(edge: Edge, store: Scripted, call: Any) -> None:
    """The server has nothing to do."""


async def writing(edge: Edge, store: Scripted, call: Any) -> None:
    """The server has answers that nobody reads."""
    for number in range(50):
        await call.write(chunk(*[BOB] * LIMIT, chunk_id=number))
    await eventually(lambda: store.asked >= 50)


@pytest.mark.parametrize("moment", [at_work, waiting_for_a_request, writing])
@pytest.mark.parametrize("leave", ["cancel", "hang up"])
async def test_a_client_that_leaves_leaves_nothing_behind(edge: Edge, store: Scripted, moment: Any, leave: str) -> None:
    before = asyncio.all_tasks()
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with cable(edge.server.port) as line, grpc.aio.insecure_channel(line.address, options=options) as channel:
        its = Edge(edge.server, channel)
        call = its.consent.StreamFilter()
        await call.write(first(ANN))
        assert isinstance(await call.read(), consent.StreamFilterResponse)
        await moment(its, store, call)
        held = not store.go_on.is_set()
        if leave == "cancel":
            call.cancel()
        else:
            line.cut()
        await eventually(lambda: store.left == held)
    store.go_on.set()
    assert await edge.verdicts(ANN, BOB) == [OUT, SENDABLE]
    assert (await run(edge, [first(ANN)]))[1] is None
    await eventually(lambda: asyncio.all_tasks() <= before, lambda: asyncio.all_tasks() - before)


async def test_a_slow_reader_holds_the_server_back_and_gets_everything(store: Scripted) -> None:
    """Requests and answers are larger than what HTTP/2 lets wait: the server reads no further than it can write."""
    chunks, size = 24, 100_000
    windows = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    phones = [f"+1202{number}" for number in range(2_000_000, 2_000_000 + size)]
    async with open_edge(store, options=windows) as edge:
        await edge.hear("STOP", "m1", phone=phones[-1])
        store.asked = 0
        call = edge.consent.StreamFilter(timeout=PATIENCE_S)

        async def write() -> None:
            for number in range(chunks):
                await call.write(first(*phones, chunk_id=number))
            await call.done_writing()

        writer = asyncio.create_task(write())
        await eventually(lambda: store.asked >= 1)
        # At rest once it asks for nothing more in the time in which it answers several chunks.
        asked = 0
        while store.asked > asked:
            asked = store.asked
            await asyncio.sleep(0.4)
        assert store.asked < chunks / 2
        assert not writer.done()
        numbers = []
        async for answer in call:
            assert len(answer.batch.verdicts) == size
            assert (answer.batch.verdicts[-1], answer.batch.sendable_count) == (OUT, size - 1)
            numbers.append(answer.chunk_id)
        await writer
        assert (numbers, store.asked) == (list(range(chunks)), chunks)
