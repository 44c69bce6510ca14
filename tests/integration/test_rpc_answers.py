"""Answers on the wire: a verdict for every entry of a list, what a sender shows with it, and texts that come again."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.rpc_help import (
    ACCOUNT,
    ANN,
    BOB,
    NO_NUMBERS,
    TEN,
    Edge,
    Scripted,
    failure,
    open_edge,
    open_real_edge,
)

from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as consent
from stopline.v1 import timeline_service_pb2 as history


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    """A server that knows of Ann's STOP."""
    async with open_edge(Scripted()) as opened:
        await opened.hear("STOP", "m1", received_at=Timestamp(seconds=TEN))
        yield opened


@pytest.fixture
async def real_edge(database_url: str, redis_url: str) -> AsyncIterator[Edge]:
    async with open_real_edge(database_url, redis_url) as opened:
        yield opened


@pytest.mark.parametrize("text", NO_NUMBERS)
async def test_what_is_no_number_is_a_verdict_of_a_check(edge: Edge, text: str) -> None:
    before = await edge.known()
    answer = await edge.ask(consent.IsSendableRequest(account_id=ACCOUNT, phone=text, default_region="US"))
    assert (answer.sendable, answer.verdict, answer.phone) == (False, consent_pb2.VERDICT_INVALID_NUMBER, "")
    assert answer.outcome == consent_pb2.SEND_OUTCOME_SKIPPED
    assert answer.label
    assert not answer.HasField("opted_out_at")
    assert await edge.known() == before


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("phones", "runs"),
    [
        ([], []),
        ([ANN], [(2, 1)]),
        ([BOB], [(1, 1)]),
        (NO_NUMBERS * 40, [(4, 40 * len(NO_NUMBERS))]),
        ([BOB, ANN + " " * 53, "+" * 70_000, ANN], [(1, 1), (4, 2), (2, 1)]),
        ([ANN] * 99_999 + [BOB], [(2, 99_999), (1, 1)]),
    ],
    ids=["none", "one out", "one sendable", "rubbish", "overlong", "at the limit"],
)
async def test_a_list_has_a_verdict_for_each_entry_in_order(
    edge: Edge, phones: list[str], runs: list[tuple[int, int]], stream: bool
) -> None:
    batch = consent.BatchFilterRequest(account_id=ACCOUNT, phones=phones)
    answers = await edge.ask(consent.StreamFilterRequest(chunk_id=7, batch=batch) if stream else batch)
    answer = answers[0].batch if stream else answers
    assert [(verdict, len(list(same))) for verdict, same in itertools.groupby(answer.verdicts)] == runs
    counts = Counter(answer.verdicts)
    assert {label.verdict: label.count for label in answer.labels} == counts
    assert answer.sendable_count == counts[consent_pb2.VERDICT_SENDABLE]
    assert answer.sendable_count + answer.skipped_count == len(phones)
    assert answer.as_of == (await edge.known())[0].as_of


ALL_LISTED = [ANN, BOB, "nobody", "+44 7700 900 123", ANN, "nobody", "+44 (0)7700 900123"]


@pytest.mark.parametrize(("skip", "again"), [(False, [1, 2, 4, 1]), (True, [5, 5, 4, 5])])
@pytest.mark.parametrize(
    ("context", "outcome", "label"),
    [
        (consent_pb2.SEND_CONTEXT_UNSPECIFIED, consent_pb2.SEND_OUTCOME_SKIPPED, "Unsubscribed from Text"),
        (consent_pb2.SEND_CONTEXT_DIRECT, consent_pb2.SEND_OUTCOME_SKIPPED, "Unsubscribed from Text"),
        (consent_pb2.SEND_CONTEXT_BULK, consent_pb2.SEND_OUTCOME_SKIPPED, "Unsubscribed from Text"),
        (consent_pb2.SEND_CONTEXT_SEQUENCE, consent_pb2.SEND_OUTCOME_SKIPPED, "Unsubscribed from Text"),
        (consent_pb2.SEND_CONTEXT_AUTOMATION, consent_pb2.SEND_OUTCOME_UNSUCCESSFUL, "Text Unsubscribed"),
    ],
)
async def test_outcomes_and_labels_follow_the_context(
    edge: Edge, context: Any, outcome: int, label: str, skip: bool, again: list[int]
) -> None:
    batch = consent.BatchFilterRequest(account_id=ACCOUNT, phones=ALL_LISTED, context=context, skip_duplicates=skip)
    answer = await edge.ask(batch)
    assert list(answer.verdicts) == [2, 1, 4, *again]
    told = {each.verdict: each for each in answer.labels}
    assert list(told) == sorted(set(answer.verdicts))
    for verdict, each in told.items():
        assert each.count == list(answer.verdicts).count(verdict)
        assert each.outcome == (consent_pb2.SEND_OUTCOME_SEND if verdict == consent_pb2.VERDICT_SENDABLE else outcome)
        assert bool(each.label) is (verdict != consent_pb2.VERDICT_SENDABLE)
    assert told[consent_pb2.VERDICT_OPTED_OUT].label == label
    one = await edge.ask(consent.IsSendableRequest(account_id=ACCOUNT, phone=ANN, context=context))
    assert (one.sendable, one.verdict, one.outcome, one.label) == (False, 2, outcome, label)
    assert one.opted_out_at == Timestamp(seconds=TEN)


@pytest.mark.parametrize("body", ["", " ", "\x00", "see you at five"])
async def test_an_ordinary_text_leaves_nothing(real_edge: Edge, body: str) -> None:
    before = await real_edge.known()
    answers = [await real_edge.hear(body, "m1") for _ in range(2)]
    assert all((answer.action, answer.duplicate) == (consent_pb2.INBOUND_ACTION_NONE, False) for answer in answers)
    assert await real_edge.known() == before


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Timestamp(), 0),
        (Timestamp(seconds=-1, nanos=1_999), -999_999),
        (Timestamp(seconds=-62_135_596_800), -62_135_596_800_000_000),
        (Timestamp(seconds=TEN, nanos=999_999_999), TEN * 1_000_000 + 999_999),
        (Timestamp(seconds=253_402_300_799, nanos=999_999_999), None),
        (None, None),
    ],
    ids=["1970", "before 1970", "year 1", "nanoseconds", "year 9999", "unset"],
)
async def test_times_are_kept_to_the_microsecond_and_the_future_is_now(
    real_edge: Edge, given: Timestamp | None, kept: int | None
) -> None:
    begin = time.time_ns() // 1_000
    heard = await real_edge.hear("STOP", "m1", received_at=given)
    (entry,) = (await real_edge.known())[1].entries
    recorded = entry.recorded_at.ToMicroseconds()
    assert begin - 1_000_000 <= recorded <= time.time_ns() // 1_000 + 1_000_000
    assert entry.written_at.ToMicroseconds() == (recorded if kept is None else kept)
    assert heard.consent.changed_at == entry.written_at
    assert await real_edge.verdicts(ANN) == [consent_pb2.VERDICT_OPTED_OUT]
    # A wrong clock does not outlive what the person writes next.
    assert (await real_edge.hear("START", "m2")).consent_changed
    assert await real_edge.verdicts(ANN) == [consent_pb2.VERDICT_SENDABLE]


@pytest.mark.parametrize("again", [{"body": "START"}, {"body": "STOP."}, {"phone": BOB}, {"body": "hello"}])
async def test_a_message_id_used_twice_changes_nothing(real_edge: Edge, again: dict[str, str]) -> None:
    await real_edge.hear("STOP", "m1")
    before = [await real_edge.known(phone) for phone in (ANN, BOB)]
    failed = await failure(real_edge.hear(**{"body": "STOP", "message_id": "m1", **again}))
    assert failed.what == (grpc.StatusCode.FAILED_PRECONDITION, "MESSAGE_ID_REUSED")
    assert [await real_edge.known(phone) for phone in (ANN, BOB)] == before
    # Another account's ids are its own.
    other = await real_edge.hear(**{"body": "STOP", "message_id": "m1", "account_id": "other", **again})
    assert (other.duplicate, other.as_of) == (False, "v1.0" if again.get("body") == "hello" else "v1.1")
    assert [await real_edge.known(phone) for phone in (ANN, BOB)] == before


@pytest.mark.parametrize("body", ["STOP", "START", "HELP"])
async def test_a_message_that_comes_again_is_answered_as_the_first_time(real_edge: Edge, body: str) -> None:
    first = await real_edge.hear(body, "m1", received_at=Timestamp(seconds=TEN))
    before = await real_edge.known()
    assert not first.duplicate
    late: dict[str, Any] = {"received_at": Timestamp(seconds=TEN + 9)}
    spelled: dict[str, Any] = {"phone": "(202) 555-0143", "default_region": "us"}
    for more in ({}, late, spelled):
        again = await real_edge.hear(**{"body": body, "message_id": "m1", **more})
        assert again.duplicate
        again.duplicate = False
        assert again == first
    assert await real_edge.known() == before


async def test_a_long_history_of_long_texts_can_be_read_with_grpcs_own_limit(edge: Edge) -> None:
    """A page may be shorter than asked for: 4 MiB a message is what clients take that set nothing."""
    body, count = "STOP" + " " * 16_380, 300
    await asyncio.gather(*(edge.hear(body, f"long-{number}") for number in range(count)))
    found, token = [], None
    while token != "":
        page = await edge.ask(
            history.ListTimelineRequest(account_id=ACCOUNT, phone=ANN, page_size=1_000, page_token=token or "")
        )
        found += [entry.version for entry in page.entries]
        token = page.next_page_token
        assert page.entries
    assert found == list(range(count + 1, 0, -1))
