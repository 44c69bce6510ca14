"""The one way to connect to Postgres: an engine whose driver connections speak microseconds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# Postgres counts microseconds from 2000-01-01, we from 1970-01-01.
_PG_EPOCH_US = 946_684_800_000_000


def sqlalchemy_url(database_url: str) -> URL:
    """A `postgresql://` URL as SQLAlchemy wants it for asyncpg.

    Raises:
        ValueError: It is no Postgres URL. The message does not repeat it: it may hold a password.
    """
    try:
        url = make_url(database_url)
    except Exception:  # noqa: BLE001  # the library's errors repeat the URL
        url = None
    if url is None or url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError("not a Postgres URL: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
    return url.set(drivername="postgresql+asyncpg")


def make_engine(database_url: str, *, pool_size: int, timeout_s: float) -> AsyncEngine:
    """An engine that connects on first use.

    Args:
        database_url: `postgresql://…`.
        pool_size: The most connections that it opens.
        timeout_s: The bound on a connect, on the wait for a free connection, and on a statement, each in seconds.
    """
    engine = create_async_engine(
        sqlalchemy_url(database_url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_s,
        # A server that was restarted leaves dead connections in the pool: one probe beats one failed call.
        pool_pre_ping=True,
        connect_args={"timeout": timeout_s, "command_timeout": timeout_s},
    )
    event.listen(engine.sync_engine, "connect", _speak_microseconds)
    return engine


def _speak_microseconds(connection: Any, _record: object) -> None:
    connection.run_async(_set_codec)


async def _set_codec(driver: Any) -> None:
    # An int compares, hashes and travels cheaper than a datetime, and loses nothing: Postgres keeps microseconds.
    await driver.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda micros: (micros - _PG_EPOCH_US,),
        decoder=lambda value: value[0] + _PG_EPOCH_US,
    )
