"""`Client.filter`: a list of any length, on a channel whose other end is the test."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import grpc
import pytest
from tests.unit.client import answers
from tests.unit.client.fake_channel import BACKGROUND, PATIENCE, FakeServer, background, until

from stopline import (
    CallCancelledError,
    Client,
    DeadlineExceededError,
    Filtered,
    ProtocolError,
    SendContext,
    SendOutcome,
    StoplineError,
    UnavailableError,
    Verdict,
)
from stopline._stream_sync import CHUNKS_IN_FLIGHT
from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as pb

SIZE = 2


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def client(server: FakeServer) -> Client:
    return Client(channel=server.channel)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)


def phones(count: int) -> list[str]:
    return [f"+1415555{number:04}" for number in range(count)]


class Taker:
    """Takes what a stream gives, in a thread, and keeps it."""

    def __init__(self, filtered: Iterator[Filtered]) -> None:
        self.taken: list[Filtered] = []
        self._future: Future[None] = background(lambda: self._take(filtered))

    def _take(self, filtered: Iterator[Filtered]) -> None:
        for each in filtered:
            self.taken.append(each)

    def end(self) -> list[Filtered]:
        """Wait for the end, and raise what the stream raised."""
        self._future.result(PATIENCE)
        return self.taken


def answer(rpc: Any, *verdicts: int, chunk_id: int) -> None:
    rpc.send_response(pb.StreamFilterResponse(chunk_id=chunk_id, batch=answers.batch(*verdicts)))


def end(rpc: Any, code: grpc.StatusCode = grpc.StatusCode.OK, metadata: tuple[tuple[str, bytes], ...] = ()) -> None:
    rpc.terminate(metadata, code, "")


def test_a_list_is_answered_in_order(server: FakeServer, client: Client) -> None:
    numbers = phones(5)
    filtered = client.filter(
        "acme",
        numbers,
        context=SendContext.SEQUENCE,
        default_region="US",
        program_id="p",
        skip_duplicates=True,
        chunk_size=SIZE,
    )
    taker = Taker(filtered)
    rpc = server.stream()
    requests = []
    for chunk_id, verdicts in enumerate([(1, 2), (2, 1), (4,)]):
        requests.append(rpc.take_request())
        answer(rpc, *verdicts, chunk_id=chunk_id)
    rpc.requests_closed()
    end(rpc)
    taken = taker.end()
    assert [each.phone for each in taken] == numbers
    assert [int(each.verdict) for each in taken] == [1, 2, 2, 1, 4]
    assert taken[0] == Filtered(numbers[0], Verdict.SENDABLE, "", SendOutcome.SEND, answers.AS_OF)
    assert taken[1] == Filtered(numbers[1], Verdict.OPTED_OUT, answers.SKIP_LABEL, SendOutcome.SKIPPED, answers.AS_OF)
    assert requests[0].batch == pb.BatchFilterRequest(
        account_id="acme",
        phones=numbers[:2],
        context=consent_pb2.SEND_CONTEXT_SEQUENCE,
        default_region="US",
        program_id="p",
        skip_duplicates=True,
    )
    # All but the phones is said once.
    assert [request.batch for request in requests[1:]] == [
        pb.BatchFilterRequest(phones=numbers[2:4]),
        pb.BatchFilterRequest(phones=numbers[4:]),
    ]
    assert [request.chunk_id for request in requests] == [0, 1, 2]


def test_an_empty_list_asks_nothing(client: Client) -> None:
    assert list(client.filter("acme", [])) == []


def test_a_list_is_read_no_further_than_its_answers(server: FakeServer, client: Client) -> None:
    read: list[int] = []
    readers: set[str] = set()

    def source() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            readers.add(threading.current_thread().name)
            yield f"+1415{number:07}"

    filtered = client.filter("acme", source(), chunk_size=SIZE)
    first = background(lambda: next(filtered))
    rpc = server.stream()
    until(lambda: len(read) == SIZE * CHUNKS_IN_FLIGHT)
    answer(rpc, 1, 1, chunk_id=0)
    assert first.result(PATIENCE)
    # One chunk was answered, and one number taken of it: nothing more is read before the chunk is taken.
    assert len(read) == SIZE * CHUNKS_IN_FLIGHT
    assert next(filtered)
    third = background(lambda: next(filtered))
    until(lambda: len(read) == SIZE * (CHUNKS_IN_FLIGHT + 1))
    answer(rpc, 2, 1, chunk_id=1)
    assert not third.result(PATIENCE)
    assert readers == {BACKGROUND}, "read by the threads that take, and by no thread of gRPC's"
    filtered.close()  # type: ignore[attr-defined]
    rpc.cancelled()


@pytest.mark.parametrize("batch", answers.BAD_BATCHES.values(), ids=answers.BAD_BATCHES)
def test_a_doubtful_chunk_gives_no_number(server: FakeServer, client: Client, batch: pb.BatchFilterResponse) -> None:
    taker = Taker(client.filter("acme", phones(2), chunk_size=SIZE))
    rpc = server.stream()
    rpc.send_response(pb.StreamFilterResponse(batch=batch))
    with pytest.raises(ProtocolError):
        taker.end()
    assert taker.taken == []
    rpc.cancelled()


def test_an_answer_to_another_chunk_gives_no_number(server: FakeServer, client: Client) -> None:
    taker = Taker(client.filter("acme", phones(4), chunk_size=SIZE))
    rpc = server.stream()
    answer(rpc, 1, 1, chunk_id=1)
    with pytest.raises(ProtocolError, match="in the place of"):
        taker.end()
    assert taker.taken == []


def test_a_stream_that_ends_early_with_ok_raises(server: FakeServer, client: Client) -> None:
    numbers = phones(6)
    taker = Taker(client.filter("acme", numbers, chunk_size=SIZE))
    rpc = server.stream()
    answer(rpc, 1, 1, chunk_id=0)
    end(rpc)
    with pytest.raises(ProtocolError, match="4 numbers unanswered"):
        taker.end()
    assert [each.phone for each in taker.taken] == numbers[:2]


def test_an_answer_too_many_raises(server: FakeServer, client: Client) -> None:
    taker = Taker(client.filter("acme", phones(2), chunk_size=SIZE))
    rpc = server.stream()
    answer(rpc, 1, 1, chunk_id=0)
    answer(rpc, 1, 1, chunk_id=1)
    with pytest.raises(ProtocolError, match="nobody asked"):
        taker.end()
    assert len(taker.taken) == 2


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_a_cut_stream_raises_what_cut_it(server: FakeServer, client: Client, answered: int) -> None:
    numbers = phones(6)
    taker = Taker(client.filter("acme", numbers, chunk_size=SIZE))
    rpc = server.stream()
    for chunk_id in range(answered):
        answer(rpc, 1, 1, chunk_id=chunk_id)
    until(lambda: len(taker.taken) == answered * SIZE)
    end(rpc, grpc.StatusCode.UNAVAILABLE, answers.NOT_NOW)
    with pytest.raises(UnavailableError) as raised:
        taker.end()
    assert (raised.value.reason, raised.value.retry_after) == ("STORE_UNAVAILABLE", 1.5)
    assert [each.phone for each in taker.taken] == numbers[: answered * SIZE]


def test_an_error_at_the_very_end_raises(server: FakeServer, client: Client) -> None:
    taker = Taker(client.filter("acme", phones(2), chunk_size=SIZE))
    rpc = server.stream()
    answer(rpc, 1, 1, chunk_id=0)
    until(lambda: len(taker.taken) == 2)
    end(rpc, grpc.StatusCode.INTERNAL)
    with pytest.raises(StoplineError):
        taker.end()


def test_an_answer_that_does_not_come_is_waited_for_so_long(server: FakeServer) -> None:
    client = Client(channel=server.channel, batch_timeout=0.05)
    taker = Taker(client.filter("acme", phones(2), chunk_size=SIZE))
    rpc = server.stream()
    with pytest.raises(DeadlineExceededError, match="no answer to a chunk") as raised:
        taker.end()
    assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert taker.taken == []
    rpc.cancelled()


def test_a_cancelled_stream_is_not_a_late_one(server: FakeServer, client: Client) -> None:
    taker = Taker(client.filter("acme", phones(2), chunk_size=SIZE))
    end(server.stream(), grpc.StatusCode.CANCELLED)
    with pytest.raises(CallCancelledError):
        taker.end()


def test_what_the_list_raises_reaches_the_caller(server: FakeServer, client: Client) -> None:
    def source() -> Iterator[str]:
        yield from phones(2)
        raise LookupError("the cursor was closed")

    taker = Taker(client.filter("acme", source(), chunk_size=SIZE))
    rpc = server.stream()
    with pytest.raises(LookupError, match="cursor"):
        taker.end()
    assert taker.taken == []
    rpc.cancelled()


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_of_nothing_is_refused(client: Client, size: int) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        client.filter("acme", phones(2), chunk_size=size)
