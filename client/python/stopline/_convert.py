"""Responses to values, for both clients.

Answers are checked here, and doubt is an error: an answer that the API does not allow raises `ProtocolError`, so that
it is never read as permission to send.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from stopline.errors import ProtocolError
from stopline.v1 import admin_service_pb2 as admin_pb
from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as consent_service_pb
from stopline.v1 import timeline_service_pb2 as timeline_pb
from stopline.values import (
    Attempt,
    BatchResult,
    Check,
    Consent,
    ConsentStatus,
    Inbound,
    InboundAction,
    KeywordMatch,
    Label,
    Limits,
    MatchKind,
    Reply,
    SendContext,
    SendOutcome,
    ServerInfo,
    TimelineEntry,
    Verdict,
)

_Enum = TypeVar("_Enum", bound=enum.IntEnum)
_VERDICTS = {int(verdict): verdict for verdict in Verdict}


def check(response: consent_service_pb.IsSendableResponse) -> Check:
    """The answer for one number.

    Raises:
        ProtocolError: The verdict or the outcome is not one that is known, or they contradict `sendable`.
    """
    verdict = _verdict(response.verdict)
    outcome = _outcome(response.outcome)
    may_go = (response.sendable, verdict is Verdict.SENDABLE, outcome is SendOutcome.SEND)
    if any(may_go) and not all(may_go):
        raise ProtocolError(
            f"the answer contradicts itself: sendable={response.sendable}, {verdict.name}, {outcome.name}; do not send"
        )
    return Check(
        sendable=response.sendable,
        verdict=verdict,
        outcome=outcome,
        label=response.label,
        phone=response.phone,
        opted_out_at=_time(response, "opted_out_at"),
        as_of=response.as_of,
    )


def batch_result(phones: tuple[str, ...], response: consent_service_pb.BatchFilterResponse) -> BatchResult:
    """The answer for a list.

    Raises:
        ProtocolError: The verdicts are not exactly one for each number, one of them is not known, or the counts and
            labels are not those of the verdicts.
    """
    if len(response.verdicts) != len(phones):
        raise ProtocolError(f"{len(response.verdicts)} verdicts for {len(phones)} numbers; send to none of them")
    try:
        verdicts = tuple(map(_VERDICTS.__getitem__, response.verdicts))
    except KeyError as error:
        raise ProtocolError(f"verdict {error.args[0]} is not known; send to none of these numbers") from None
    labels = {_verdict(each.verdict): Label(_outcome(each.outcome), each.label, each.count) for each in response.labels}
    told = {verdict: label.count for verdict, label in labels.items()}
    counted = {verdict: count for verdict in Verdict if (count := verdicts.count(verdict))}
    sendable = counted.get(Verdict.SENDABLE, 0)
    # An answer that was changed or mixed up on its way shows here; which part of it is wrong, nobody can tell.
    if told != counted or (response.sendable_count, response.skipped_count) != (sendable, len(verdicts) - sendable):
        raise ProtocolError("the counts of the answer are not those of its verdicts; send to none of these numbers")
    for verdict, label in labels.items():
        if (verdict is Verdict.SENDABLE) != (label.outcome is SendOutcome.SEND):
            raise ProtocolError(f"{verdict.name} with {label.outcome.name}; send to none of these numbers")
    return BatchResult(
        phones=phones,
        verdicts=verdicts,
        labels=MappingProxyType(labels),
        sendable_count=response.sendable_count,
        skipped_count=response.skipped_count,
        as_of=response.as_of,
    )


def inbound(response: consent_service_pb.RecordInboundResponse) -> Inbound:
    """The answer to an inbound text.

    Raises:
        ProtocolError: It has no action or no consent: nothing shows that the text was recorded.
    """
    if response.action == consent_pb2.INBOUND_ACTION_UNSPECIFIED or not response.HasField("consent"):
        raise ProtocolError(
            "the answer has no action or no consent; the text is not known to be recorded, send it again"
        )
    return Inbound(
        action=_known(InboundAction, response.action),
        consent_changed=response.consent_changed,
        duplicate=response.duplicate,
        consent=consent(response.consent),
        match=_match(response.match) if response.HasField("match") else None,
        reply=_reply(response.reply) if response.HasField("reply") else None,
        as_of=response.as_of,
    )


def consent(message: consent_pb2.Consent) -> Consent:
    """The state of a phone at one level.

    Raises:
        ProtocolError: It has no status.
    """
    if message.status == consent_pb2.CONSENT_STATUS_UNSPECIFIED:
        raise ProtocolError("the answer has a consent without a status")
    return Consent(
        account_id=message.account_id,
        phone=message.phone,
        program_id=message.program_id,
        status=_known(ConsentStatus, message.status),
        changed_at=_time(message, "changed_at"),
        effective_at=_time(message, "effective_at"),
        source=message.source,
        keyword=message.keyword,
        message_id=message.message_id,
        version=message.version,
    )


def timeline_entry(message: timeline_pb.TimelineEntry) -> TimelineEntry:
    """One thing that happened."""
    return TimelineEntry(
        version=message.version,
        account_id=message.account_id,
        phone=message.phone,
        program_id=message.program_id,
        action=_known(InboundAction, message.action),
        source=message.source,
        actor=message.actor,
        body=message.body,
        match=_match(message.match) if message.HasField("match") else None,
        message_id=message.message_id,
        status_before=_known(ConsentStatus, message.status_before),
        status_after=_known(ConsentStatus, message.status_after),
        superseded=message.superseded,
        written_at=_time(message, "written_at"),
        recorded_at=_time(message, "recorded_at"),
        evidence=message.evidence,
        reason=message.reason,
        attempt=_attempt(message.attempt) if message.HasField("attempt") else None,
    )


def server_info(response: admin_pb.GetServerInfoResponse) -> ServerInfo:
    """What a server is."""
    limits = response.limits
    return ServerInfo(
        version=response.version,
        schema_revision=response.schema_revision,
        limits=Limits(
            batch_phones=limits.batch_phones,
            chunk_phones=limits.chunk_phones,
            body_bytes=limits.body_bytes,
            id_bytes=limits.id_bytes,
            phone_chars=limits.phone_chars,
            page_size=limits.page_size,
            message_bytes=limits.message_bytes,
        ),
    )


def _attempt(message: timeline_pb.Attempt) -> Attempt:
    return Attempt(
        attempt_id=message.attempt_id,
        phone=message.phone,
        context=_known_or_none(SendContext, message.context),
        verdict=_known_or_none(Verdict, message.verdict),
        reference=message.reference,
        attempted_at=_time(message, "attempted_at"),
        outcome=_known_or_none(SendOutcome, message.outcome),
        label=message.label,
    )


def _match(message: consent_pb2.KeywordMatch) -> KeywordMatch:
    return KeywordMatch(_known(MatchKind, message.kind), message.keyword, message.language)


def _reply(message: consent_pb2.Reply) -> Reply:
    return Reply(message.text, _time(message, "send_by"))


def _verdict(value: int) -> Verdict:
    verdict = _VERDICTS.get(value)
    if verdict is None:
        raise ProtocolError(f"verdict {value} is not known; do not send")
    return verdict


def _outcome(value: int) -> SendOutcome:
    try:
        return SendOutcome(value)
    except ValueError:
        raise ProtocolError(f"outcome {value} is not known; do not send") from None


def _known(kind: type[_Enum], value: int) -> _Enum:
    # For records, not for permission: what a newer server adds must not make a history unreadable.
    return _known_or_none(kind, value) or kind(0)


def _known_or_none(kind: type[_Enum], value: int) -> _Enum | None:
    try:
        return kind(value)
    except ValueError:
        return None


_Timed = (
    consent_service_pb.IsSendableResponse
    | consent_pb2.Consent
    | consent_pb2.Reply
    | timeline_pb.TimelineEntry
    | timeline_pb.Attempt
)


def _time(message: _Timed, field: str) -> datetime | None:
    if not message.HasField(field):  # type: ignore[arg-type]  # each name is one of its message's
        return None
    value: Timestamp = getattr(message, field)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ProtocolError(f"the answer has a {field} that is no time") from None
