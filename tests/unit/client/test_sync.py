"""The synchronous client, on a channel whose other end is the test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tests.unit.client import answers
from tests.unit.client.fake_channel import PATIENCE, FakeServer, background

from stopline import (
    Client,
    ConsentStatus,
    FieldViolation,
    InboundAction,
    InvalidArgumentError,
    KeywordMatch,
    Label,
    MatchKind,
    ProtocolError,
    SendContext,
    SendOutcome,
    StoplineError,
    UnavailableError,
    Verdict,
)
from stopline.v1 import admin_service_pb2, consent_pb2, timeline_service_pb2
from stopline.v1 import consent_service_pb2 as pb

PHONES = ["+14155550100", "+14155550101"]
STOP_AT = datetime(2026, 11, 23, 10, 5, 0, 250, tzinfo=UTC)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def client(server: FakeServer) -> Client:
    return Client(channel=server.channel)


def _check(client: Client) -> Callable[[], object]:
    return lambda: client.is_sendable("acme", PHONES[0])


def test_a_sendable_number(server: FakeServer, client: Client) -> None:
    request, future = server.unary(
        lambda: client.is_sendable(
            "acme", "(415) 555-0100", context=SendContext.BULK, default_region="US", program_id="p"
        ),
        "IsSendable",
        answers.check(),
    )
    check = future.result(PATIENCE)
    assert check
    assert (check.verdict, check.outcome, check.label, check.opted_out_at) == (
        Verdict.SENDABLE,
        SendOutcome.SEND,
        "",
        None,
    )
    assert (check.phone, check.as_of) == ("+14155550100", answers.AS_OF)
    assert request == pb.IsSendableRequest(
        account_id="acme",
        phone="(415) 555-0100",
        context=consent_pb2.SEND_CONTEXT_BULK,
        default_region="US",
        program_id="p",
    )


def test_an_opted_out_number(server: FakeServer, client: Client) -> None:
    answer = answers.check(False, answers.OPTED_OUT, answers.SKIPPED, answers.SKIP_LABEL)
    answer.opted_out_at.FromDatetime(STOP_AT)
    check = server.unary(lambda: client.is_sendable("acme", PHONES[0]), "IsSendable", answer)[1].result(PATIENCE)
    assert not check
    assert (check.verdict, check.outcome, check.label) == (Verdict.OPTED_OUT, SendOutcome.SKIPPED, answers.SKIP_LABEL)
    assert check.opted_out_at == STOP_AT
    assert check.opted_out_at.tzinfo is UTC


@pytest.mark.parametrize("answer", answers.BAD_CHECKS.values(), ids=answers.BAD_CHECKS)
def test_a_doubtful_check_raises(server: FakeServer, client: Client, answer: pb.IsSendableResponse) -> None:
    with pytest.raises(ProtocolError) as raised:
        server.unary(_check(client), "IsSendable", answer)[1].result(PATIENCE)
    assert raised.value.code is None


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_failed_check_raises_even_with_an_answer(server: FakeServer, client: Client, code: grpc.StatusCode) -> None:
    # A good answer and a bad status: the status counts.
    with pytest.raises(StoplineError) as raised:
        server.unary(_check(client), "IsSendable", answers.check(), code=code)[1].result(PATIENCE)
    assert raised.value.code is code
    assert isinstance(raised.value.__cause__, grpc.RpcError)


def test_an_error_tells_the_field(server: FakeServer, client: Client) -> None:
    code = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidArgumentError, match="INVALID_FIELD") as raised:
        server.unary(_check(client), "IsSendable", None, code=code, metadata=answers.BAD_FIELD)[1].result(PATIENCE)
    assert raised.value.reason == "INVALID_FIELD"
    assert raised.value.field_violations == (FieldViolation("phone", "no"),)
    assert raised.value.retry_after is None


def test_an_error_tells_when_to_try_again(server: FakeServer, client: Client) -> None:
    code = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(UnavailableError) as raised:
        server.unary(_check(client), "IsSendable", None, code=code, metadata=answers.NOT_NOW)[1].result(PATIENCE)
    assert (raised.value.reason, raised.value.retry_after) == ("STORE_UNAVAILABLE", 1.5)
    assert raised.value.field_violations == ()


@pytest.mark.parametrize("context", [0, 99])
def test_a_context_that_is_none_is_refused(client: Client, context: Any) -> None:
    with pytest.raises(ValueError, match="not a valid SendContext"):
        background(lambda: client.is_sendable("acme", PHONES[0], context=context)).result(PATIENCE)


def test_a_list(server: FakeServer, client: Client) -> None:
    request, future = server.unary(
        lambda: client.batch_filter("acme", iter(PHONES), skip_duplicates=True),
        "BatchFilter",
        answers.batch(answers.SENDABLE, answers.OPTED_OUT),
    )
    result = future.result(PATIENCE)
    assert result.phones == tuple(PHONES)
    assert result.verdicts == (Verdict.SENDABLE, Verdict.OPTED_OUT)
    assert result.sendable == PHONES[:1]
    assert (result.sendable_count, result.skipped_count, result.as_of) == (1, 1, answers.AS_OF)
    assert result.labels == {
        Verdict.SENDABLE: Label(SendOutcome.SEND, "", 1),
        Verdict.OPTED_OUT: Label(SendOutcome.SKIPPED, answers.SKIP_LABEL, 1),
    }
    assert request == pb.BatchFilterRequest(
        account_id="acme", phones=PHONES, context=consent_pb2.SEND_CONTEXT_BULK, skip_duplicates=True
    )


@pytest.mark.parametrize("answer", answers.BAD_BATCHES.values(), ids=answers.BAD_BATCHES)
def test_a_doubtful_list_raises(server: FakeServer, client: Client, answer: pb.BatchFilterResponse) -> None:
    with pytest.raises(ProtocolError):
        server.unary(lambda: client.batch_filter("acme", PHONES), "BatchFilter", answer)[1].result(PATIENCE)


def test_one_string_is_no_list(client: Client) -> None:
    with pytest.raises(TypeError, match="not one string"):
        background(lambda: client.batch_filter("acme", PHONES[0])).result(PATIENCE)
    with pytest.raises(TypeError, match="not one string"):
        client.filter("acme", PHONES[0])


def test_an_inbound_text(server: FakeServer, client: Client) -> None:
    answer = pb.RecordInboundResponse()
    answer.CopyFrom(answers.GOOD_INBOUND)
    answer.consent.changed_at.FromDatetime(STOP_AT)
    answer.reply.text = "You are unsubscribed."
    answer.reply.send_by.FromDatetime(STOP_AT + timedelta(minutes=5))
    written = STOP_AT.astimezone(timezone(timedelta(hours=-5)))
    request, future = server.unary(
        lambda: client.record_inbound(
            "acme", "SM1", PHONES[0], "stop", to_phone="24365", received_at=written, program_id="p"
        ),
        "RecordInbound",
        answer,
    )
    inbound = future.result(PATIENCE)
    assert (inbound.action, inbound.consent_changed, inbound.duplicate) == (InboundAction.OPTED_OUT, True, False)
    assert inbound.match == KeywordMatch(MatchKind.KEYWORD, "STOP", "en")
    assert inbound.reply
    assert (inbound.reply.text, inbound.reply.send_by) == ("You are unsubscribed.", STOP_AT + timedelta(minutes=5))
    consent = inbound.consent
    assert (consent.status, consent.changed_at, consent.effective_at) == (ConsentStatus.OPTED_OUT, STOP_AT, None)
    assert (consent.phone, consent.version, inbound.as_of) == (PHONES[0], 42, answers.AS_OF)
    expected = pb.RecordInboundRequest(
        account_id="acme", message_id="SM1", from_phone=PHONES[0], to_phone="24365", body="stop", program_id="p"
    )
    expected.received_at.FromDatetime(STOP_AT)
    assert request == expected


def test_an_inbound_text_without_a_time_is_of_now_by_the_servers_clock(server: FakeServer, client: Client) -> None:
    request, future = server.unary(
        lambda: client.record_inbound("acme", "SM1", PHONES[0], "hi"), "RecordInbound", answers.GOOD_INBOUND
    )
    assert not request.HasField("received_at")
    inbound = future.result(PATIENCE)
    assert inbound.reply is None


def test_a_time_without_a_zone_is_refused(client: Client) -> None:
    local = STOP_AT.replace(tzinfo=None)
    with pytest.raises(ValueError, match="no time zone"):
        background(lambda: client.record_inbound("acme", "SM1", PHONES[0], "", received_at=local)).result(PATIENCE)


@pytest.mark.parametrize("missing", ["action", "consent"])
def test_an_inbound_text_is_not_recorded_by_half_an_answer(server: FakeServer, client: Client, missing: str) -> None:
    answer = pb.RecordInboundResponse()
    answer.CopyFrom(answers.GOOD_INBOUND)
    answer.ClearField(missing)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="not known to be recorded"):
        server.unary(lambda: client.record_inbound("acme", "SM1", PHONES[0], "stop"), "RecordInbound", answer)[
            1
        ].result(PATIENCE)


def test_what_a_newer_server_did_is_recorded_all_the_same(server: FakeServer, client: Client) -> None:
    answer = pb.RecordInboundResponse()
    answer.CopyFrom(answers.GOOD_INBOUND)
    answer.action = answers.UNKNOWN  # type: ignore[assignment]
    _, future = server.unary(lambda: client.record_inbound("acme", "SM1", PHONES[0], "?"), "RecordInbound", answer)
    assert future.result(PATIENCE).action is InboundAction.UNSPECIFIED


def test_a_consent(server: FakeServer, client: Client) -> None:
    answer = timeline_service_pb2.GetConsentResponse(consent=answers.GOOD_INBOUND.consent, as_of=answers.AS_OF)
    request, future = server.unary(lambda: client.get_consent("acme", PHONES[0], program_id="p"), "GetConsent", answer)
    assert future.result(PATIENCE).status is ConsentStatus.OPTED_OUT
    assert request == timeline_service_pb2.GetConsentRequest(account_id="acme", phone=PHONES[0], program_id="p")


@pytest.mark.parametrize(
    "answer",
    [
        timeline_service_pb2.GetConsentResponse(as_of=answers.AS_OF),
        timeline_service_pb2.GetConsentResponse(consent=consent_pb2.Consent(phone=PHONES[0])),
        timeline_service_pb2.GetConsentResponse(
            consent=consent_pb2.Consent(
                status=consent_pb2.CONSENT_STATUS_OPTED_IN, changed_at=Timestamp(seconds=1 << 60)
            )
        ),
    ],
    ids=["no consent", "no status", "a time that is none"],
)
def test_a_consent_that_is_none(server: FakeServer, client: Client, answer: Message) -> None:
    with pytest.raises(ProtocolError):
        server.unary(lambda: client.get_consent("acme", PHONES[0]), "GetConsent", answer)[1].result(PATIENCE)


def _page(*versions: int, token: str = "") -> timeline_service_pb2.ListTimelineResponse:
    entries = [timeline_service_pb2.TimelineEntry(version=version, source="inbound") for version in versions]
    return timeline_service_pb2.ListTimelineResponse(entries=entries, next_page_token=token)


def test_a_timeline_goes_over_pages(server: FakeServer, client: Client) -> None:
    entries = client.list_timeline("acme", PHONES[0], page_size=2, include_attempts=True)
    first, future = server.unary(lambda: [next(entries), next(entries)], "ListTimeline", _page(9, 8, token="t"))
    assert [entry.version for entry in future.result(PATIENCE)] == [9, 8]
    second, rest = server.unary(lambda: list(entries), "ListTimeline", _page(7))
    assert [entry.version for entry in rest.result(PATIENCE)] == [7]
    assert (first.page_token, first.page_size, first.include_attempts) == ("", 2, True)
    assert (second.page_token, second.page_size, second.include_attempts) == ("t", 2, True)


def test_a_timeline_that_turns_in_a_circle_ends(server: FakeServer, client: Client) -> None:
    entries = client.list_timeline("acme", PHONES[0])
    server.unary(lambda: next(entries), "ListTimeline", _page(9, token="t"))[1].result(PATIENCE)
    with pytest.raises(ProtocolError, match="same page"):
        server.unary(lambda: list(entries), "ListTimeline", _page(9, token="t"))[1].result(PATIENCE)


def test_an_attempt_that_a_newer_server_knows_is_readable(server: FakeServer, client: Client) -> None:
    page = _page()
    page.entries.add().attempt.verdict = answers.UNKNOWN  # type: ignore[assignment]
    entries = server.unary(lambda: list(client.list_timeline("acme", PHONES[0])), "ListTimeline", page)[1].result(
        PATIENCE
    )
    assert entries[0].attempt
    assert (entries[0].attempt.verdict, entries[0].action) == (None, InboundAction.UNSPECIFIED)


def test_the_server_tells_its_limits(server: FakeServer, client: Client) -> None:
    answer = admin_service_pb2.GetServerInfoResponse(
        version="0.1.0",
        schema_revision="0001",
        limits=admin_service_pb2.Limits(batch_phones=100_000, message_bytes=1 << 24),
    )
    info = server.unary(client.server_info, "GetServerInfo", answer)[1].result(PATIENCE)
    assert (info.version, info.schema_revision) == ("0.1.0", "0001")
    assert (info.limits.batch_phones, info.limits.message_bytes, info.limits.body_bytes) == (100_000, 1 << 24, 0)
