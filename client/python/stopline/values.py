"""What the clients take and give: plain values, without gRPC or protobuf in them.

The protos are the manual: the comments there say what each field means. All times are aware, in UTC.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Verdict(enum.IntEnum):
    """The answer to "may I text this number?". Trouble is never a verdict: it is raised."""

    SENDABLE = 1
    OPTED_OUT = 2
    NOT_OPTED_IN = 3
    INVALID_NUMBER = 4
    DUPLICATE = 5


class SendContext(enum.IntEnum):
    """Where a text is sent from. `OPT_OUT_CONFIRMATION` is for `is_sendable` alone."""

    DIRECT = 1
    BULK = 2
    SEQUENCE = 3
    AUTOMATION = 4
    OPT_OUT_CONFIRMATION = 5


class SendOutcome(enum.IntEnum):
    """What the sender does with a verdict."""

    SEND = 1
    SKIPPED = 2
    UNSUCCESSFUL = 3


class InboundAction(enum.IntEnum):
    """What an inbound text asked for. `UNSPECIFIED`: something that this version of the client does not know."""

    UNSPECIFIED = 0
    NONE = 1
    OPTED_OUT = 2
    OPTED_IN = 3
    HELP = 4
    REVIEW = 5


class MatchKind(enum.IntEnum):
    """How a text was understood. `UNSPECIFIED`: in a way that this version of the client does not know."""

    UNSPECIFIED = 0
    KEYWORD = 1
    PHRASE = 2
    REVIEW = 3


class ConsentStatus(enum.IntEnum):
    """What is recorded at one level. `UNSPECIFIED`: something that this version of the client does not know."""

    UNSPECIFIED = 0
    NONE = 1
    OPTED_IN = 2
    OPTED_OUT = 3


@dataclass(frozen=True, slots=True)
class Check:
    """The answer for one number. It is true where the text may go out, so `if check:` is the question itself."""

    sendable: bool
    verdict: Verdict
    outcome: SendOutcome
    label: str
    """What to show, word for word; empty with SENDABLE."""
    phone: str
    """The number as the server read it, E.164; empty with INVALID_NUMBER."""
    opted_out_at: datetime | None
    """When the person wrote the opt-out in force; None with any other verdict than OPTED_OUT."""
    as_of: str

    def __bool__(self) -> bool:
        return self.sendable


@dataclass(frozen=True, slots=True)
class Consent:
    """The state of one phone at one level. It is a record, not permission to send: ask `is_sendable` for that."""

    account_id: str
    phone: str
    program_id: str
    status: ConsentStatus
    changed_at: datetime | None
    effective_at: datetime | None
    source: str
    keyword: str
    message_id: str
    version: int


@dataclass(frozen=True, slots=True)
class KeywordMatch:
    """What was matched in a text, and how."""

    kind: MatchKind
    keyword: str
    language: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The text to send back, and by when, or not at all."""

    text: str
    send_by: datetime | None


@dataclass(frozen=True, slots=True)
class Inbound:
    """What an inbound text asked for, and what became of it."""

    action: InboundAction
    consent_changed: bool
    duplicate: bool
    consent: Consent
    match: KeywordMatch | None
    reply: Reply | None
    as_of: str


@dataclass(frozen=True, slots=True)
class Label:
    """What the sender does and shows with one verdict of a list, and how many numbers have it."""

    outcome: SendOutcome
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The answer for a list: `verdicts[i]` is that of `phones[i]`."""

    phones: tuple[str, ...]
    """The numbers as given."""
    verdicts: tuple[Verdict, ...]
    labels: Mapping[Verdict, Label]
    """One for each verdict that occurs."""
    sendable_count: int
    skipped_count: int
    as_of: str

    @property
    def sendable(self) -> list[str]:
        """The numbers, as given, that may be texted."""
        return [phone for phone, verdict in zip(self.phones, self.verdicts, strict=True) if verdict is Verdict.SENDABLE]

    def __bool__(self) -> bool:
        # Without this every answer would be true, and `if client.batch_filter(...)` a permission for all of them.
        raise TypeError("a BatchResult is neither true nor false; look at its verdicts, or at `sendable`")


class Filtered(NamedTuple):
    """One number of a streamed list with its verdict. It is true where the text may go out.

    A tuple, because a list has millions of them, and a dataclass takes three times as long to make.
    """

    phone: str
    """The number as given."""
    verdict: Verdict
    label: str
    outcome: SendOutcome
    as_of: str
    """The state that the number's chunk was computed on."""

    @property
    def sendable(self) -> bool:
        """Whether the text may go out."""
        return self.verdict is Verdict.SENDABLE

    def __bool__(self) -> bool:
        # A tuple with anything in it is true; this one must not be permission to send.
        return self.verdict is Verdict.SENDABLE


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a sender did with a verdict. None for a value that this version of the client does not know."""

    attempt_id: str
    phone: str
    context: SendContext | None
    verdict: Verdict | None
    reference: str
    attempted_at: datetime | None
    outcome: SendOutcome | None
    label: str


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened."""

    version: int
    account_id: str
    phone: str
    program_id: str
    action: InboundAction
    source: str
    actor: str
    body: str
    match: KeywordMatch | None
    message_id: str
    status_before: ConsentStatus
    status_after: ConsentStatus
    superseded: bool
    written_at: datetime | None
    recorded_at: datetime | None
    evidence: str
    reason: str
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server. 0: it does not tell."""

    batch_phones: int
    chunk_phones: int
    body_bytes: int
    id_bytes: int
    phone_chars: int
    page_size: int
    message_bytes: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is."""

    version: str
    schema_revision: str
    limits: Limits
