"""The schema's history, and the ways to bring a database to its end.

A migration is written so that the version of the server before it and the one after it both run on its result:
add first, move data, drop one release later.
"""

from __future__ import annotations

import asyncio
import enum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from stopline_server.errors import SchemaError
from stopline_server.store.engine import sqlalchemy_url

# Any constant of our own: two servers that start on one database meet on it.
_ADVISORY_LOCK = 0x53544F50_4C494E45


class SchemaState(enum.Enum):
    """How a database's schema relates to this server."""

    EMPTY = "empty"
    OLD = "old"
    CURRENT = "current"
    NEW = "new"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def head() -> str:
    """The revision that this server is made for."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def state_of(revision: str | None) -> SchemaState:
    """How a database at this revision relates to this server. None is a database without any."""
    if revision is None:
        return SchemaState.EMPTY
    known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]
    if revision == known[0]:
        return SchemaState.CURRENT
    return SchemaState.OLD if revision in known else SchemaState.NEW


def require_current(revision: str | None) -> None:
    """Return if this server can serve on a database at this revision.

    Raises:
        SchemaError: It cannot; the message says which command helps.
    """
    state = state_of(revision)
    if state is SchemaState.CURRENT:
        return
    if state is SchemaState.NEW:
        raise SchemaError(
            f"the database's schema is newer than this server (revision {revision}, this server knows {head()}): "
            "start the newer server, or restore a backup from before its `stopline migrate`"
        )
    found = "no schema" if state is SchemaState.EMPTY else f"schema revision {revision}"
    raise SchemaError(f"the database has {found}, this server needs {head()}: run `stopline migrate`")


async def read_revision(database_url: str) -> str | None:
    """The revision of a database's schema, or None where it has none."""
    engine = create_async_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def upgrade_async(database_url: str) -> str:
    """Bring a database to this server's schema, and return its revision. Harmless on one that is there already.

    Runs in one transaction under an advisory lock: of several servers started at once one does the work, the others
    wait and find it done; a failure leaves the database as it was.

    Raises:
        SchemaError: The database's schema is newer than this server.
    """
    engine = create_async_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            revision = await connection.run_sync(_revision)
            if state_of(revision) is SchemaState.NEW:
                require_current(revision)
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
    return head()


def upgrade(database_url: str) -> str:
    """`upgrade_async` for a caller without an event loop."""
    return asyncio.run(upgrade_async(database_url))


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
