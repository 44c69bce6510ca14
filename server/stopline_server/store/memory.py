"""The store without a server: for tests, for trying things out, and as the model that the others are compared with.

It speaks the whole protocol, fences included, in one process. Nothing survives it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence

from stopline_server.domain.consent import WHOLE_ACCOUNT, Consent, Entry, NewEvent, decide, no_consent
from stopline_server.domain.keywords import Action
from stopline_server.errors import MessageIdReusedError
from stopline_server.store.protocol import AccountRow, Levels, LookUp, NodeView, Recorded

PIECE_ROWS = 5_000


def wall_clock() -> int:
    """Now, in microseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000


class _Account:
    """All that is known of one account."""

    def __init__(self) -> None:
        self.version = 0
        self.clock = 0
        self.rows: dict[int, dict[str, Consent]] = defaultdict(dict)
        self.entries: list[Entry] = []
        self.by_message: dict[str, Entry] = {}


class MemoryStore:
    """A `CacheableStore` in dictionaries."""

    def __init__(self, now: Callable[[], int] = wall_clock) -> None:
        self._now = now
        self._accounts: dict[str, _Account] = defaultdict(_Account)
        self._fences: dict[str, int] = {}
        self._last_fence = 0

    def _known(self, account: str) -> _Account:
        # Asking after an account must not make one.
        return self._accounts.get(account) or _Account()

    async def record(self, event: NewEvent) -> Recorded:
        """See `ConsentStore.record`."""
        account = self._accounts[event.account]
        rows = account.rows[event.phone]
        entry = account.by_message.get(event.message_id)
        if entry is not None and entry.fingerprint != event.fingerprint():
            raise MessageIdReusedError
        duplicate = entry is not None
        if entry is None and event.reading.action is not Action.NONE:
            account.clock = max(account.clock, self._now())
            entry, row = decide(rows.get(event.program), event, account.version + 1, account.clock)
            account.version = entry.version
            account.entries.append(entry)
            account.by_message[event.message_id] = entry
            if row is not None:
                rows[event.program] = row
        level = entry.program if entry else event.program
        consent = rows.get(level) or no_consent(event.account, event.phone, level)
        return Recorded(entry, duplicate, consent, account.version, tuple(rows.values()))

    async def look_up(self, account: str, phones: Sequence[int], program: str) -> LookUp:
        """See `ConsentStore.look_up`."""
        known = self._known(account)
        found = {}
        for phone in phones:
            rows = known.rows.get(phone)
            if not rows:
                continue
            whole, own = rows.get(WHOLE_ACCOUNT), rows.get(program) if program else None
            if whole or own:
                found[phone] = Levels(whole.standing if whole else None, own.standing if own else None)
        return LookUp(known.version, found)

    async def get_consent(self, account: str, phone: int, program: str) -> tuple[Consent, int]:
        """See `ConsentStore.get_consent`."""
        known = self._known(account)
        row = known.rows[phone].get(program) if phone in known.rows else None
        return row or no_consent(account, phone, program), known.version

    async def list_timeline(self, account: str, phone: int, *, before: int | None, limit: int) -> list[Entry]:
        """See `ConsentStore.list_timeline`."""
        entries = (
            entry
            for entry in reversed(self._known(account).entries)
            if entry.phone == phone and (before is None or entry.version < before)
        )
        return [entry for entry, _ in zip(entries, range(limit), strict=False)]

    async def ping(self) -> None:
        """See `ConsentStore.ping`."""

    async def close(self) -> None:
        """See `ConsentStore.close`."""

    async def node_view(self) -> NodeView:
        """See `CacheableStore.node_view`."""
        return NodeView(seq=1, fences=dict(self._fences))

    async def raise_fence(self, account: str) -> None:
        """See `CacheableStore.raise_fence`."""
        self._last_fence += 1
        self._fences[account] = self._last_fence

    async def drop_fence(self, account: str, fence_seq: int) -> None:
        """See `CacheableStore.drop_fence`."""
        if self._fences.get(account) == fence_seq:
            del self._fences[account]

    async def snapshot(self, account: str) -> AsyncIterator[int | list[AccountRow]]:
        """See `CacheableStore.snapshot`."""
        known = self._known(account)
        rows = [
            AccountRow(phone, program, row.standing)
            for phone, levels in known.rows.items()
            for program, row in levels.items()
        ]
        yield known.version
        for start in range(0, len(rows), PIECE_ROWS):
            yield rows[start : start + PIECE_ROWS]
