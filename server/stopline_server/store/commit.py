"""Group commit: all events that wait go into the next transaction, so a flush to disk is shared by many calls.

While one transaction is on its way, later events gather for the next. A group has a deadline of its own (the store's),
and belongs to no caller: one that leaves takes nothing with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from stopline_server.domain.consent import Consent, Entry, NewEvent, decide, no_consent
from stopline_server.domain.keywords import Action
from stopline_server.errors import MessageIdReusedError, StoplineError, StoreUnavailableError
from stopline_server.store.protocol import Recorded
from stopline_server.store.rows import consent_columns, consent_of, entry_columns, entry_of

MAX_GROUP = 500
"""The most events in one transaction: bounds how long an account's row is locked."""

# Sorted, so that two groups never wait for each other in a ring. The clock is read outside the locking part: after
# the wait for the lock, so that times grow with versions; and it never goes behind the account's latest, or a STOP that
# comes after the machine's clock was set back (or after a fail-over to a slower one) would lose to a START before it.
_LOCK = """
WITH locked AS MATERIALIZED (
    SELECT account_id, version, clock FROM account WHERE account_id = ANY($1::text[]) ORDER BY account_id FOR UPDATE
)
SELECT account_id, version, greatest(clock, clock_timestamp()) FROM locked
"""
_NEW_ACCOUNTS = "INSERT INTO account (account_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_KNOWN_ENTRIES = """
SELECT e.* FROM unnest($1::text[], $2::text[]) AS k (account_id, message_id)
JOIN event e ON e.account_id = k.account_id AND e.message_id = k.message_id
"""
_KNOWN_ROWS = """
SELECT c.* FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::bigint[]) AS k (account_id, phone)) k
JOIN consent c ON c.account_id = k.account_id AND c.phone = k.phone
"""
_WRITE = """
WITH new_entry AS (
    INSERT INTO event (
        account_id, version, phone, program_id, action, match_kind, keyword, language, source, actor, body,
        message_id, fingerprint, status_before, status_after, superseded, written_at, recorded_at
    )
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::smallint[], $6::smallint[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[], $14::smallint[], $15::smallint[],
        $16::boolean[], $17::timestamptz[], $18::timestamptz[]
    )
), new_row AS (
    INSERT INTO consent (
        account_id, phone, program_id, status, version, occurred_at, changed_at, effective_at, source, keyword,
        message_id
    )
    SELECT * FROM unnest(
        $19::text[], $20::bigint[], $21::text[], $22::smallint[], $23::bigint[], $24::timestamptz[],
        $25::timestamptz[], $26::timestamptz[], $27::text[], $28::text[], $29::text[]
    )
    ON CONFLICT (account_id, phone, program_id) DO UPDATE SET
        status = excluded.status, version = excluded.version, occurred_at = excluded.occurred_at,
        changed_at = excluded.changed_at, effective_at = excluded.effective_at, source = excluded.source,
        keyword = excluded.keyword, message_id = excluded.message_id
)
UPDATE account a SET version = k.version, clock = k.clock
FROM unnest($30::text[], $31::bigint[], $32::timestamptz[]) AS k (account_id, version, clock)
WHERE a.account_id = k.account_id
"""
_CONSENT_COLUMNS = 11

Driver = Callable[[], AbstractAsyncContextManager[Any]]
_Waiting = tuple[NewEvent, "asyncio.Future[Recorded]"]


@dataclass(slots=True)
class _Group:
    """The state that a group of events is decided on, and what they leave behind."""

    versions: dict[str, int] = field(default_factory=dict)
    clocks: dict[str, int] = field(default_factory=dict)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    rows: dict[tuple[str, int], dict[str, Consent]] = field(default_factory=dict)
    new_entries: list[Entry] = field(default_factory=list)
    new_rows: dict[tuple[str, int, str], Consent] = field(default_factory=dict)
    repeats: set[int] = field(default_factory=set)

    def take(self, index: int, event: NewEvent) -> StoplineError | None:
        """Decide one event on the state that those before it left."""
        entry = self.entries.get((event.account, event.message_id))
        if entry is not None:
            self.repeats.add(index)
            return None if entry.fingerprint == event.fingerprint() else MessageIdReusedError()
        if event.reading.action is Action.NONE:
            return None
        rows = self.rows.setdefault((event.account, event.phone), {})
        version = self.versions[event.account] + 1
        entry, row = decide(rows.get(event.program), event, version, self.clocks[event.account])
        self.versions[event.account] = version
        self.entries[event.account, event.message_id] = entry
        self.new_entries.append(entry)
        if row is not None:
            rows[event.program] = self.new_rows[event.account, event.phone, event.program] = row
        return None

    def answer(self, index: int, event: NewEvent) -> Recorded:
        """What became of an event, once the whole group is decided: rows as they stand after all of it."""
        entry = self.entries.get((event.account, event.message_id))
        rows = self.rows.get((event.account, event.phone), {})
        level = entry.program if entry else event.program
        consent = rows.get(level) or no_consent(event.account, event.phone, level)
        version = self.versions[event.account]
        return Recorded(entry, index in self.repeats, consent, version, tuple(rows.values()))


class GroupCommit:
    """Records events in groups, each group in one durable transaction."""

    def __init__(self, driver: Driver, timeout_s: float) -> None:
        self._driver = driver
        self._timeout_s = timeout_s
        self._waiting: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    async def record(self, event: NewEvent) -> Recorded:
        """See `ConsentStore.record`."""
        if self._closed:
            raise StoreUnavailableError("the consent store is closing; try another server")
        future: asyncio.Future[Recorded] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="group-commit")
        try:
            # Behind a group that hangs, a caller waits no longer than for one of its own.
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError:
            raise StoreUnavailableError("the consent store did not answer in time; try again") from None

    async def close(self) -> None:
        """Finish what waits, take nothing more."""
        self._closed = True
        if self._flusher is not None:
            await self._flusher

    async def _flush(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                # Those whose callers were told that it failed are not begun.
                if group := [waiting for waiting in group if not waiting[1].done()]:
                    await self._commit(group)
        finally:
            self._flusher = None

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        """Commit a group and answer its callers. Raises nothing: every caller gets an answer or an error."""
        events = [event for event, _ in group]
        try:
            answers = await self._transact(events)
        except StoreUnavailableError as error:
            # Each caller gets an error of its own: a shared one would gather the tracebacks of all.
            answers = [StoreUnavailableError(error.message) for _ in group]
        except Exception as error:  # noqa: BLE001  # a statement that fails for one event must not fail the others
            if len(group) > 1:
                for waiting in group:
                    await self._commit([waiting])
                return
            answers = [error]
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():  # its caller left
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _transact(self, events: Sequence[NewEvent]) -> list[Recorded | Exception]:
        accounts = sorted({event.account for event in events})
        async with self._driver() as driver:
            answers = await self._attempt(driver, accounts, events)
            if answers is None:
                # An account's first event. Its row is made in a statement of its own: a transaction that holds one
                # account's lock must not wait for another's row to be made, or two could wait for each other.
                await driver.execute(_NEW_ACCOUNTS, accounts)
                answers = await self._attempt(driver, accounts, events)
        if answers is None:
            raise StoreUnavailableError("an account's row was taken away while it was written to; try again")
        return answers

    async def _attempt(
        self, driver: Any, accounts: Sequence[str], events: Sequence[NewEvent]
    ) -> list[Recorded | Exception] | None:
        async with driver.transaction():
            locked = await driver.fetch(_LOCK, accounts)
            if len(locked) < len(accounts):
                return None
            group = await _read_group(driver, events)
            for account, version, clock in locked:
                group.versions[account], group.clocks[account] = version, clock
            answers = _decide_all(group, events)
            if group.new_entries:
                await driver.execute(_WRITE, *_columns(group))
        return answers


async def answer_ordinary(driver: Any, event: NewEvent) -> Recorded:
    """The answer to an event that leaves nothing: no lock, no transaction, only the check for a reused message id."""
    # The version first: the rows are then at least as new as it says.
    version = await driver.fetchval("SELECT version FROM account WHERE account_id = $1", event.account) or 0
    group = await _read_group(driver, [event])
    group.versions[event.account] = version
    (answer,) = _decide_all(group, [event])
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _read_group(driver: Any, events: Sequence[NewEvent]) -> _Group:
    accounts = [event.account for event in events]
    entries = await driver.fetch(_KNOWN_ENTRIES, accounts, [event.message_id for event in events])
    rows = await driver.fetch(_KNOWN_ROWS, accounts, [event.phone for event in events])
    group = _Group()
    for entry in map(entry_of, entries):
        group.entries[entry.account, entry.message_id] = entry
    for row in map(consent_of, rows):
        group.rows.setdefault((row.account, row.phone), {})[row.program] = row
    return group


def _decide_all(group: _Group, events: Sequence[NewEvent]) -> list[Recorded | Exception]:
    # All first: an answer tells how the rows stand after the whole group.
    errors = [group.take(index, event) for index, event in enumerate(events)]
    return [errors[index] or group.answer(index, event) for index, event in enumerate(events)]


def _columns(group: _Group) -> list[Sequence[object]]:
    entries = list(zip(*map(entry_columns, group.new_entries), strict=True))
    rows = list(zip(*map(consent_columns, group.new_rows.values()), strict=True)) or [()] * _CONSENT_COLUMNS
    accounts = list({entry.account: None for entry in group.new_entries})
    versions = [group.versions[account] for account in accounts]
    return [*entries, *rows, accounts, versions, [group.clocks[account] for account in accounts]]
