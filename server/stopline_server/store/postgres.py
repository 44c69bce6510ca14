"""The truth: consent in Postgres.

Hot statements go through the driver (asyncpg) of a pooled SQLAlchemy connection, with a list for a list: one statement
whatever the number of phones. The rest is SQLAlchemy Core. Rules are not here: `domain.consent.decide` has them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stopline_server.domain.consent import WHOLE_ACCOUNT, Consent, Entry, NewEvent, Standing, Status, no_consent
from stopline_server.domain.keywords import Action
from stopline_server.errors import StoreUnavailableError
from stopline_server.store import schema
from stopline_server.store.commit import GroupCommit, answer_ordinary
from stopline_server.store.engine import make_engine
from stopline_server.store.protocol import AccountRow, Levels, LookUp, NodeView, Recorded
from stopline_server.store.rows import consent_of, entry_of

_LOOK_UP = """
SELECT a.version AS account_version, c.phone, c.program_id, c.status, c.version, c.occurred_at
FROM (SELECT coalesce((SELECT version FROM account WHERE account_id = $1), 0) AS version) a
LEFT JOIN consent c ON c.account_id = $1 AND c.phone = ANY($2::bigint[]) AND c.program_id = ANY($3::text[])
"""
_NODE_VIEW = """
SELECT n.seq, f.account_id, f.fence_seq FROM cache_node n LEFT JOIN cache_fence f ON true
"""
_RAISE_FENCE = """
INSERT INTO cache_fence AS f (account_id, fence_seq) VALUES ($1, nextval('cache_fence_seq'))
ON CONFLICT (account_id) DO UPDATE SET fence_seq = excluded.fence_seq
"""
_DROP_FENCE = "DELETE FROM cache_fence WHERE account_id = $1 AND fence_seq = $2"
_SNAPSHOT = "SELECT phone, program_id, status, version, occurred_at FROM consent WHERE account_id = $1"
_PIECE_ROWS = 5_000
_FIRST_CONNECTIONS = 3

_STATUSES = {int(status): status for status in Status}

# What says "not now": the server, the network or the pool, never the statement. By type, never by text.
_TRANSIENT = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,  # a database that nobody has migrated yet
    asyncpg.InternalClientError,
)


def is_transient(error: BaseException) -> bool:
    """Whether a driver's error says that the store cannot be used now, rather than that a statement is wrong."""
    if isinstance(error, DBAPIError):
        # SQLAlchemy wraps twice: its own class around the dialect's, the driver's at the bottom.
        cause = error.orig.__cause__ if error.orig is not None else None
        return error.connection_invalidated or (cause is not None and is_transient(cause))
    return isinstance(error, _TRANSIENT)


class PostgresStore:
    """A `CacheableStore` over one Postgres primary."""

    def __init__(self, database_url: str, *, pool_size: int = 10, timeout_s: float = 3.0) -> None:
        """Make the store; it connects on first use.

        Args:
            database_url: `postgresql://…`, of the primary: a replica's answer may be older than an acknowledged write.
            pool_size: The most connections.
            timeout_s: The bound on each operation with all its statements, in seconds; a snapshot, which may rightly
                take longer, has it for each of its steps.
        """
        self._engine = make_engine(database_url, pool_size=pool_size, timeout_s=timeout_s)
        # Views, fences, commits and pings do not queue behind look-ups: where a view comes too late, every check goes
        # to Postgres, and the queue that made it late never ends.
        self._first = make_engine(database_url, pool_size=_FIRST_CONNECTIONS, timeout_s=timeout_s)
        self._timeout_s = timeout_s
        self._commits = GroupCommit(partial(self._driver, self._first), timeout_s)

    async def record(self, event: NewEvent) -> Recorded:
        """See `ConsentStore.record`."""
        if event.reading.action is Action.NONE:
            async with self._driver() as driver:
                return await answer_ordinary(driver, event)
        return await self._commits.record(event)

    async def look_up(self, account: str, phones: Sequence[int], program: str) -> LookUp:
        """See `ConsentStore.look_up`."""
        programs = [WHOLE_ACCOUNT, program] if program else [WHOLE_ACCOUNT]
        async with self._driver() as driver:
            rows = await driver.fetch(_LOOK_UP, account, phones, programs)
        levels: dict[int, list[Standing | None]] = defaultdict(lambda: [None, None])
        for _, phone, level, status, version, occurred_at in rows:
            if phone is not None:  # the left join's one empty row
                levels[phone][level != WHOLE_ACCOUNT] = Standing(_STATUSES[status], version, occurred_at)
        return LookUp(rows[0][0], {phone: Levels(whole, own) for phone, (whole, own) in levels.items()})

    async def get_consent(self, account: str, phone: int, program: str) -> tuple[Consent, int]:
        """See `ConsentStore.get_consent`."""
        a, c = schema.account, schema.consent
        here = (c.c.account_id == account) & (c.c.phone == phone) & (c.c.program_id == program)
        version = select(a.c.version).where(a.c.account_id == account).scalar_subquery()
        # One statement, so that row and version are of one moment.
        one = select(version.label("account_version")).subquery()
        statement = select(one.c.account_version, c).select_from(one.outerjoin(c, here))
        async with self._connection() as connection:
            row = (await connection.execute(statement)).mappings().one()
        found = consent_of(row) if row["phone"] is not None else no_consent(account, phone, program)
        return found, row["account_version"] or 0

    async def list_timeline(self, account: str, phone: int, *, before: int | None, limit: int) -> list[Entry]:
        """See `ConsentStore.list_timeline`."""
        e = schema.event
        statement = select(e).where(e.c.account_id == account, e.c.phone == phone)
        if before is not None:
            statement = statement.where(e.c.version < before)
        statement = statement.order_by(e.c.version.desc()).limit(limit)
        async with self._connection() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return [entry_of(row) for row in rows]

    async def ping(self) -> None:
        """See `ConsentStore.ping`."""
        async with self._driver(self._first) as driver:
            await driver.execute("SELECT 1")

    async def close(self) -> None:
        """See `ConsentStore.close`."""
        await self._commits.close()
        for engine in (self._engine, self._first):
            await engine.dispose()

    async def node_view(self) -> NodeView:
        """See `CacheableStore.node_view`."""
        async with self._driver(self._first) as driver:
            rows = await driver.fetch(_NODE_VIEW)
        return NodeView(rows[0][0], {account: seq for _, account, seq in rows if account is not None})

    async def raise_fence(self, account: str) -> None:
        """See `CacheableStore.raise_fence`."""
        async with self._driver(self._first) as driver:
            await driver.execute(_RAISE_FENCE, account)

    async def drop_fence(self, account: str, fence_seq: int) -> None:
        """See `CacheableStore.drop_fence`."""
        async with self._driver(self._first) as driver:
            await driver.execute(_DROP_FENCE, account, fence_seq)

    async def snapshot(self, account: str) -> AsyncIterator[int | list[AccountRow]]:
        """See `CacheableStore.snapshot`."""
        steps = self._driver(bounded=False)
        async with steps as driver, driver.transaction(isolation="repeatable_read", readonly=True):
            # The snapshot is taken by this first statement, so both are of one moment.
            yield await driver.fetchval("SELECT version FROM account WHERE account_id = $1", account) or 0
            cursor = await driver.cursor(_SNAPSHOT, account)
            while rows := await cursor.fetch(_PIECE_ROWS):
                yield [
                    AccountRow(phone, program, Standing(_STATUSES[status], version, occurred_at))
                    for phone, program, status, version, occurred_at in rows
                ]

    @asynccontextmanager
    async def _connection(
        self, engine: AsyncEngine | None = None, *, bounded: bool = True
    ) -> AsyncIterator[AsyncConnection]:
        try:
            # Around everything: the wait for a connection, its probe, a connect in its place, and the statements.
            async with asyncio.timeout(self._timeout_s if bounded else None):
                async with (engine or self._engine).connect() as connection:
                    yield connection
        except (*_TRANSIENT, DBAPIError) as error:
            if is_transient(error):
                raise StoreUnavailableError("the consent store cannot be reached; do not send, try again") from error
            raise

    @asynccontextmanager
    async def _driver(self, engine: AsyncEngine | None = None, *, bounded: bool = True) -> AsyncIterator[Any]:
        """The asyncpg connection below a pooled one. Broken in use, it does not go back into the pool."""
        async with self._connection(engine, bounded=bounded) as connection:
            pooled = await connection.get_raw_connection()
            driver = pooled.driver_connection
            try:
                yield driver
            except (*_TRANSIENT, asyncio.CancelledError):
                # A statement may still be running, or a transaction be open: nobody else must get this connection.
                await connection.invalidate()
                raise
