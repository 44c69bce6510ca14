"""The rules of product.md, "What an event does": which event counts, and what it leaves behind."""

import dataclasses
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stopline_server.domain.consent import (
    WHOLE_ACCOUNT,
    Consent,
    Entry,
    NewEvent,
    Standing,
    Status,
    decide,
    no_consent,
)
from stopline_server.domain.keywords import DEFAULT_LEXICON, Action, read_body
from stopline_server.domain.verdicts import Verdict, judge

STOP, START, HELP, CHAT = "STOP", "START", "HELP", "see you at 5"
STATUS = {STOP: Status.OPTED_OUT, START: Status.OPTED_IN}
NONE, OUT, IN = Status.NONE, Status.OPTED_OUT, Status.OPTED_IN
ACCOUNT, PHONE = "acme", 14155550100
LATE = 10**15  # a clock that is later than everything
_ids = itertools.count(1)


def event(body: str, at: int | None, program: str = WHOLE_ACCOUNT, message_id: str = "") -> NewEvent:
    return NewEvent(ACCOUNT, PHONE, program, message_id or f"m{next(_ids)}", at, body, read_body(body, DEFAULT_LEXICON))


def play(events: list[NewEvent], now: int = LATE) -> tuple[Consent | None, list[Entry]]:
    """What is left when these arrive at one level one after the other."""
    row: Consent | None = None
    entries = []
    for version, arrived in enumerate(events, 1):
        entry, new_row = decide(row, arrived, version, now)
        entries.append(entry)
        row = new_row or row
    return row, entries


def final(*told: tuple[str, int]) -> Status:
    row, _ = play([event(body, at) for body, at in told])
    return row.status if row else NONE


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([], NONE),
        ([(STOP, 10)], OUT),  # of a number never seen before
        ([(START, 10)], IN),
        ([(STOP, 10), (START, 11)], IN),
        ([(START, 10), (STOP, 11)], OUT),
        ([(STOP, 10), (START, 11), (STOP, 12)], OUT),
        # By when the person wrote, not by arrival: the START of 10:00 that comes after the STOP of 10:05.
        ([(STOP, 5), (START, 0)], OUT),
        ([(START, 5), (STOP, 0)], IN),
        ([(STOP, 0), (START, 10), (STOP, 5)], IN),
        ([(START, 0), (STOP, 10), (START, 5)], OUT),
        # On equal times the opt-out wins, whichever comes first.
        ([(STOP, 10), (START, 10)], OUT),
        ([(START, 10), (STOP, 10)], OUT),
        ([(START, 10), (STOP, 10), (START, 10)], OUT),
        # A repetition moves the time: a START between two STOPs does not lift the second.
        ([(STOP, 10), (STOP, 20), (START, 15)], OUT),
        ([(START, 10), (START, 20), (STOP, 15)], IN),
        # And an earlier repetition moves nothing.
        ([(STOP, 20), (STOP, 10), (START, 15)], OUT),
        ([(STOP, 20), (STOP, 10), (START, 25)], IN),
        # What asks for nothing changes nothing.
        ([(HELP, 10)], NONE),
        ([(CHAT, 10)], NONE),
        ([(STOP, 10), (CHAT, 20), (HELP, 30)], OUT),
        ([(STOP, 10), (CHAT, 20), (START, 15)], IN),
        # Times before 1970 are times.
        ([(STOP, -10)], OUT),
        ([(STOP, -10), (START, -5)], IN),
        ([(STOP, -5), (START, -10)], OUT),
    ],
)
def test_the_latest_received_at_decides(told: list[tuple[str, int]], status: Status) -> None:
    assert final(*told) is status


TOLD = st.lists(st.tuples(st.sampled_from([STOP, STOP, START, HELP, CHAT]), st.integers(-3, 6)), max_size=7)


@given(TOLD, st.randoms())
@settings(max_examples=300, deadline=None)
def test_the_order_of_arrival_does_not_matter(told: list[tuple[str, int]], rng: random.Random) -> None:
    shuffled = list(told)
    rng.shuffle(shuffled)
    counted = [(at, body == STOP) for body, at in told if body in STATUS]
    for order in (told, shuffled):
        row, entries = play([event(body, at) for body, at in order])
        assert len(entries) == len(told)
        # The rule in one line: the latest; of several at that time an opt-out.
        if counted:
            at, out = max(counted)
            assert row is not None
            assert (row.occurred_at, row.status) == (at, OUT if out else IN)
        else:
            assert row is None


@given(TOLD)
@settings(max_examples=300, deadline=None)
def test_entries_tell_what_happened_to_the_row(told: list[tuple[str, int]]) -> None:
    row: Consent | None = None
    for version, (body, at) in enumerate(told, 1):
        arrived = event(body, at)
        entry, new_row = decide(row, arrived, version, LATE)
        stands = new_row or row
        before, after = row.status if row else NONE, stands.status if stands else NONE
        assert (entry.status_before, entry.status_after) == (before, after)
        assert entry.changed == (before is not after)
        assert (entry.version, entry.message_id, entry.body) == (version, arrived.message_id, body)
        assert (entry.written_at, entry.recorded_at) == (at, LATE)
        if new_row is not None:
            assert not entry.superseded
            assert new_row.version == version
            assert new_row.effective_at >= new_row.changed_at
            assert new_row.occurred_at >= new_row.changed_at
        else:
            assert not entry.changed
        row = new_row or row


class TestSuperseded:
    """It came too late to count: the state rests on something written after it, or at the same time and stronger."""

    @pytest.mark.parametrize(
        ("told", "superseded"),
        [
            ([(STOP, 10)], False),
            ([(STOP, 10), (START, 5)], True),
            ([(START, 10), (STOP, 5)], True),
            ([(STOP, 10), (STOP, 5)], True),
            ([(STOP, 10), (START, 10)], True),
            ([(START, 10), (STOP, 10)], False),
            # The same again at the same time says nothing new, and loses to nothing.
            ([(STOP, 10), (STOP, 10)], False),
            ([(START, 10), (START, 10)], False),
            ([(STOP, 10), (HELP, 5)], False),
            ([(STOP, 10), (CHAT, 5)], False),
        ],
    )
    def test_last(self, told: list[tuple[str, int]], superseded: bool) -> None:
        _, entries = play([event(body, at) for body, at in told])
        assert [entry.superseded for entry in entries] == [False] * (len(told) - 1) + [superseded]


class TestTheRow:
    def test_a_first_stop_is_kept_with_all_that_proves_it(self) -> None:
        entry, row = decide(None, event("Stop all!", 50, message_id="m"), 7, 90)
        assert row == Consent(
            account=ACCOUNT, phone=PHONE, program="", status=OUT, occurred_at=50, version=7, changed_at=50,
            effective_at=90, source="inbound", keyword="STOP ALL", message_id="m",
        )  # fmt: skip
        assert row.standing == Standing(OUT, 7, 50)
        assert (entry.status_before, entry.status_after, entry.changed) == (NONE, OUT, True)
        assert (entry.reading.keyword, entry.body, entry.written_at, entry.recorded_at) == (
            "STOP ALL",
            "Stop all!",
            50,
            90,
        )

    def test_a_repeated_stop_moves_the_time_and_keeps_the_proof(self) -> None:
        _, first = decide(None, event(STOP, 50, message_id="first"), 1, 60)
        entry, second = decide(first, event("quit", 70, message_id="second"), 2, 80)
        assert first is not None
        assert second == dataclasses.replace(first, occurred_at=70, version=2)
        assert (entry.changed, entry.superseded) == (False, False)

    def test_a_change_starts_a_new_proof(self) -> None:
        _, out = decide(None, event(STOP, 50), 1, 60)
        _, back = decide(out, event(START, 70, message_id="back"), 2, 80)
        assert back is not None
        assert (back.status, back.changed_at, back.effective_at, back.keyword, back.message_id) == (
            IN,
            70,
            80,
            "START",
            "back",
        )

    def test_a_loser_leaves_the_row_alone(self) -> None:
        _, row = decide(None, event(STOP, 50), 1, 60)
        for late in (event(START, 40), event(STOP, 40), event(START, 50), event(HELP, 70), event(CHAT, 70)):
            assert decide(row, late, 2, 80)[1] is None

    def test_nothing_recorded(self) -> None:
        nothing = no_consent(ACCOUNT, PHONE, "brand")
        assert (nothing.status, nothing.program, nothing.standing) == (NONE, "brand", Standing(NONE, 0, 0))


class TestNow:
    @pytest.mark.parametrize(("at", "counts_as"), [(None, 100), (99, 99), (100, 100), (101, 100), (LATE, 100), (0, 0)])
    def test_a_time_in_the_future_and_none_at_all_count_as_now(self, at: int | None, counts_as: int) -> None:
        entry, row = decide(None, event(STOP, at), 1, 100)
        assert row is not None
        assert entry.written_at == row.occurred_at == row.changed_at == counts_as
        assert entry.recorded_at == row.effective_at == 100

    def test_a_clock_that_is_fast_cannot_outlive_a_later_stop(self) -> None:
        _, row = decide(None, event(START, LATE), 1, 100)
        _, row = decide(row, event(STOP, 101), 2, 102)
        assert row is not None
        assert row.status is OUT

    def test_a_stop_of_now_wins_over_a_start_of_now(self) -> None:
        _, row = decide(None, event(START, None), 1, 100)
        _, row = decide(row, event(STOP, None), 2, 100)
        assert row is not None
        assert row.status is OUT


class TestLevels:
    """STOP and START at the account and at programs, in any order: what a text of each may do (`judge`)."""

    @pytest.mark.parametrize(
        ("told", "account", "one", "other"),
        [
            # account: a text of no program; one, other: texts of two programs.
            ([], True, True, True),
            ([(STOP, "", 10)], False, False, False),
            ([(STOP, "one", 10)], True, False, True),
            # START to one brand after STOP ALL lets that brand through and no other.
            ([(STOP, "", 10), (START, "one", 11)], False, True, False),
            # Not before it, nor at the same time.
            ([(STOP, "", 10), (START, "one", 9)], False, False, False),
            ([(STOP, "", 10), (START, "one", 10)], False, False, False),
            ([(START, "one", 9), (STOP, "", 10)], False, False, False),
            # Another STOP ALL blocks the brand again, and a late one does not.
            ([(STOP, "", 10), (START, "one", 11), (STOP, "", 12)], False, False, False),
            ([(STOP, "", 10), (START, "one", 11), (STOP, "", 9)], False, True, False),
            ([(STOP, "", 10), (START, "one", 11), (STOP, "one", 12)], False, False, False),
            # An account-wide START never lifts a program's own STOP.
            ([(STOP, "one", 10), (START, "", 11)], True, False, True),
            ([(STOP, "one", 10), (STOP, "", 11), (START, "", 12)], True, False, True),
            ([(STOP, "one", 10), (STOP, "", 11), (START, "", 12), (START, "one", 13)], True, True, True),
            ([(STOP, "", 10), (START, "", 11)], True, True, True),
            # A program's START lifts no account-wide block for texts of no program.
            ([(START, "one", 5), (STOP, "", 10), (START, "", 11)], True, True, True),
            ([(STOP, "one", 12), (START, "one", 11), (STOP, "", 10)], False, False, False),
        ],
    )
    def test_who_may_be_texted(self, told: list[tuple[str, str, int]], account: bool, one: bool, other: bool) -> None:
        rows = self.rows(told)
        assert [self.sendable(rows, program) for program in ("", "one", "other")] == [account, one, other]

    @given(
        st.lists(
            st.tuples(st.sampled_from([STOP, START]), st.sampled_from(["", "one", "other"]), st.integers(0, 5)),
            max_size=7,
        )
    )
    @settings(max_examples=400, deadline=None)
    def test_against_the_rule_in_plain_words(self, told: list[tuple[str, str, int]]) -> None:
        rows = self.rows(told)

        def latest(body: str, program: str) -> int:
            return max(
                [at for told_body, told_program, at in told if (told_body, told_program) == (body, program)] + [-1]
            )

        def is_out(program: str) -> bool:
            return 0 <= latest(STOP, program) >= latest(START, program)

        assert self.sendable(rows, "") == (not is_out(""))
        for program in ("one", "other"):
            let_through = latest(START, program) > latest(STOP, "")
            assert self.sendable(rows, program) == (not is_out(program) and (not is_out("") or let_through))

    @staticmethod
    def rows(told: list[tuple[str, str, int]]) -> dict[str, Consent]:
        rows: dict[str, Consent] = {}
        for version, (body, program, at) in enumerate(told, 1):
            _, row = decide(rows.get(program), event(body, at, program), version, LATE)
            if row is not None:
                rows[program] = row
        return rows

    @staticmethod
    def sendable(rows: dict[str, Consent], program: str) -> bool:
        account, own = rows.get(WHOLE_ACCOUNT), rows.get(program) if program else None
        verdict = judge(account.standing if account else None, own.standing if own else None)
        return verdict is Verdict.SENDABLE


class TestTheSameAgain:
    @given(TOLD, st.integers(0, 6))
    @settings(max_examples=200, deadline=None)
    def test_a_fact_told_twice_changes_nothing_twice(self, told: list[tuple[str, int]], which: int) -> None:
        # Even where the store does not know the message id again, the facts are idempotent.
        events = [event(body, at) for body, at in told]
        again = events[which % len(events) :][:1] if events else []
        row, _ = play(events)
        repeated, entries = play([*events, *again])
        assert (row and (row.status, row.occurred_at)) == (repeated and (repeated.status, repeated.occurred_at))
        assert not (again and entries[-1].changed)

    def test_a_delivery_is_known_by_sender_and_body(self) -> None:
        first = event(STOP, 10)
        same = [event(STOP, 11), event(STOP, None), event(STOP, 10, "one"), event(STOP, 10, message_id="x")]
        assert {other.fingerprint() for other in same} == {first.fingerprint()}
        assert len(first.fingerprint()) == 16
        different = [
            event("stop", 10),
            event("STOP ", 10),
            event("", 10),
            dataclasses.replace(first, phone=PHONE + 1),
            dataclasses.replace(first, source="agent"),
        ]
        assert len({first.fingerprint(), *(other.fingerprint() for other in different)}) == 1 + len(different)

    @given(st.text(st.characters(exclude_categories=())))
    @settings(max_examples=100, deadline=None)
    def test_every_body_has_a_fingerprint(self, body: str) -> None:
        assert len(event(body, 10).fingerprint()) == 16


@pytest.mark.parametrize(
    ("body", "status"), [(STOP, OUT), ("STOP ALL", OUT), (START, IN), (HELP, None), (CHAT, None), ("", None)]
)
def test_what_an_event_asks_for(body: str, status: Status | None) -> None:
    assert event(body, 10).status is status


def test_numbers_are_those_of_the_api() -> None:
    assert {status.name: status.value for status in Status} == {"NONE": 1, "OPTED_IN": 2, "OPTED_OUT": 3}
    assert {action.name: action.value for action in Action} == {
        "NONE": 1, "OPT_OUT": 2, "OPT_IN": 3, "HELP": 4, "REVIEW": 5,
    }  # fmt: skip
