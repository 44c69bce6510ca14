"""The contract of every store, and of the server: one suite, run over each of them."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.contract.subjects import ReusedError, Subject

from stopline_server.domain.verdicts import Verdict

A, B = "acme", "bright"
ANN, BOB = 14155550100, 447700900123
TEN = 1_700_000_000_000_000  # some ten o'clock, in microseconds
MINUTE = 60_000_000
SENDABLE, OUT = Verdict.SENDABLE, Verdict.OPTED_OUT


async def test_a_number_never_seen_is_sendable(subject: Subject) -> None:
    assert await subject.verdicts(A, [ANN]) == [SENDABLE]
    assert await subject.verdicts(A, []) == []
    assert await subject.status(A, ANN) == ("NONE", 0, 0)
    assert await subject.timeline(A, ANN) == []


async def test_stop_blocks_and_start_lifts(subject: Subject) -> None:
    heard = await subject.hear(A, ANN, "Stop!", "m1", TEN)
    assert (heard.action, heard.changed, heard.duplicate, heard.status) == ("OPTED_OUT", True, False, "OPTED_OUT")
    assert await subject.verdicts(A, [ANN]) == [OUT]
    assert await subject.status(A, ANN) == ("OPTED_OUT", 1, TEN)
    heard = await subject.hear(A, ANN, "start", "m2", TEN + MINUTE)
    assert (heard.action, heard.changed, heard.status) == ("OPTED_IN", True, "OPTED_IN")
    assert await subject.verdicts(A, [ANN]) == [SENDABLE]
    assert [(line.action, line.before, line.after) for line in await subject.timeline(A, ANN)] == [
        ("OPTED_IN", "OPTED_OUT", "OPTED_IN"),
        ("OPTED_OUT", "NONE", "OPTED_OUT"),
    ]


async def test_accounts_and_phones_are_apart(subject: Subject) -> None:
    await subject.hear(A, ANN, "STOP", "m1", TEN)
    assert await subject.verdicts(B, [ANN]) == [SENDABLE]
    assert await subject.verdicts(A, [BOB, ANN, BOB, ANN]) == [SENDABLE, OUT, SENDABLE, OUT]
    assert await subject.timeline(B, ANN) == []
    # The same message id in another account is another message.
    heard = await subject.hear(B, BOB, "STOP", "m1", TEN)
    assert heard.changed
    assert not heard.duplicate


async def test_the_state_follows_writing_not_arrival(subject: Subject) -> None:
    await subject.hear(A, ANN, "STOP", "m1", TEN + 5 * MINUTE)
    heard = await subject.hear(A, ANN, "START", "m2", TEN)
    assert (heard.action, heard.changed, heard.status) == ("OPTED_IN", False, "OPTED_OUT")
    assert await subject.verdicts(A, [ANN]) == [OUT]
    late, first = await subject.timeline(A, ANN)
    assert (late.superseded, late.written_at, late.version) == (True, TEN, 2)
    assert (first.superseded, first.version) == (False, 1)


async def test_a_repeated_stop_moves_the_time_that_later_events_meet(subject: Subject) -> None:
    await subject.hear(A, ANN, "STOP", "m1", TEN)
    heard = await subject.hear(A, ANN, "STOP", "m2", TEN + 30 * MINUTE)
    assert (heard.changed, heard.status) == (False, "OPTED_OUT")
    await subject.hear(A, ANN, "START", "m3", TEN + 10 * MINUTE)
    assert await subject.verdicts(A, [ANN]) == [OUT]
    # The block took effect with the first one.
    assert (await subject.status(A, ANN))[2] == TEN


@pytest.mark.parametrize("order", [("STOP", "START"), ("START", "STOP")])
async def test_on_equal_times_the_opt_out_wins(subject: Subject, order: tuple[str, str]) -> None:
    for number, body in enumerate(order):
        await subject.hear(A, ANN, body, f"m{number}", TEN)
    assert await subject.verdicts(A, [ANN]) == [OUT]


async def test_a_time_in_the_future_counts_as_now(subject: Subject) -> None:
    tomorrow = time.time_ns() // 1_000 + 24 * 60 * MINUTE
    await subject.hear(A, ANN, "START", "m1", tomorrow)
    assert (await subject.status(A, ANN))[2] < tomorrow - 23 * 60 * MINUTE
    await subject.hear(A, ANN, "STOP", "m2", None)
    assert await subject.verdicts(A, [ANN]) == [OUT]


async def test_a_duplicate_changes_nothing_and_answers_as_the_first_time(subject: Subject) -> None:
    first = await subject.hear(A, ANN, "STOP", "m1", TEN)
    await subject.hear(A, ANN, "START", "m2", TEN + MINUTE)
    again = await subject.hear(A, ANN, "STOP", "m1", TEN + 2 * MINUTE)
    assert (again.action, again.changed, again.duplicate) == (first.action, True, True)
    assert again.status == "OPTED_IN"
    assert await subject.verdicts(A, [ANN]) == [SENDABLE]
    assert len(await subject.timeline(A, ANN)) == 2


@pytest.mark.parametrize(("body", "phone"), [("START", ANN), ("hello", ANN), ("STOP", BOB)])
async def test_a_message_id_with_another_text_or_sender_is_refused(subject: Subject, body: str, phone: int) -> None:
    await subject.hear(A, ANN, "STOP", "m1", TEN)
    with pytest.raises(ReusedError):
        await subject.hear(A, phone, body, "m1", TEN + MINUTE)
    assert await subject.verdicts(A, [ANN, BOB]) == [OUT, SENDABLE]
    assert len(await subject.timeline(A, ANN)) == 1


async def test_ordinary_texts_leave_nothing(subject: Subject) -> None:
    heard = await subject.hear(A, ANN, "see you at five", "m1", TEN)
    assert (heard.action, heard.changed, heard.duplicate, heard.status) == ("NONE", False, False, "NONE")
    assert await subject.timeline(A, ANN) == []
    await subject.hear(A, ANN, "STOP", "m2", TEN)
    heard = await subject.hear(A, ANN, "thanks", "m3", TEN)
    assert (heard.action, heard.status, heard.version) == ("NONE", "OPTED_OUT", "v1.1")


async def test_help_is_kept_and_changes_nothing(subject: Subject) -> None:
    await subject.hear(A, ANN, "STOP", "m1", TEN)
    heard = await subject.hear(A, ANN, "help", "m2", TEN + MINUTE)
    assert (heard.action, heard.changed, heard.status, heard.version) == ("HELP", False, "OPTED_OUT", "v1.2")
    assert (await subject.timeline(A, ANN))[0].action == "HELP"
    assert await subject.verdicts(A, [ANN]) == [OUT]


async def test_a_program_has_a_consent_of_its_own(subject: Subject) -> None:
    await subject.hear(A, ANN, "STOP", "m1", TEN, program="shoes")
    assert await subject.verdicts(A, [ANN], "shoes") == [OUT]
    assert await subject.verdicts(A, [ANN], "hats") == [SENDABLE]
    assert await subject.verdicts(A, [ANN]) == [SENDABLE]
    # An account-wide START never lifts a program's own STOP.
    await subject.hear(A, ANN, "START", "m2", TEN + MINUTE)
    assert await subject.verdicts(A, [ANN, BOB], "shoes") == [OUT, SENDABLE]
    assert (await subject.status(A, ANN, "shoes"))[0] == "OPTED_OUT"
    assert (await subject.status(A, ANN))[0] == "OPTED_IN"


async def test_start_to_one_program_after_stop_all_lets_that_program_through(subject: Subject) -> None:
    await subject.hear(A, ANN, "START", "m0", TEN - MINUTE, program="hats")
    await subject.hear(A, ANN, "STOP ALL", "m1", TEN, program="shoes")
    assert await subject.verdicts(A, [ANN]) == [OUT]
    assert await subject.verdicts(A, [ANN], "hats") == [OUT]  # it opted in before
    await subject.hear(A, ANN, "START", "m2", TEN + MINUTE, program="shoes")
    assert await subject.verdicts(A, [ANN], "shoes") == [SENDABLE]
    assert await subject.verdicts(A, [ANN], "hats") == [OUT]
    assert await subject.verdicts(A, [ANN]) == [OUT]
    await subject.hear(A, ANN, "STOP", "m3", TEN + 2 * MINUTE)
    assert await subject.verdicts(A, [ANN], "shoes") == [OUT]


async def test_versions_grow_by_one_with_each_entry(subject: Subject) -> None:
    bodies = ["STOP", "HELP", "START", "START", "STOP"]
    await asyncio.gather(*(subject.hear(A, ANN + n, body, f"m{n}", TEN) for n, body in enumerate(bodies)))
    versions = [line.version for n in range(len(bodies)) for line in await subject.timeline(A, ANN + n)]
    assert sorted(versions) == [1, 2, 3, 4, 5]


async def test_many_at_once_over_several_accounts(subject: Subject) -> None:
    accounts = [f"account-{n}" for n in range(5)]
    await asyncio.gather(
        *(subject.hear(account, ANN + n, "STOP", f"m{n}", TEN) for n in range(60) for account in accounts)
    )
    for account in accounts:
        assert await subject.verdicts(account, [ANN + n for n in range(61)]) == [OUT] * 60 + [SENDABLE]


async def test_the_same_message_many_times_at_once_counts_once(subject: Subject) -> None:
    heard = await asyncio.gather(*(subject.hear(A, ANN, "STOP", "m1", TEN) for _ in range(20)))
    assert sum(not each.duplicate for each in heard) == 1
    assert {each.changed for each in heard} == {True}
    assert len(await subject.timeline(A, ANN)) == 1


async def test_bodies_and_ids_of_every_script_come_back_as_they_were(subject: Subject) -> None:
    account, message = "Ünïcode {}%:/账户", "id\N{ZERO WIDTH SPACE}{}"
    for number, body in enumerate(["STOP 🛑", "ＳＴＯＰ", "stop\u200d", "STOP\n\nSent from my iPhone"]):
        await subject.hear(account, ANN, body, f"{message}{number}", TEN + number)
        assert (await subject.timeline(account, ANN))[0].body == body
        assert await subject.verdicts(account, [ANN, BOB]) == [OUT, SENDABLE]


async def test_a_nul_in_a_body_does_not_lose_the_stop(subject: Subject) -> None:
    await subject.hear(A, ANN, "STOP\x00", "m1", TEN)
    assert await subject.verdicts(A, [ANN]) == [OUT]
    assert (await subject.hear(A, ANN, "STOP\x00", "m1", TEN)).duplicate


async def test_a_long_list_is_answered_in_order(subject: Subject) -> None:
    phones = [12025550000 + n for n in range(4_000)]
    stopped = set(phones[::97])
    await asyncio.gather(*(subject.hear(A, phone, "STOP", f"m{phone}", TEN) for phone in stopped))
    for _ in range(3):  # cold, while filling, and from the copy
        verdicts = await subject.verdicts(A, phones)
        assert verdicts == [OUT if phone in stopped else SENDABLE for phone in phones]
        await asyncio.sleep(0.05)
