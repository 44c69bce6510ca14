"""Random histories against a model of few lines: at each level the latest event decides, on equal times the opt-out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.contract.conftest import open_subject
from tests.contract.subjects import ReusedError, Subject

from stopline_server.domain.verdicts import Verdict

T = TypeVar("T")
PHONES = [14155550100, 14155550101, 447700900123]
PROGRAMS = ["", "shoes", "hats"]
BODIES = {"STOP": "out", "quit.": "out", "STOP ALL": "all", "START": "in", "help": "", "on my way": ""}
TEN = 1_700_000_000_000_000
_accounts = itertools.count()


class Model:
    """All events as a list, and the rules of the product as they are written there."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str, int, bool]] = []

    def last(self, phone: int, level: str) -> tuple[int, bool] | None:
        """When and whether the latest event of a level opted out."""
        return max(((at, out) for p, lv, at, out in self.events if (p, lv) == (phone, level)), default=None)

    def opted_out(self, phone: int, program: str) -> bool:
        """Whether a text of the program to the phone is blocked."""
        whole = self.last(phone, "")
        own = self.last(phone, program) if program else None
        if own and own[1]:
            return True
        if not whole or not whole[1]:
            return False
        return not (own and own[0] > whole[0])


class Histories(RuleBasedStateMachine):
    """Texts in any order of writing and arrival, some of them twice."""

    subject: Subject
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.account = f"account-{next(_accounts)}"
        self.model = Model()
        self.sent: list[tuple[int, str, str, int, str]] = []
        self.versions = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @rule(
        phone=st.sampled_from(PHONES),
        body=st.sampled_from(list(BODIES)),
        minute=st.integers(0, 5),
        program=st.sampled_from(PROGRAMS),
    )
    def hear(self, phone: int, body: str, minute: int, program: str) -> None:
        message = f"m{len(self.sent)}"
        at = TEN + minute * 60_000_000
        means = BODIES[body]
        level = "" if means == "all" else program
        before = self.model.last(phone, level)
        if means:
            self.model.events.append((phone, level, at, means != "in"))
        after = self.model.last(phone, level)
        heard = self.do(self.subject.hear(self.account, phone, body, message, at, program))
        changed = (before[1] if before else None) != (after[1] if after else None)
        assert (heard.changed, heard.duplicate) == (changed, False)
        if body != "on my way":
            self.versions += 1
            self.sent.append((phone, body, message, at, program))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), later=st.integers(0, 3))
    def hear_again(self, data: st.DataObject, later: int) -> None:
        phone, body, message, at, program = data.draw(st.sampled_from(self.sent))
        assert self.do(self.subject.hear(self.account, phone, body, message, at + later, program)).duplicate

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), body=st.sampled_from(["START", "STOP now and then"]))
    def reuse(self, data: st.DataObject, body: str) -> None:
        phone, first, message, at, program = data.draw(st.sampled_from(self.sent))
        if first != body:
            with pytest.raises(ReusedError):
                self.do(self.subject.hear(self.account, phone, body, message, at, program))

    @invariant()
    def verdicts_agree(self) -> None:
        for program in PROGRAMS:
            expected = [
                Verdict.OPTED_OUT if self.model.opted_out(phone, program) else Verdict.SENDABLE for phone in PHONES
            ]
            assert self.do(self.subject.verdicts(self.account, PHONES, program)) == expected

    def teardown(self) -> None:
        lines = [line for phone in PHONES for line in self.do(self.subject.timeline(self.account, phone))]
        assert sorted(line.version for line in lines) == list(range(1, self.versions + 1))


@pytest.fixture
def machine(place: tuple[str, str, str]) -> Iterator[type[Histories]]:
    """The state machine bound to one of the subjects, on a loop of its own: hypothesis calls it from no coroutine."""
    with asyncio.Runner() as runner:
        cleanup = AsyncExitStack()
        subject = runner.run(cleanup.enter_async_context(open_subject(*place)))
        yield type("BoundHistories", (Histories,), {"subject": subject, "runner": runner})
        runner.run(cleanup.aclose())


def test_random_histories_agree_with_the_model(machine: type[Histories], place: tuple[str, str, str]) -> None:
    examples = 60 if place[0] == "memory" else 12
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
