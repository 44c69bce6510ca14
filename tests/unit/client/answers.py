"""Answers of a server, good and bad, for the tests of both clients."""

from __future__ import annotations

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped, unused-ignore]

from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as pb

AS_OF = "v1.2a"
SENDABLE, OPTED_OUT, INVALID = (
    consent_pb2.VERDICT_SENDABLE,
    consent_pb2.VERDICT_OPTED_OUT,
    consent_pb2.VERDICT_INVALID_NUMBER,
)
SEND, SKIPPED = consent_pb2.SEND_OUTCOME_SEND, consent_pb2.SEND_OUTCOME_SKIPPED
SKIP_LABEL = "Unsubscribed from Text"
UNKNOWN = 99
"""An enum value that a newer server may have, and this client does not know."""


def check(
    sendable: bool = True,
    verdict: int = SENDABLE,
    outcome: int = SEND,
    label: str = "",
) -> pb.IsSendableResponse:
    """An answer for one number; as it is by default, a good one."""
    return pb.IsSendableResponse(
        sendable=sendable,
        verdict=verdict,  # type: ignore[arg-type]  # unknown numbers too
        outcome=outcome,  # type: ignore[arg-type]
        label=label,
        phone="+14155550100",
        as_of=AS_OF,
    )


def batch(*verdicts: int) -> pb.BatchFilterResponse:
    """A good answer for a list with these verdicts."""
    response = pb.BatchFilterResponse(verdicts=verdicts, as_of=AS_OF)  # type: ignore[arg-type]
    response.sendable_count = verdicts.count(SENDABLE)
    response.skipped_count = len(verdicts) - response.sendable_count
    for verdict in sorted(set(verdicts)):
        response.labels.add(
            verdict=verdict,
            outcome=SEND if verdict == SENDABLE else SKIPPED,
            label="" if verdict == SENDABLE else SKIP_LABEL,
            count=verdicts.count(verdict),
        )
    return response


def _changed(response: pb.BatchFilterResponse, **fields: int) -> pb.BatchFilterResponse:
    for name, value in fields.items():
        setattr(response, name, value)
    return response


def _relabelled(response: pb.BatchFilterResponse, index: int, **fields: int) -> pb.BatchFilterResponse:
    for name, value in fields.items():
        setattr(response.labels[index], name, value)
    return response


def _without_labels(response: pb.BatchFilterResponse) -> pb.BatchFilterResponse:
    response.ClearField("labels")
    return response


BAD_CHECKS = {
    "empty": pb.IsSendableResponse(),
    "sendable, and nothing else": pb.IsSendableResponse(sendable=True),
    "sendable without a verdict": check(verdict=0),
    "sendable with an unknown verdict": check(verdict=UNKNOWN),
    "sendable and opted out": check(verdict=OPTED_OUT, outcome=SKIPPED),
    "sendable and opted out, to be sent": check(verdict=OPTED_OUT),
    "sendable, to be skipped": check(outcome=SKIPPED),
    "sendable without an outcome": check(outcome=0),
    "sendable with an unknown outcome": check(outcome=UNKNOWN),
    "not sendable with the verdict sendable": check(sendable=False),
    "opted out, to be sent": check(sendable=False, verdict=OPTED_OUT),
    "not sendable with an unknown verdict": check(sendable=False, verdict=UNKNOWN, outcome=SKIPPED),
}
"""Answers to a check that must not be taken for any."""

BAD_BATCHES = {
    "empty": pb.BatchFilterResponse(),
    "short": batch(SENDABLE),
    "long": batch(SENDABLE, SENDABLE, SENDABLE),
    "an unspecified verdict": batch(SENDABLE, 0),
    "an unknown verdict": batch(SENDABLE, UNKNOWN),
    "no counts": _changed(batch(SENDABLE, OPTED_OUT), sendable_count=0, skipped_count=0),
    "a wrong count of sendable": _changed(batch(SENDABLE, OPTED_OUT), sendable_count=2),
    "a wrong count of skipped": _changed(batch(SENDABLE, OPTED_OUT), skipped_count=0),
    "no labels": _without_labels(batch(SENDABLE, OPTED_OUT)),
    "a label that counts wrong": _relabelled(batch(SENDABLE, OPTED_OUT), 1, count=2),
    "a label for an unknown verdict": _relabelled(batch(SENDABLE, OPTED_OUT), 1, verdict=UNKNOWN),
    "sendable, to be skipped": _relabelled(batch(SENDABLE, OPTED_OUT), 0, outcome=SKIPPED),
    "opted out, to be sent": _relabelled(batch(SENDABLE, OPTED_OUT), 1, outcome=SEND),
    "an unknown outcome": _relabelled(batch(SENDABLE, OPTED_OUT), 1, outcome=UNKNOWN),
}
"""Answers to a list of two that must not be taken for any."""

GOOD_INBOUND = pb.RecordInboundResponse(
    action=consent_pb2.INBOUND_ACTION_OPTED_OUT,
    consent_changed=True,
    consent=consent_pb2.Consent(
        account_id="acme", phone="+14155550100", status=consent_pb2.CONSENT_STATUS_OPTED_OUT, version=42
    ),
    match=consent_pb2.KeywordMatch(kind=consent_pb2.MATCH_KIND_KEYWORD, keyword="STOP", language="en"),
    as_of=AS_OF,
)


def details(*messages: Message, code: int = code_pb2.INVALID_ARGUMENT) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries these details of an error."""
    packed = []
    for message in messages:
        packed.append(any_pb2.Any())
        packed[-1].Pack(message)
    status = status_pb2.Status(code=code, message="phone: no", details=packed)
    return (("grpc-status-details-bin", status.SerializeToString()),)


BAD_FIELD = details(
    error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="stopline"),
    error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field="phone", description="no")]
    ),
)
NOT_NOW = details(
    error_details_pb2.ErrorInfo(reason="STORE_UNAVAILABLE", domain="stopline"),
    error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000)),
    code=code_pb2.UNAVAILABLE,
)
OF_A_PROXY = details(error_details_pb2.ErrorInfo(reason="STORE_UNAVAILABLE", domain="proxy.example"))
