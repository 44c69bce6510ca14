"""The asynchronous client, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio

from stopline import _convert, _requests
from stopline._channel import Option, channel_options
from stopline._stream_aio import filter_stream
from stopline.errors import ProtocolError, typed_call_errors
from stopline.v1 import admin_service_pb2 as admin_pb
from stopline.v1 import timeline_service_pb2 as timeline_pb
from stopline.v1.admin_service_pb2_grpc import AdminServiceStub
from stopline.v1.consent_service_pb2_grpc import ConsentServiceStub
from stopline.v1.timeline_service_pb2_grpc import TimelineServiceStub
from stopline.values import BatchResult, Check, Consent, Filtered, Inbound, SendContext, ServerInfo, TimelineEntry

_Response = TypeVar("_Response")


class AsyncClient:
    """A client of a Stopline server, for asyncio.

    Every method either answers or raises a `StoplineError`, and an error is never permission to send. Calls that are
    harmless to repeat are repeated while the server is UNAVAILABLE, within their timeout. Make it inside the event loop
    that it is used in, and share it between that loop's tasks. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        timeout: float = 1.0,
        batch_timeout: float = 30.0,
        write_timeout: float = 5.0,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[Option] = (),
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        """Make a client; nothing is connected before the first call.

        Args:
            target: Where the server is: `HOST:PORT`, or any other gRPC target.
            timeout: Seconds that a check of one number, or a get, may take.
            batch_timeout: Seconds that the answer to a list, or to a chunk of one, may take.
            write_timeout: Seconds that recording an inbound text may take. A server that loses its cache makes sure
                first that all others know of an opt-out, which takes it seconds.
            credentials: For TLS; without them the connection is in the clear.
            options: Channel options, in the place of the client's own of the same name.
            channel: A channel of your own, as with interceptors. Then target, credentials and options are not used, and
                `close` leaves it open.
        """
        self._timeout = timeout
        self._batch_timeout = batch_timeout
        self._write_timeout = write_timeout
        self._owned = None if channel else _open_channel(target, credentials, options)
        used = channel or self._owned
        assert used is not None
        self._consent = ConsentServiceStub(used)
        self._timeline = TimelineServiceStub(used)
        self._admin = AdminServiceStub(used)

    async def is_sendable(
        self,
        account_id: str,
        phone: str,
        *,
        context: SendContext = SendContext.DIRECT,
        default_region: str = "",
        program_id: str = "",
    ) -> Check:
        """May this number be texted? The answer is true where it may.

        Raises:
            StoplineError: There is no answer; do not send.
        """
        request = _requests.check_request(
            account_id, phone, context=context, default_region=default_region, program_id=program_id
        )
        return _convert.check(await _answer(self._consent.IsSendable(request, timeout=self._timeout)))

    async def record_inbound(
        self,
        account_id: str,
        message_id: str,
        from_phone: str,
        body: str,
        *,
        to_phone: str = "",
        received_at: datetime | None = None,
        default_region: str = "",
        program_id: str = "",
    ) -> Inbound:
        """Record an inbound text, and learn what to reply.

        Acknowledge the text to its carrier only after this returned. Where it raised, the text may or may not be
        recorded: call it again with the same `message_id`.

        Args:
            account_id: The account that the text was sent to.
            message_id: The text's own id in the account.
            from_phone: Who wrote.
            body: What.
            to_phone: The number that was written to.
            received_at: When the person wrote, with a time zone; None for now.
            default_region: The region to read `from_phone` in where it has no country code.
            program_id: The program that was written to.

        Raises:
            StoplineError: The text is not known to be recorded.
            ValueError: `received_at` has no time zone.
        """
        request = _requests.inbound_request(
            account_id,
            message_id,
            from_phone,
            body,
            to_phone=to_phone,
            received_at=received_at,
            default_region=default_region,
            program_id=program_id,
        )
        return _convert.inbound(await _answer(self._consent.RecordInbound(request, timeout=self._write_timeout)))

    async def batch_filter(
        self,
        account_id: str,
        phones: Iterable[str],
        *,
        context: SendContext = SendContext.BULK,
        default_region: str = "",
        program_id: str = "",
        skip_duplicates: bool = False,
    ) -> BatchResult:
        """May these numbers be texted? One verdict for each, in order, all of one moment.

        For more numbers than one call takes (100,000 by default) use `filter`.

        Raises:
            StoplineError: There is no answer, or not one for each number; send to none of them.
        """
        request = _requests.batch_request(
            account_id,
            phones,
            context=context,
            default_region=default_region,
            program_id=program_id,
            skip_duplicates=skip_duplicates,
        )
        response = await _answer(self._consent.BatchFilter(request, timeout=self._batch_timeout))
        return _convert.batch_result(tuple(request.phones), response)

    def filter(
        self,
        account_id: str,
        phones: Iterable[str] | AsyncIterable[str],
        *,
        context: SendContext = SendContext.BULK,
        default_region: str = "",
        program_id: str = "",
        skip_duplicates: bool = False,
        chunk_size: int = 50_000,
    ) -> AsyncGenerator[Filtered, None]:
        """May the numbers of this list, of any length, be texted? Each with its verdict, in order.

        Lazy: `phones` is read, in the caller's own task, as answers are taken, and no more than a few chunks are held.
        A verdict holds for the moment in which its chunk was answered, so take them about as fast as you send. To stop
        early, close it (`contextlib.aclosing`).

        Args:
            account_id: The account that sends.
            phones: The numbers.
            context: Where the texts are sent from.
            default_region: The region to read numbers in that have no country code.
            program_id: The program that the texts are of.
            skip_duplicates: Give the second and later occurrences of a number in the whole list the verdict DUPLICATE.
            chunk_size: How many numbers go in one message.

        Raises:
            StoplineError: While iterating: the stream failed or was cut. The numbers given so far keep their verdict;
                send to none of the others.
            ValueError: `chunk_size` is below 1.
        """
        if chunk_size < 1:
            raise ValueError("chunk_size must be at least 1")
        _requests.require_list(phones)
        question = _requests.batch_request(
            account_id,
            (),
            context=context,
            default_region=default_region,
            program_id=program_id,
            skip_duplicates=skip_duplicates,
        )
        return filter_stream(self._consent, question, phones, chunk_size=chunk_size, answer_timeout=self._batch_timeout)

    async def get_consent(
        self, account_id: str, phone: str, *, program_id: str = "", default_region: str = ""
    ) -> Consent:
        """What is recorded of a phone at one level: the account as a whole, or a program.

        Raises:
            StoplineError: There is no answer.
        """
        request = timeline_pb.GetConsentRequest(
            account_id=account_id, phone=phone, program_id=program_id, default_region=default_region
        )
        response = await _answer(self._timeline.GetConsent(request, timeout=self._timeout))
        return _convert.consent(response.consent)

    async def list_timeline(
        self, account_id: str, phone: str, *, page_size: int = 100, include_attempts: bool = False
    ) -> AsyncIterator[TimelineEntry]:
        """The history of a phone (E.164), newest first, page after page as it is taken.

        Raises:
            StoplineError: While iterating: a page could not be read.
        """
        request = timeline_pb.ListTimelineRequest(
            account_id=account_id, phone=phone, page_size=page_size, include_attempts=include_attempts
        )
        following: timeline_pb.ListTimelineRequest | None = request
        while following is not None:
            response = await _answer(self._timeline.ListTimeline(following, timeout=self._timeout))
            for entry in response.entries:
                yield _convert.timeline_entry(entry)
            following = _requests.next_page(following, response)

    async def server_info(self) -> ServerInfo:
        """The server's version and limits.

        Raises:
            StoplineError: There is no answer.
        """
        response = await _answer(self._admin.GetServerInfo(admin_pb.GetServerInfoRequest(), timeout=self._timeout))
        return _convert.server_info(response)

    async def close(self) -> None:
        """Close the connection. Calls that wait end with `CallCancelledError`."""
        if self._owned:
            await self._owned.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


async def _answer(call: Awaitable[_Response]) -> _Response:
    with typed_call_errors():
        response = await call
    # grpc.aio gives None, and only logs why, for an answer whose bytes are not the message that they should be.
    if response is None:
        raise ProtocolError("the answer is not a message of the API; do not send")
    return response


def _open_channel(
    target: str, credentials: grpc.ChannelCredentials | None, options: Sequence[Option]
) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, channel_options(options))
    return grpc.aio.secure_channel(target, credentials, channel_options(options))
