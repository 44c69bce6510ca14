"""Values to requests, for both clients."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from stopline.errors import ProtocolError
from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as consent_service_pb
from stopline.v1 import timeline_service_pb2 as timeline_pb
from stopline.values import SendContext


def inbound_request(
    account_id: str,
    message_id: str,
    from_phone: str,
    body: str,
    *,
    to_phone: str,
    received_at: datetime | None,
    default_region: str,
    program_id: str,
) -> consent_service_pb.RecordInboundRequest:
    """The request of RecordInbound.

    Raises:
        ValueError: `received_at` has no time zone.
    """
    request = consent_service_pb.RecordInboundRequest(
        account_id=account_id,
        message_id=message_id,
        from_phone=from_phone,
        to_phone=to_phone,
        body=body,
        default_region=default_region,
        program_id=program_id,
    )
    if received_at is not None:
        request.received_at.CopyFrom(_timestamp("received_at", received_at))
    return request


def check_request(
    account_id: str, phone: str, *, context: SendContext, default_region: str, program_id: str
) -> consent_service_pb.IsSendableRequest:
    """The request of IsSendable."""
    return consent_service_pb.IsSendableRequest(
        account_id=account_id,
        phone=phone,
        context=_context(context),
        default_region=default_region,
        program_id=program_id,
    )


def batch_request(
    account_id: str,
    phones: Iterable[str],
    *,
    context: SendContext,
    default_region: str,
    program_id: str,
    skip_duplicates: bool,
) -> consent_service_pb.BatchFilterRequest:
    """The request of BatchFilter; without phones, the question of a StreamFilter.

    Raises:
        TypeError: `phones` is one string.
    """
    require_list(phones)
    return consent_service_pb.BatchFilterRequest(
        account_id=account_id,
        phones=phones,
        context=_context(context),
        default_region=default_region,
        program_id=program_id,
        skip_duplicates=skip_duplicates,
    )


def require_list(phones: object) -> None:
    """Refuse a single string.

    A string is an iterable of strings: one number would become a list of its digits.

    Raises:
        TypeError: `phones` is one.
    """
    if isinstance(phones, str | bytes):
        raise TypeError("phones must be a list of numbers, not one string")


def next_page(
    request: timeline_pb.ListTimelineRequest, response: timeline_pb.ListTimelineResponse
) -> timeline_pb.ListTimelineRequest | None:
    """The request for the page after this one; None after the last.

    Raises:
        ProtocolError: The next page is this one again: following it would never end.
    """
    if not response.next_page_token:
        return None
    if response.next_page_token == request.page_token:
        raise ProtocolError("the next page of the timeline is the same page again")
    following = timeline_pb.ListTimelineRequest()
    following.CopyFrom(request)
    following.page_token = response.next_page_token
    return following


def _context(context: SendContext) -> consent_pb2.SendContext.ValueType:
    # Refuses a number that is no context, which proto3 would carry to the server as it is.
    return consent_pb2.SendContext.ValueType(SendContext(context))


def _timestamp(name: str, value: datetime) -> Timestamp:
    # Taken for UTC, a local time could put a START after a STOP that the person wrote later.
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"{name} has no time zone; pass an aware datetime, as from datetime.now(UTC)")
    timestamp = Timestamp()
    timestamp.FromDatetime(value.astimezone(UTC))
    return timestamp
