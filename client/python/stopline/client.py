"""The synchronous client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import grpc

from stopline import _convert, _requests
from stopline._channel import Option, channel_options
from stopline._stream_sync import filter_stream
from stopline.errors import typed_errors
from stopline.v1 import admin_service_pb2 as admin_pb
from stopline.v1 import timeline_service_pb2 as timeline_pb
from stopline.v1.admin_service_pb2_grpc import AdminServiceStub
from stopline.v1.consent_service_pb2_grpc import ConsentServiceStub
from stopline.v1.timeline_service_pb2_grpc import TimelineServiceStub
from stopline.values import BatchResult, Check, Consent, Filtered, Inbound, SendContext, ServerInfo, TimelineEntry


class Client:
    """A client of a Stopline server, for threads.

    Every method either answers or raises a `StoplineError`, and an error is never permission to send. Calls that are
    harmless to repeat are repeated while the server is UNAVAILABLE, within their timeout. Safe to share between
    threads. Close it, or use it as a context manager.
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
        channel: grpc.Channel | None = None,
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

    def is_sendable(
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
        with typed_errors():
            return _convert.check(self._consent.IsSendable(request, timeout=self._timeout))

    def record_inbound(
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
        with typed_errors():
            return _convert.inbound(self._consent.RecordInbound(request, timeout=self._write_timeout))

    def batch_filter(
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
        with typed_errors():
            response = self._consent.BatchFilter(request, timeout=self._batch_timeout)
        return _convert.batch_result(tuple(request.phones), response)

    def filter(
        self,
        account_id: str,
        phones: Iterable[str],
        *,
        context: SendContext = SendContext.BULK,
        default_region: str = "",
        program_id: str = "",
        skip_duplicates: bool = False,
        chunk_size: int = 50_000,
    ) -> Iterator[Filtered]:
        """May the numbers of this list, of any length, be texted? Each with its verdict, in order.

        Lazy: `phones` is read, in the caller's own thread, as answers are taken, and no more than a few chunks are
        held. A verdict holds for the moment in which its chunk was answered, so take them about as fast as you send.

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

    def get_consent(self, account_id: str, phone: str, *, program_id: str = "", default_region: str = "") -> Consent:
        """What is recorded of a phone at one level: the account as a whole, or a program.

        Raises:
            StoplineError: There is no answer.
        """
        request = timeline_pb.GetConsentRequest(
            account_id=account_id, phone=phone, program_id=program_id, default_region=default_region
        )
        with typed_errors():
            response = self._timeline.GetConsent(request, timeout=self._timeout)
        return _convert.consent(response.consent)

    def list_timeline(
        self, account_id: str, phone: str, *, page_size: int = 100, include_attempts: bool = False
    ) -> Iterator[TimelineEntry]:
        """The history of a phone (E.164), newest first, page after page as it is taken.

        Raises:
            StoplineError: While iterating: a page could not be read.
        """
        request = timeline_pb.ListTimelineRequest(
            account_id=account_id, phone=phone, page_size=page_size, include_attempts=include_attempts
        )
        following: timeline_pb.ListTimelineRequest | None = request
        while following is not None:
            with typed_errors():
                response = self._timeline.ListTimeline(following, timeout=self._timeout)
            yield from map(_convert.timeline_entry, response.entries)
            following = _requests.next_page(following, response)

    def server_info(self) -> ServerInfo:
        """The server's version and limits.

        Raises:
            StoplineError: There is no answer.
        """
        with typed_errors():
            return _convert.server_info(
                self._admin.GetServerInfo(admin_pb.GetServerInfoRequest(), timeout=self._timeout)
            )

    def close(self) -> None:
        """Close the connection. Calls that wait end with `CallCancelledError`."""
        if self._owned:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _open_channel(target: str, credentials: grpc.ChannelCredentials | None, options: Sequence[Option]) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(target, channel_options(options))
    return grpc.secure_channel(target, credentials, channel_options(options))
