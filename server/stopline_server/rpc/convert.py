"""Values of the domain to messages of the API."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from stopline.v1 import consent_pb2, consent_service_pb2, timeline_service_pb2
from stopline_server.domain.consent import Consent, Entry, Status
from stopline_server.domain.keywords import Action, MatchKind, Reading
from stopline_server.domain.phone import format_phone
from stopline_server.domain.verdicts import ADVICE, Context, Verdict
from stopline_server.rpc.tokens import as_of
from stopline_server.store.protocol import Recorded

_ACTIONS: dict[Action, consent_pb2.InboundAction.ValueType] = {
    Action.NONE: consent_pb2.INBOUND_ACTION_NONE,
    Action.OPT_OUT: consent_pb2.INBOUND_ACTION_OPTED_OUT,
    Action.OPT_IN: consent_pb2.INBOUND_ACTION_OPTED_IN,
    Action.HELP: consent_pb2.INBOUND_ACTION_HELP,
    Action.REVIEW: consent_pb2.INBOUND_ACTION_REVIEW,
}
_KINDS: dict[MatchKind, consent_pb2.MatchKind.ValueType] = {
    MatchKind.KEYWORD: consent_pb2.MATCH_KIND_KEYWORD,
    MatchKind.PHRASE: consent_pb2.MATCH_KIND_PHRASE,
    MatchKind.REVIEW: consent_pb2.MATCH_KIND_REVIEW,
}


def timestamp(micros: int) -> Timestamp:
    """Microseconds since 1970 (UTC) as a Timestamp."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def consent_message(consent: Consent) -> consent_pb2.Consent:
    """A consent; without times where nothing is recorded."""
    message = consent_pb2.Consent(
        account_id=consent.account,
        phone=format_phone(consent.phone),
        program_id=consent.program,
        status=int(consent.status),  # type: ignore[arg-type]  # the numbers are the API's
        source=consent.source,
        keyword=consent.keyword,
        message_id=consent.message_id,
        version=consent.version,
    )
    if consent.status is not Status.NONE:
        message.changed_at.CopyFrom(timestamp(consent.changed_at))
        message.effective_at.CopyFrom(timestamp(consent.effective_at))
    return message


def match_message(reading: Reading) -> consent_pb2.KeywordMatch | None:
    """What was matched in a body, or None where nothing was."""
    if reading.kind is None:
        return None
    return consent_pb2.KeywordMatch(kind=_KINDS[reading.kind], keyword=reading.keyword, language=reading.language)


def inbound_response(reading: Reading, recorded: Recorded) -> consent_service_pb2.RecordInboundResponse:
    """The answer to an inbound text. A duplicate is answered as the first time."""
    entry = recorded.entry
    reading = entry.reading if entry else reading
    return consent_service_pb2.RecordInboundResponse(
        action=_ACTIONS[reading.action],
        consent_changed=entry.changed if entry else False,
        duplicate=recorded.duplicate,
        consent=consent_message(recorded.consent),
        match=match_message(reading),
        as_of=as_of(recorded.version),
    )


def sendable_response(
    phone: int, verdict: Verdict, context: Context, blocked_since: int | None, version: int
) -> consent_service_pb2.IsSendableResponse:
    """The answer to a check of one number."""
    advice = ADVICE[context, verdict]
    response = consent_service_pb2.IsSendableResponse(
        sendable=verdict is Verdict.SENDABLE,
        verdict=int(verdict),  # type: ignore[arg-type]  # the numbers are the API's
        outcome=int(advice.outcome),  # type: ignore[arg-type]
        label=advice.label,
        phone=format_phone(phone) if phone else "",
        as_of=as_of(version),
    )
    if blocked_since is not None:
        response.opted_out_at.CopyFrom(timestamp(blocked_since))
    return response


def batch_response(verdicts: list[Verdict], context: Context, version: int) -> consent_service_pb2.BatchFilterResponse:
    """The answer to a list: one verdict for each phone, and a label for each verdict that occurs."""
    counts = {verdict: count for verdict in Verdict if (count := verdicts.count(verdict))}
    sendable = counts.get(Verdict.SENDABLE, 0)
    return consent_service_pb2.BatchFilterResponse(
        verdicts=verdicts,  # type: ignore[arg-type]  # the numbers are the API's
        sendable_count=sendable,
        skipped_count=len(verdicts) - sendable,
        labels=[
            consent_service_pb2.SkipLabel(
                verdict=int(verdict),  # type: ignore[arg-type]
                outcome=int(ADVICE[context, verdict].outcome),  # type: ignore[arg-type]
                label=ADVICE[context, verdict].label,
                count=count,
            )
            for verdict, count in counts.items()
        ],
        as_of=as_of(version),
    )


def entry_message(entry: Entry) -> timeline_service_pb2.TimelineEntry:
    """An event of the timeline."""
    return timeline_service_pb2.TimelineEntry(
        version=entry.version,
        account_id=entry.account,
        phone=format_phone(entry.phone),
        program_id=entry.program,
        action=_ACTIONS[entry.reading.action],
        source=entry.source,
        actor=entry.actor,
        body=entry.body,
        match=match_message(entry.reading),
        message_id=entry.message_id,
        status_before=int(entry.status_before),  # type: ignore[arg-type]  # the numbers are the API's
        status_after=int(entry.status_after),  # type: ignore[arg-type]
        superseded=entry.superseded,
        written_at=timestamp(entry.written_at),
        recorded_at=timestamp(entry.recorded_at),
    )
