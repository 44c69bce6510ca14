"""The one protocol of every store, and of every layer that wraps a store.

`postgres` and `memory` are stores; `cache` wraps one of them and is one itself. Whatever the layer, these hold:

* What `record` has answered, every later `look_up` on any process takes into account.
* Doubt is `StoreUnavailableError`, never an answer.
* Phones are `int` digits of E.164, times are microseconds since 1970 (UTC), the program "" is the account as a whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stopline_server.domain.consent import Consent, Entry, NewEvent, Standing


class Levels(NamedTuple):
    """What is recorded of a phone at the two levels that decide about a text."""

    account: Standing | None
    program: Standing | None


@dataclass(frozen=True, slots=True)
class LookUp:
    """The answer to a look-up of any number of phones."""

    version: int
    """The account's version that the answer takes into account, at least; 0 for an account never written."""
    found: Mapping[int, Levels]
    """The phones that have a consent row at either level. A phone that is absent has none recorded."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an event."""

    entry: Entry | None
    """The event as recorded, now or, for a duplicate, the first time. None for an event that leaves no entry."""
    duplicate: bool
    consent: Consent
    """The consent at the event's level as it now stands."""
    version: int
    """The account's version as it now stands."""
    rows: Sequence[Consent]
    """Every consent row of the phone as it now stands, whatever became of the event: what a cache has to know."""


class ConsentStore(Protocol):
    """Records events and answers for phones."""

    async def record(self, event: NewEvent) -> Recorded:
        """Record an event, once.

        An event whose action is NONE changes and leaves nothing; it is answered, and checked for a reused message id.

        Raises:
            MessageIdReusedError: The message id is known with another sender or body. Nothing was changed.
            StoreUnavailableError: Unknown whether it is recorded. A repeat with the same message id is harmless.
        """
        ...

    async def look_up(self, account: str, phones: Sequence[int], program: str) -> LookUp:
        """What is recorded of these phones, for the account and (unless "") the program.

        Raises:
            StoreUnavailableError: The store cannot be sure.
        """
        ...

    async def get_consent(self, account: str, phone: int, program: str) -> tuple[Consent, int]:
        """The consent of a phone at one level, and the account's version that it was read at."""
        ...

    async def list_timeline(self, account: str, phone: int, *, before: int | None, limit: int) -> list[Entry]:
        """The events of a phone, newest first, at most `limit`, with versions below `before` unless that is None."""
        ...

    async def ping(self) -> None:
        """Return if the truth can be read now.

        Raises:
            StoreUnavailableError: It cannot.
        """
        ...

    async def close(self) -> None:
        """Give back all connections. Calls in progress fail with StoreUnavailableError."""
        ...


class NodeView(NamedTuple):
    """What the truth says of the cache, read in one statement."""

    seq: int
    """Which node is the cache, as a number that grows with each change of node. Part of every key's name."""
    fences: Mapping[str, int]
    """The accounts whose copy must not be trusted, each with its fence's number."""


class AccountRow(NamedTuple):
    """One consent row as a fill reads it."""

    phone: int
    program: str
    standing: Standing


class CacheableStore(ConsentStore, Protocol):
    """A store that keeps the truth, and with it what caches of it must agree on (see docs/consistency.md)."""

    async def node_view(self) -> NodeView:
        """The cache's node and all fences, as one consistent reading."""
        ...

    async def raise_fence(self, account: str) -> None:
        """Tell every process not to trust the account's copy. Durable when it returns."""
        ...

    async def drop_fence(self, account: str, fence_seq: int) -> None:
        """Take a fence back, if it still is the one with that number."""
        ...

    def snapshot(self, account: str) -> AsyncIterator[int | list[AccountRow]]:
        """The account's version, then all its consent rows in pieces, as of one moment after the call."""
        ...
