"""The schema: what the migrations make is what the code means, once, whoever is first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from stopline_server.embedded import EmbeddedServers
from stopline_server.errors import SchemaError
from stopline_server.store import migrations, schema
from stopline_server.store.engine import sqlalchemy_url

NAME = "migrations_test"


@pytest.fixture
def empty_database_url(embedded_servers: EmbeddedServers) -> Iterator[str]:
    """A database without any schema."""
    assert embedded_servers.postgres
    with embedded_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {NAME}")
    yield embedded_servers.postgres.url_of(NAME)
    with embedded_servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_migrations_make_what_the_code_means(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, schema.metadata))

    engine = create_async_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_of_many_at_once_one_does_the_work(empty_database_url: str) -> None:
    assert await migrations.read_revision(empty_database_url) is None
    revisions = await asyncio.gather(*(migrations.upgrade_async(empty_database_url) for _ in range(5)))
    assert set(revisions) == {migrations.head()}
    assert await migrations.read_revision(empty_database_url) == migrations.head()
    # The node's one row is there once: the work was done once.
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM cache_node") == 1
    await connection.close()


async def test_a_failure_leaves_the_database_as_it_was(empty_database_url: str) -> None:
    await execute(empty_database_url, "CREATE TABLE cache_fence (mine int)")
    with pytest.raises(Exception, match="cache_fence"):
        await migrations.upgrade_async(empty_database_url)
    assert await migrations.read_revision(empty_database_url) is None
    connection = await asyncpg.connect(empty_database_url)
    tables = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    await connection.close()
    assert [row["relname"] for row in tables] == ["cache_fence"]


async def test_a_newer_schema_is_not_touched(database_url: str) -> None:
    await execute(database_url, "UPDATE alembic_version SET version_num = 'f00d'")
    with pytest.raises(SchemaError, match=r"newer than this server \(revision f00d, this server knows"):
        await migrations.upgrade_async(database_url)
    assert await migrations.read_revision(database_url) == "f00d"


@pytest.mark.parametrize(
    ("revision", "state"),
    [
        (None, migrations.SchemaState.EMPTY),
        (migrations.head(), migrations.SchemaState.CURRENT),
        ("f00d", migrations.SchemaState.NEW),
    ],
)
def test_states(revision: str | None, state: migrations.SchemaState) -> None:
    assert migrations.state_of(revision) is state
    if state is migrations.SchemaState.CURRENT:
        migrations.require_current(revision)
    else:
        with pytest.raises(SchemaError, match="`stopline migrate`") as caught:
            migrations.require_current(revision)
        assert "\n" not in str(caught.value)


def test_an_older_schema_says_which_command_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    # There is one revision yet: the next one makes today's the older one.
    monkeypatch.setattr(migrations, "state_of", lambda _revision: migrations.SchemaState.OLD)
    with pytest.raises(SchemaError, match=rf"^the database has schema revision {migrations.head()}, .*: run `stopline"):
        migrations.require_current(migrations.head())
