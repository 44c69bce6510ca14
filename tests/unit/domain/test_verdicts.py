"""The tables of product.md: the verdicts, and what a sender does and shows with each of them."""

import itertools

import pytest

from stopline_server.domain.consent import Standing, Status
from stopline_server.domain.verdicts import ADVICE, Advice, Context, Outcome, Verdict, blocked_since, judge

NONE, OUT, IN = Status.NONE, Status.OPTED_OUT, Status.OPTED_IN


def at(status: Status, time: int) -> Standing:
    return Standing(status, 1, time)


TABLE = [
    # account, program, blocked since (None: sendable)
    (None, None, None),
    (at(IN, 5), None, None),
    (at(NONE, 0), None, None),
    (at(OUT, 5), None, 5),
    (None, at(OUT, 5), 5),
    (None, at(IN, 5), None),
    (None, at(NONE, 0), None),
    (at(NONE, 0), at(OUT, 5), 5),
    # The program's own STOP stands, whatever the account says, and whenever.
    (at(IN, 9), at(OUT, 5), 5),
    (at(IN, 1), at(OUT, 5), 5),
    (at(IN, 5), at(OUT, 5), 5),
    (at(IN, 5), at(IN, 5), None),
    # An account-wide STOP is lifted for one program by an opt-in to it that is later.
    (at(OUT, 5), at(IN, 6), None),
    (at(OUT, 5), at(IN, 5), 5),
    (at(OUT, 5), at(IN, 4), 5),
    (at(OUT, 5), at(NONE, 9), 5),
    # Both: unwanted since the earlier.
    (at(OUT, 5), at(OUT, 7), 5),
    (at(OUT, 7), at(OUT, 5), 5),
    (at(OUT, 5), at(OUT, 5), 5),
    # Times before 1970, and at 1970.
    (at(OUT, 0), None, 0),
    (at(OUT, -5), None, -5),
    (at(OUT, -5), at(IN, -4), None),
]


@pytest.mark.parametrize(("account", "program", "since"), TABLE)
def test_verdict(account: Standing | None, program: Standing | None, since: int | None) -> None:
    assert judge(account, program) is (Verdict.SENDABLE if since is None else Verdict.OPTED_OUT)
    assert blocked_since(account, program) == since


def test_every_combination_by_the_rule() -> None:
    levels = [None, *(at(status, time) for status in Status for time in range(3))]
    for account, program in itertools.product(levels, levels):
        program_out = program is not None and program.status is OUT
        account_out = account is not None and account.status is OUT
        later_opt_in = (
            program is not None
            and program.status is IN
            and account is not None
            and program.occurred_at > account.occurred_at
        )
        sendable = not program_out and (not account_out or later_opt_in)
        assert judge(account, program) is (Verdict.SENDABLE if sendable else Verdict.OPTED_OUT)
        assert (blocked_since(account, program) is None) == sendable


@pytest.mark.parametrize(
    ("context", "outcome", "label"),
    [
        (Context.BULK, Outcome.SKIPPED, "Unsubscribed from Text"),
        (Context.SEQUENCE, Outcome.SKIPPED, "Unsubscribed from Text"),
        (Context.AUTOMATION, Outcome.UNSUCCESSFUL, "Text Unsubscribed"),
        (Context.DIRECT, Outcome.SKIPPED, "Unsubscribed from Text"),
        (Context.OPT_OUT_CONFIRMATION, Outcome.SKIPPED, "Unsubscribed from Text"),
    ],
)
def test_opted_out_is_shown_word_for_word(context: Context, outcome: Outcome, label: str) -> None:
    assert ADVICE[context, Verdict.OPTED_OUT] == Advice(outcome, label)


def test_every_verdict_has_an_advice_in_every_context() -> None:
    assert set(ADVICE) == set(itertools.product(Context, Verdict))
    for (context, verdict), advice in ADVICE.items():
        if verdict is Verdict.SENDABLE:
            assert advice == Advice(Outcome.SEND, "")
            continue
        assert advice.outcome is (Outcome.UNSUCCESSFUL if context is Context.AUTOMATION else Outcome.SKIPPED)
        assert advice.label
        opted_out_labels = {"Unsubscribed from Text", "Text Unsubscribed"}
        assert (advice.label in opted_out_labels) == (verdict is Verdict.OPTED_OUT), "no other verdict says so"
    with pytest.raises(TypeError):
        ADVICE[Context.BULK, Verdict.OPTED_OUT] = Advice(Outcome.SEND, "")  # type: ignore[index]


def test_numbers_are_those_of_the_api() -> None:
    assert {verdict.name: verdict.value for verdict in Verdict} == {
        "SENDABLE": 1, "OPTED_OUT": 2, "NOT_OPTED_IN": 3, "INVALID_NUMBER": 4, "DUPLICATE": 5,
    }  # fmt: skip
    assert {context.name: context.value for context in Context} == {
        "DIRECT": 1, "BULK": 2, "SEQUENCE": 3, "AUTOMATION": 4, "OPT_OUT_CONFIRMATION": 5,
    }  # fmt: skip
    assert {outcome.name: outcome.value for outcome in Outcome} == {"SEND": 1, "SKIPPED": 2, "UNSUCCESSFUL": 3}
