"""The answer to "may I text this number?", and what the sender does and shows with it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from stopline_server.domain.consent import Standing, Status


class Verdict(enum.IntEnum):
    """The verdicts of the API, with its numbers."""

    SENDABLE = 1
    OPTED_OUT = 2
    NOT_OPTED_IN = 3
    INVALID_NUMBER = 4
    DUPLICATE = 5


class Context(enum.IntEnum):
    """Where a text is sent from, with the API's numbers."""

    DIRECT = 1
    BULK = 2
    SEQUENCE = 3
    AUTOMATION = 4
    OPT_OUT_CONFIRMATION = 5


class Outcome(enum.IntEnum):
    """What the sender does, with the API's numbers."""

    SEND = 1
    SKIPPED = 2
    UNSUCCESSFUL = 3


class Advice(NamedTuple):
    """What follows from a verdict in a context."""

    outcome: Outcome
    label: str


_SKIP_LABELS = {
    Verdict.OPTED_OUT: "Unsubscribed from Text",
    Verdict.NOT_OPTED_IN: "Not Opted In to Text",
    Verdict.INVALID_NUMBER: "Invalid Number",
    Verdict.DUPLICATE: "Duplicate Number",
}
# The labels are shown to people word for word; the two for an opted-out number are fixed by the product.
_AUTOMATION_LABELS = {**_SKIP_LABELS, Verdict.OPTED_OUT: "Text Unsubscribed"}


def _advice(context: Context, verdict: Verdict) -> Advice:
    if verdict is Verdict.SENDABLE:
        return Advice(Outcome.SEND, "")
    if context is Context.AUTOMATION:
        return Advice(Outcome.UNSUCCESSFUL, _AUTOMATION_LABELS[verdict])
    return Advice(Outcome.SKIPPED, _SKIP_LABELS[verdict])


ADVICE: Mapping[tuple[Context, Verdict], Advice] = MappingProxyType(
    {(context, verdict): _advice(context, verdict) for context in Context for verdict in Verdict}
)
"""Outcome and label for each verdict in each context."""


def judge(account: Standing | None, program: Standing | None) -> Verdict:
    """The verdict for a possible number, from what is recorded of it.

    A text of a program may go out if the program is not opted out, and the account is not opted out or the person
    opted in to that program after the account-wide opt-out. On equal times the opt-out wins.

    Args:
        account: What is recorded for the account as a whole, or None.
        program: What is recorded for the program of the text; None where nothing is, or the text is of no program.
    """
    if program is not None and program.status is Status.OPTED_OUT:
        return Verdict.OPTED_OUT
    if account is None or account.status is not Status.OPTED_OUT:
        return Verdict.SENDABLE
    if program is not None and program.status is Status.OPTED_IN and program.occurred_at > account.occurred_at:
        return Verdict.SENDABLE
    return Verdict.OPTED_OUT


def blocked_since(account: Standing | None, program: Standing | None) -> int | None:
    """When the person wrote the opt-out in force, in microseconds since 1970; None where `judge` finds none.

    With both levels opted out it is the earlier of the two: the text has been unwanted since then.
    """
    times = [s.occurred_at for s in (account, program) if s is not None and s.status is Status.OPTED_OUT]
    return min(times) if times and judge(account, program) is Verdict.OPTED_OUT else None
