"""Accounts, consent, events, and what caches agree on."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = (
    # Every write updates its account's row: room on the page keeps those updates off the index (HOT).
    """
    CREATE TABLE account (
        account_id text COLLATE "C" NOT NULL,
        version    bigint NOT NULL DEFAULT 0,
        clock      timestamptz NOT NULL DEFAULT now(),
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT account_pkey PRIMARY KEY (account_id)
    ) WITH (fillfactor = 50)
    """,
    # Phone before program: a check reads both levels of a phone from one place.
    """
    CREATE TABLE consent (
        account_id   text COLLATE "C" NOT NULL,
        phone        bigint NOT NULL,
        program_id   text COLLATE "C" NOT NULL,
        status       smallint NOT NULL,
        version      bigint NOT NULL,
        occurred_at  timestamptz NOT NULL,
        changed_at   timestamptz NOT NULL,
        effective_at timestamptz NOT NULL,
        source       text NOT NULL,
        keyword      text NOT NULL,
        message_id   text NOT NULL,
        CONSTRAINT consent_pkey PRIMARY KEY (account_id, phone, program_id),
        CONSTRAINT consent_status_check CHECK (status IN (2, 3))
    ) WITH (fillfactor = 90)
    """,
    # No foreign keys: rows are written under their account's lock by one statement that also updates it.
    """
    CREATE TABLE event (
        account_id    text COLLATE "C" NOT NULL,
        version       bigint NOT NULL,
        phone         bigint NOT NULL,
        program_id    text COLLATE "C" NOT NULL,
        action        smallint NOT NULL,
        match_kind    smallint NOT NULL,
        keyword       text NOT NULL,
        language      text NOT NULL,
        source        text NOT NULL,
        actor         text NOT NULL,
        body          text NOT NULL,
        message_id    text COLLATE "C" NOT NULL,
        fingerprint   bytea NOT NULL,
        status_before smallint NOT NULL,
        status_after  smallint NOT NULL,
        superseded    boolean NOT NULL,
        written_at    timestamptz NOT NULL,
        recorded_at   timestamptz NOT NULL,
        CONSTRAINT event_pkey PRIMARY KEY (account_id, version),
        CONSTRAINT event_message_key UNIQUE (account_id, message_id)
    )
    """,
    "CREATE INDEX event_timeline_idx ON event (account_id, phone, version DESC)",
    """
    CREATE TABLE cache_node (
        only_row boolean NOT NULL DEFAULT true,
        seq      bigint NOT NULL,
        CONSTRAINT cache_node_pkey PRIMARY KEY (only_row),
        CONSTRAINT cache_node_only_row_check CHECK (only_row)
    )
    """,
    "INSERT INTO cache_node (seq) VALUES (1)",
    "CREATE SEQUENCE cache_fence_seq",
    """
    CREATE TABLE cache_fence (
        account_id text COLLATE "C" NOT NULL,
        fence_seq  bigint NOT NULL,
        CONSTRAINT cache_fence_pkey PRIMARY KEY (account_id)
    )
    """,
    "COMMENT ON TABLE account IS 'One row a tenant. Its lock is taken first by every write, so version order is "
    "commit order.'",
    "COMMENT ON TABLE consent IS 'The state: one row a phone and level that has one. Never deleted by an opt-in.'",
    "COMMENT ON TABLE event IS 'What happened, append-only: the timeline and the change feed in one.'",
    "COMMENT ON TABLE cache_node IS 'Which Redis is the cache now: one row, whose seq is part of every key''s name.'",
    "COMMENT ON TABLE cache_fence IS 'Accounts whose copy in the cache must not be trusted. A fence_seq is never used "
    "twice.'",
)


def upgrade() -> None:
    """Make the first schema."""
    for statement in _STATEMENTS:
        op.execute(statement)
