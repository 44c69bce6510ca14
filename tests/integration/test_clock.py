"""A store whose clock is set back, or that takes over from one that was ahead: the STOP that comes last counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from stopline_server.domain.consent import NewEvent, Status
from stopline_server.domain.keywords import DEFAULT_LEXICON, read_body
from stopline_server.store.memory import MemoryStore
from stopline_server.store.postgres import PostgresStore
from stopline_server.store.protocol import ConsentStore

HOUR = 3_600_000_000
ANN, BOB = 14155550100, 447700900123


def event(body: str, number: int, program: str = "", at: int | None = None, phone: int = ANN) -> NewEvent:
    return NewEvent("acme", phone, program, f"m{number}", at, body, read_body(body, DEFAULT_LEXICON))


@pytest.mark.parametrize(("first", "last"), [("", ""), ("shop", ""), ("shop", "shop")])
@pytest.mark.parametrize("late", [False, True], ids=["now", "told to be of tomorrow"])
async def test_postgres(database_url: str, first: str, last: str, late: bool) -> None:
    store = PostgresStore(database_url)

    async def set_back() -> None:
        # What is recorded was recorded by a clock an hour ahead of this one.
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE account SET clock = clock + interval '1 hour'")
        await connection.execute("UPDATE consent SET occurred_at = occurred_at + interval '1 hour'")
        await connection.close()

    try:
        await start_then_stop(store, set_back, first, last, late=late)
    finally:
        await store.close()


@pytest.mark.parametrize(("first", "last"), [("", ""), ("shop", ""), ("shop", "shop")])
@pytest.mark.parametrize("late", [False, True], ids=["now", "told to be of tomorrow"])
async def test_memory(first: str, last: str, late: bool) -> None:
    times = iter([10 * HOUR, 9 * HOUR, 8 * HOUR])

    async def set_back() -> None:
        pass

    await start_then_stop(MemoryStore(lambda: next(times)), set_back, first, last, late=late)


async def start_then_stop(
    store: ConsentStore, set_back: Callable[[], Awaitable[None]], first: str, last: str, *, late: bool
) -> None:
    await store.record(event("START", 1, first))
    await set_back()
    tomorrow = 2**52 if late else None
    stopped = await store.record(event("STOP", 2, last, tomorrow))
    assert stopped.consent.status is Status.OPTED_OUT
    assert stopped.entry
    assert not stopped.entry.superseded
    found = (await store.look_up("acme", [ANN], "shop")).found[ANN]
    # Not opted in to the program after the account-wide opt-out.
    if first and not last:
        assert found.account
        assert found.program
        assert found.account.occurred_at >= found.program.occurred_at
    # Times of other numbers of the account grow with versions too.
    other = await store.record(event("STOP", 3, phone=BOB))
    assert other.entry
    assert other.entry.recorded_at >= stopped.entry.recorded_at
