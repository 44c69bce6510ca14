"""StreamFilter for threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

import grpc

from stopline._stream import FilterStream, chunks
from stopline.errors import CallCancelledError, DeadlineExceededError, typed_errors
from stopline.v1 import consent_service_pb2 as pb
from stopline.v1.consent_service_pb2_grpc import ConsentServiceStub
from stopline.values import Filtered

CHUNKS_IN_FLIGHT = 3
"""Chunks that wait for their answer at most: the server is never idle, and a list of any length is never held."""

_Requests = queue.SimpleQueue[pb.StreamFilterRequest | None]


def filter_stream(
    stub: ConsentServiceStub,
    question: pb.BatchFilterRequest,
    phones: Iterable[str],
    *,
    chunk_size: int,
    answer_timeout: float,
) -> Iterator[Filtered]:
    """Each number with its verdict, in order; see `Client.filter`.

    gRPC takes requests in a thread of its own. It is given a queue rather than `phones`, so that `phones` is read by
    the caller's thread, and what it raises reaches the caller.
    """
    stream = FilterStream(question)
    requests: _Requests = queue.SimpleQueue()
    answers: _Answers | None = None
    try:
        for chunk in chunks(phones, chunk_size):
            requests.put(stream.ask(chunk))
            if answers is None:
                answers = _Answers(stub.StreamFilter(iter(requests.get, None)), answer_timeout)
            if stream.waiting >= CHUNKS_IN_FLIGHT:
                yield from _answer(stream, answers)
        if answers is None:
            return
        requests.put(None)
        while stream.waiting:
            yield from _answer(stream, answers)
        # The end itself: an error, or an answer too many, must not pass for success.
        surplus = answers.take()
        if surplus is not None:
            stream.answer(surplus)
    finally:
        # Also where the caller stops early: gRPC's thread waits for requests until it is told that there are no more.
        if answers is not None:
            answers.cancel()
        requests.put(None)


def _answer(stream: FilterStream, answers: _Answers) -> Iterator[Filtered]:
    response = answers.take()
    if response is None:
        raise stream.cut()
    return stream.answer(response)


class _Answers:
    """The answers of a call, each within a time of its own: the stream as a whole may last as long as its list."""

    def __init__(self, call: grpc.CallIterator[pb.StreamFilterResponse], timeout: float) -> None:
        self._cancel: Callable[[], object] = call.cancel
        self._answers = iter(call)
        self._timeout = timeout
        self._late = threading.Event()

    def take(self) -> pb.StreamFilterResponse | None:
        """The next answer; None at the end of the stream."""
        # gRPC has no timeout for one message of a stream, but a call can be cancelled from another thread.
        timer = threading.Timer(self._timeout, self._cancel_late)
        timer.daemon = True
        timer.start()
        try:
            with typed_errors():
                return next(self._answers, None)
        except CallCancelledError as error:
            if not self._late.is_set():
                raise
            raise DeadlineExceededError(
                f"DEADLINE_EXCEEDED: no answer to a chunk within {self._timeout:g} s",
                code=grpc.StatusCode.DEADLINE_EXCEEDED,
            ) from error
        finally:
            timer.cancel()

    def cancel(self) -> None:
        """End the call, if it has not ended."""
        self._cancel()

    def _cancel_late(self) -> None:
        self._late.set()
        self._cancel()
