"""`stopline migrate`: brings a database to this server's schema, or tells whether it is there."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError

from stopline_server.cli.failure import Exit, Failure
from stopline_server.cli.serve import host_of, settings_from
from stopline_server.embedded import EmbeddedError, EmbeddedServers
from stopline_server.errors import SchemaError
from stopline_server.settings import Settings
from stopline_server.store import migrations
from stopline_server.store.engine import sqlalchemy_url
from stopline_server.store.postgres import is_transient

_CONNECT_AT_LEAST_S = 5.0
"""A person waits longer than a call does, and a server that has just been started is slow to answer."""


def migrate(flags: dict[str, Any], config: Path | None, *, check: bool) -> None:
    """Bring the database to this server's schema and print its revision.

    Args:
        flags: Settings given on the command line; None where one was not.
        config: The settings file, if one was named.
        check: Change nothing, and fail unless the schema is this server's.

    Raises:
        Failure: The database cannot be reached or migrated, or `check` found another schema.
    """
    settings = settings_from(flags, config)
    if settings.database_url:
        _migrate_at(settings.database_url, settings, check=check)
        return
    if check and not (settings.data_dir / "postgres").exists():
        # Looking must not make a database where there is none.
        raise Failure(f"there is no database in {settings.data_dir} yet", Exit.FAILED)
    try:
        with EmbeddedServers(settings.data_dir, valkey=False) as servers:
            _migrate_at(servers.database_url, settings, check=check)
    except EmbeddedError as error:
        raise Failure(str(error), Exit.FAILED) from None


def _migrate_at(url: str, settings: Settings, *, check: bool) -> None:
    try:
        sqlalchemy_url(url)
    except ValueError as error:
        raise Failure(f"database_url (STOPLINE_DATABASE_URL): {error}", Exit.USAGE) from None
    timeout_s = max(settings.database_timeout_s, _CONNECT_AT_LEAST_S)
    try:
        revision = asyncio.run(_run(url, timeout_s, check=check))
    except SchemaError as error:
        raise Failure(str(error), Exit.FAILED) from None
    except (OSError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failure(f"{_place(url)}: {_why(error, timeout_s)}", Exit.FAILED) from None
    sys.stdout.write(f"{revision}\n")


async def _run(url: str, timeout_s: float, *, check: bool) -> str:
    # First a question with a bound of its own: the work itself may rightly take longer than a connect.
    async with asyncio.timeout(timeout_s):
        revision = await migrations.read_revision(url)
    if not check:
        return await migrations.upgrade_async(url)
    migrations.require_current(revision)
    return migrations.head()


def _place(url: str) -> str:
    host = host_of(url)
    return f"Postgres at {host}" if host else "Postgres"


def _why(error: BaseException, timeout_s: float) -> str:
    """Say in one line what a driver's error means. By type: the text may hold anything."""
    cause = _driver_error(error)
    known: list[tuple[type[BaseException], str]] = [
        (TimeoutError, f"no answer within {timeout_s:g} s"),
        (asyncpg.InvalidAuthorizationSpecificationError, "it refuses this user or password"),
        (asyncpg.InvalidCatalogNameError, "it has no database of this name; create it first"),
        (asyncpg.InsufficientPrivilegeError, "this user may not change the schema"),
        (asyncpg.CannotConnectNowError, "it is starting or stopping; try again"),
        (asyncpg.TooManyConnectionsError, "it has no connection left"),
        (asyncpg.ReadOnlySQLTransactionError, "it is read-only: name the primary, not a replica"),
    ]
    for kind, meaning in known:
        if isinstance(cause, kind):
            return meaning
    if isinstance(cause, OSError):
        # A name that is not found has a negative number; a refused connection's text is asyncio's own.
        number = cause.errno or 0
        reason = os.strerror(number) if number > 0 else cause.strerror
        return f"it cannot be reached: {reason or type(cause).__name__}"
    if is_transient(error):
        return f"it cannot be used now ({type(cause).__name__}); try again"
    return f"the schema could not be changed ({type(cause).__name__}); nothing was changed"


def _driver_error(error: BaseException) -> BaseException:
    # SQLAlchemy wraps twice: its own class around the dialect's, the driver's at the bottom.
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error
