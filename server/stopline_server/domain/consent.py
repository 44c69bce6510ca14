"""The rules of consent: which event counts, and what it leaves behind.

Pure: no clock, no I/O. Times are microseconds since 1970 (UTC) as `int`; phones are the digits of E.164 as `int`.
Every store applies events through `decide`, so that a rule has one place.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from stopline_server.domain.keywords import Action, Reading

WHOLE_ACCOUNT = ""
"""The program that stands for the account as a whole."""


class Status(enum.IntEnum):
    """The state of a phone at one level. The numbers are those of `ConsentStatus` in the API, and are stored."""

    NONE = 1
    OPTED_IN = 2
    OPTED_OUT = 3


_STATUS_OF = {Action.OPT_OUT: Status.OPTED_OUT, Action.OPT_IN: Status.OPTED_IN}


class Standing(NamedTuple):
    """What a check needs of a consent row, and what the cache holds of it."""

    status: Status
    version: int
    occurred_at: int
    """When the person wrote the event that the status rests on: the latest one that counted."""


@dataclass(frozen=True, slots=True)
class Consent:
    """The state of one phone at one level of one account: a row of `consent`."""

    account: str
    phone: int
    program: str
    status: Status
    occurred_at: int
    """When the person wrote the latest event that counted. Decides which of two events wins."""
    version: int
    """The account's version at that event."""
    changed_at: int
    """When the person wrote the event that last changed the status."""
    effective_at: int
    """When that change was recorded: from then on every check answers by it."""
    source: str
    keyword: str
    message_id: str

    @property
    def standing(self) -> Standing:
        """The part of the row that checks and caches need."""
        return Standing(self.status, self.version, self.occurred_at)


def no_consent(account: str, phone: int, program: str) -> Consent:
    """The state of a phone of which nothing is recorded at this level."""
    return Consent(account, phone, program, Status.NONE, 0, 0, 0, 0, "", "", "")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One thing that happened, before it is recorded."""

    account: str
    phone: int
    program: str
    """The level that it speaks of; `WHOLE_ACCOUNT` for the account."""
    message_id: str
    """Unique in the account: the same id again is the same event again."""
    written_at: int | None
    """When the person wrote; None means now."""
    body: str
    reading: Reading
    source: str = "inbound"
    actor: str = ""

    @property
    def status(self) -> Status | None:
        """The status that it asks for; None where it asks for none (help, review, an ordinary text)."""
        return _STATUS_OF.get(self.reading.action)

    def fingerprint(self) -> bytes:
        """16 bytes that tell a repeated delivery from a message id used twice.

        Covers sender and body only: gateways stamp a second delivery anew, and the level is ours to choose.
        """
        head = f"{self.source}\x1f{self.phone}\x1f".encode()
        # "surrogatepass": a digest must exist for whatever a caller managed to send.
        return hashlib.blake2b(head + self.body.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as recorded: a row of `event`, an entry of the timeline and of the change feed."""

    account: str
    version: int
    phone: int
    program: str
    reading: Reading
    source: str
    actor: str
    body: str
    message_id: str
    fingerprint: bytes
    status_before: Status
    status_after: Status
    superseded: bool
    """It came too late to count: the state rests on something written after it, or at the same time and stronger."""
    written_at: int
    recorded_at: int

    @property
    def changed(self) -> bool:
        """Whether the event changed the status."""
        return self.status_before is not self.status_after


def decide(row: Consent | None, event: NewEvent, version: int, now: int) -> tuple[Entry, Consent | None]:
    """What an event does to the row of its level.

    The state follows the time at which the person wrote, not arrival. On equal times the opt-out wins: in doubt nobody
    is texted. A time in the future counts as now, so that a wrong clock cannot outlive every later STOP.

    Args:
        row: The consent row of the event's account, phone and program, or None where there is none.
        event: What happened.
        version: The account's version that the event gets.
        now: The store's clock, read under the account's lock. Never before the `now` of the account's events so far, on
            whatever machine those were recorded.

    Returns:
        The entry to record, and the new row if the event counted, else None: the row stays as it is.
    """
    written_at = now if event.written_at is None else min(event.written_at, now)
    before = row.status if row else Status.NONE
    status = event.status
    after, new_row, superseded = before, None, False
    if status is not None:
        if row is None or _wins(status, written_at, row):
            after, new_row = status, _row_after(row, event, status, version, written_at, now)
        else:
            superseded = (written_at, status) != (row.occurred_at, row.status)
    entry = Entry(
        account=event.account,
        version=version,
        phone=event.phone,
        program=event.program,
        reading=event.reading,
        source=event.source,
        actor=event.actor,
        body=event.body,
        message_id=event.message_id,
        fingerprint=event.fingerprint(),
        status_before=before,
        status_after=after,
        superseded=superseded,
        written_at=written_at,
        recorded_at=now,
    )
    return entry, new_row


def _wins(status: Status, written_at: int, row: Consent) -> bool:
    if written_at != row.occurred_at:
        return written_at > row.occurred_at
    return status is Status.OPTED_OUT and row.status is not Status.OPTED_OUT


def _row_after(
    row: Consent | None, event: NewEvent, status: Status, version: int, written_at: int, now: int
) -> Consent:
    if row is not None and row.status is status:
        # A repeated STOP moves the time that later events are compared with (a START written between the two must
        # not win), but the block took effect with the first one, and that one stays the proof.
        return Consent(
            row.account, row.phone, row.program, status, written_at, version,
            row.changed_at, row.effective_at, row.source, row.keyword, row.message_id,
        )  # fmt: skip
    return Consent(
        event.account, event.phone, event.program, status, written_at, version,
        written_at, now, event.source, event.reading.keyword, event.message_id,
    )  # fmt: skip
