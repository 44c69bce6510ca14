"""The tables, as SQLAlchemy Core knows them. Made and changed by the migrations only; a test holds the two together.

Phones are the digits of E.164 as bigint (15 digits fit, and a list of bigint costs half of one of text).
Ids are compared by their bytes (collation C): callers' ids have no language.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata = MetaData()


def _id(name: str) -> Column[str]:
    return Column(name, Text(collation="C"), nullable=False)


def _time(name: str, **options: object) -> Column[int]:
    # The driver reads and writes microseconds since 2000 as int: see `store/postgres.py`.
    return Column(name, TIMESTAMP(timezone=True), nullable=False, **options)  # type: ignore[arg-type]  # passed on


account = Table(
    "account",
    metadata,
    _id("account_id"),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    # The latest "now" that an event of the account was recorded at.
    _time("clock", server_default=text("now()")),
    _time("created_at", server_default=text("now()")),
    PrimaryKeyConstraint("account_id", name="account_pkey"),
    comment="One row a tenant. Its lock is taken first by every write, so version order is commit order.",
)

consent = Table(
    "consent",
    metadata,
    _id("account_id"),
    Column("phone", BigInteger, nullable=False),
    _id("program_id"),
    Column("status", SmallInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    _time("occurred_at"),
    _time("changed_at"),
    _time("effective_at"),
    Column("source", Text, nullable=False),
    Column("keyword", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    PrimaryKeyConstraint("account_id", "phone", "program_id", name="consent_pkey"),
    CheckConstraint("status IN (2, 3)", name="consent_status_check"),
    comment="The state: one row a phone and level that has one. Never deleted by an opt-in.",
)

event = Table(
    "event",
    metadata,
    _id("account_id"),
    Column("version", BigInteger, nullable=False),
    Column("phone", BigInteger, nullable=False),
    _id("program_id"),
    Column("action", SmallInteger, nullable=False),
    Column("match_kind", SmallInteger, nullable=False),
    Column("keyword", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("body", Text, nullable=False),
    _id("message_id"),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status_before", SmallInteger, nullable=False),
    Column("status_after", SmallInteger, nullable=False),
    Column("superseded", Boolean, nullable=False),
    _time("written_at"),
    _time("recorded_at"),
    PrimaryKeyConstraint("account_id", "version", name="event_pkey"),
    UniqueConstraint("account_id", "message_id", name="event_message_key"),
    Index("event_timeline_idx", "account_id", "phone", text("version DESC")),
    comment="What happened, append-only: the timeline and the change feed in one.",
)

cache_node = Table(
    "cache_node",
    metadata,
    Column("only_row", Boolean, nullable=False, server_default=text("true")),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("only_row", name="cache_node_pkey"),
    CheckConstraint("only_row", name="cache_node_only_row_check"),
    comment="Which Redis is the cache now: one row, whose seq is part of every key's name.",
)

fence_seq = Sequence("cache_fence_seq", metadata=metadata)

cache_fence = Table(
    "cache_fence",
    metadata,
    _id("account_id"),
    Column("fence_seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", name="cache_fence_pkey"),
    comment="Accounts whose copy in the cache must not be trusted. A fence_seq is never used twice.",
)
