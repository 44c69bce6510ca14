"""`stopline migrate`, on real databases."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stopline_server.embedded import EmbeddedServers
from stopline_server.store import migrations

from .conftest import Run
from .test_commands import one_line


@pytest.fixture
def empty_database_url(embedded_servers: EmbeddedServers) -> Iterator[str]:
    assert embedded_servers.postgres
    with embedded_servers.postgres.connect() as connection:
        connection.execute("CREATE DATABASE test_migrate")
    yield embedded_servers.postgres.url_of("test_migrate")
    with embedded_servers.postgres.connect() as connection:
        connection.execute("DROP DATABASE test_migrate WITH (FORCE)")


def test_an_empty_database(run: Run, empty_database_url: str) -> None:
    flag = ("--database-url", empty_database_url)
    assert "has no schema" in one_line(run("migrate", "--check", *flag), 1)
    for more in ((), (), ("--check",)):
        result = run("migrate", *more, *flag)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{migrations.head()}\n", "")


@pytest.mark.parametrize("more", [(), ("--check",)])
def test_a_newer_schema(
    run: Run, empty_database_url: str, embedded_servers: EmbeddedServers, more: tuple[str, ...]
) -> None:
    migrations.upgrade(empty_database_url)
    assert embedded_servers.postgres
    with embedded_servers.postgres.connect("test_migrate") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    line = one_line(run("migrate", *more, "--database-url", empty_database_url), 1)
    assert "newer than this server (revision 9999" in line


def test_url_from_the_environment(run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPLINE_DATABASE_URL", database_url)
    assert run("migrate", "--check").exit_code == 0


def test_the_embedded_database(run: Run, tmp_path: Path) -> None:
    flag = ("--data-dir", tmp_path / "data")
    assert "there is no database" in one_line(run("migrate", "--check", *flag), 1)
    assert not (tmp_path / "data").exists()
    assert run("migrate", *flag).stdout == f"{migrations.head()}\n"
    assert run("migrate", "--check", *flag).exit_code == 0
    # It was stopped, and its folder was given back.
    with EmbeddedServers(tmp_path / "data", valkey=False) as servers:
        assert servers.poll() is None


@pytest.mark.parametrize(
    ("url", "status", "says"),
    [
        ("postgresql://u:secret@127.0.0.1:1/x", 1, "Postgres at 127.0.0.1:1: it cannot be reached: Connection refused"),
        ("postgresql://u:secret@nothing.invalid/x", 1, "it cannot be reached"),
        ("postgresql:///x?host=/nonexistent", 1, "it cannot be reached: No such file"),
        ("postgresql://u:secret@h:port/x", 2, "database_url (STOPLINE_DATABASE_URL): no URL of this kind"),
        ("mysql://u:secret@h/x", 2, "database_url (STOPLINE_DATABASE_URL): no URL of this kind"),
    ],
)
def test_no_database(run: Run, url: str, status: int, says: str) -> None:
    line = one_line(run("migrate", "--database-url", url), status)
    assert says in line
    assert "secret" not in line


def test_no_database_of_this_name(run: Run, embedded_servers: EmbeddedServers) -> None:
    assert embedded_servers.postgres
    url = embedded_servers.postgres.url_of("nowhere")
    assert "no database of this name" in one_line(run("migrate", "--database-url", url), 1)


def test_a_server_that_says_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stopline_server.cli.migrate._CONNECT_AT_LEAST_S", 0.3)
    monkeypatch.setenv("STOPLINE_DATABASE_TIMEOUT_S", "0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/x"
        assert "no answer within 0.3 s" in one_line(run("migrate", "--database-url", url), 1)


def test_a_user_who_may_not(run: Run, empty_database_url: str, embedded_servers: EmbeddedServers) -> None:
    assert embedded_servers.postgres
    with embedded_servers.postgres.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN")
    try:
        url = empty_database_url.replace("stopline@", "reader@", 1).replace("user=stopline", "user=reader", 1)
        assert "reader" in url
        assert "may not change the schema" in one_line(run("migrate", "--database-url", url), 1)
    finally:
        with embedded_servers.postgres.connect() as connection:
            connection.execute("DROP ROLE reader")
