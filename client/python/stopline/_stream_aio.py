"""StreamFilter for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from stopline._stream import FilterStream, chunks
from stopline.errors import DeadlineExceededError, typed_call_errors
from stopline.v1 import consent_service_pb2 as pb
from stopline.values import Filtered

if TYPE_CHECKING:
    # A type only: the generated module has one stub for both kinds of channel.
    from stopline.v1.consent_service_pb2_grpc import ConsentServiceAsyncStub

_Requests = asyncio.Queue[pb.StreamFilterRequest | None]
_Call = grpc.aio.StreamStreamCall[pb.StreamFilterRequest, pb.StreamFilterResponse]


async def filter_stream(
    stub: ConsentServiceAsyncStub,
    question: pb.BatchFilterRequest,
    phones: Iterable[str] | AsyncIterable[str],
    *,
    chunk_size: int,
    answer_timeout: float,
) -> AsyncGenerator[Filtered, None]:
    """Each number with its verdict, in order; see `AsyncClient.filter`.

    gRPC takes requests in a task of its own, so that answers are read while requests are written: each side would
    otherwise wait for the other once its buffers are full. The task is given a queue rather than `phones`, so that
    what `phones` raises reaches the caller.

    The next chunk is read while one is answered, and sent once it was: grpc.aio loses the server's status, and says
    INTERNAL, where a call ends while a request is on its way. A chunk in the server's hands is not.
    """
    stream = FilterStream(question)
    requests: _Requests = asyncio.Queue()
    call: _Call | None = None
    try:
        async with aclosing(_chunks(phones, chunk_size)) as source:
            async for chunk in source:
                answered = await _answer(stream, call, answer_timeout) if call else ()
                requests.put_nowait(stream.ask(chunk))
                call = call or stub.StreamFilter(_taken_from(requests))
                for filtered in answered:
                    yield filtered
        if call is None:
            return
        requests.put_nowait(None)
        for filtered in await _answer(stream, call, answer_timeout):
            yield filtered
        # The end itself: an error, or an answer too many, must not pass for success.
        surplus = await _take(call, answer_timeout)
        if surplus is not None:
            stream.answer(surplus)
    finally:
        requests.put_nowait(None)
        if call is not None:
            call.cancel()


async def _answer(stream: FilterStream, call: _Call, timeout: float) -> Iterator[Filtered]:
    response = await _take(call, timeout)
    if response is None:
        raise stream.cut()
    return stream.answer(response)


async def _take(call: _Call, timeout: float) -> pb.StreamFilterResponse | None:
    """The next answer, within a time of its own; None at the end of the stream."""
    try:
        async with asyncio.timeout(timeout):
            with typed_call_errors():
                response = await call.read()
    except TimeoutError as error:
        raise DeadlineExceededError(
            f"DEADLINE_EXCEEDED: no answer to a chunk within {timeout:g} s", code=grpc.StatusCode.DEADLINE_EXCEEDED
        ) from error
    return response if isinstance(response, pb.StreamFilterResponse) else None


async def _taken_from(requests: _Requests) -> AsyncIterator[pb.StreamFilterRequest]:
    while (request := await requests.get()) is not None:
        yield request


async def _chunks(phones: Iterable[str] | AsyncIterable[str], size: int) -> AsyncGenerator[tuple[str, ...], None]:
    if not isinstance(phones, AsyncIterable):
        for chunk in chunks(phones, size):
            yield chunk
        return
    gathered: list[str] = []
    async for phone in phones:
        gathered.append(phone)
        if len(gathered) == size:
            yield tuple(gathered)
            gathered.clear()
    if gathered:
        yield tuple(gathered)
