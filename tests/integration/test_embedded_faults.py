"""The embedded servers when things die: the supervisor, a server, or the machine's memory of them."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import redis
from tests.integration.embedded_help import eventually, fetch, living_in, redis_client, supervisor

from stopline_server.embedded import EmbeddedServers, PostgresServer, server
from stopline_server.embedded.account import service_account
from stopline_server.embedded.wire import RefusedError


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_alone(own_servers: EmbeddedServers) -> None:
    assert own_servers.postgres
    assert own_servers.valkey
    for pid in (own_servers.postgres.pid, own_servers.valkey.pid):
        assert os.getsid(pid) == os.getpgid(pid) == pid


async def test_kill_9_of_the_supervisor_takes_the_servers_down_and_keeps_the_rows(data_dir: Path) -> None:
    url = PostgresServer(data_dir).url
    with supervisor(data_dir) as process:
        await fetch(url, "CREATE TABLE kept AS SELECT 7 AS n")
        assert len(living_in(data_dir)) >= 2
        process.kill()
        assert eventually(lambda: living_in(data_dir) == [])
    with EmbeddedServers(data_dir):
        assert await fetch(url, "SELECT n FROM kept") == [7]
    assert living_in(data_dir) == []


async def test_a_start_beside_orphans_that_are_still_alive(data_dir: Path) -> None:
    url = PostgresServer(data_dir).url
    with supervisor(data_dir) as supervising:
        await fetch(url, "CREATE TABLE kept AS SELECT 7 AS n")
        orphans = psutil.Process(supervising.pid).children()
        assert len(orphans) == 2
        for orphan in orphans:
            # So that it cannot hear that its supervisor is gone.
            orphan.suspend()
        supervising.kill()
        supervising.wait()
        assert all(orphan.is_running() for orphan in orphans)
        with EmbeddedServers(data_dir):
            assert await fetch(url, "SELECT n FROM kept") == [7]
            assert not set(orphans) & set(living_in(data_dir))
    assert living_in(data_dir) == []


async def test_kill_9_in_the_middle_of_initdb(data_dir: Path) -> None:
    with supervisor(data_dir, wait_for_ready=False) as process:
        assert eventually(lambda: any(data_dir.glob(".postgres-init-*/global/pg_control")))
        process.kill()
        process.wait()
    assert not (data_dir / "postgres").exists()
    with EmbeddedServers(data_dir, fsync=False) as servers:
        assert await fetch(servers.database_url, "SELECT 1") == [1]
        assert list(data_dir.glob(".postgres-init-*")) == []


async def test_a_kill_between_initdb_and_the_database_heals(own_servers: EmbeddedServers) -> None:
    assert own_servers.postgres
    with own_servers.postgres.connect("postgres") as connection:
        connection.execute("DROP DATABASE stopline")
    own_servers.postgres.restart()
    assert await fetch(own_servers.database_url, "SELECT 1") == [1]


def test_a_pid_file_whose_number_went_to_a_stranger(data_dir: Path) -> None:
    postgres = PostgresServer(data_dir, fsync=False)
    with postgres:
        pass
    account = service_account(data_dir / "postgres")
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=account.uid if account else None)
    try:
        pid_file = data_dir / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{data_dir}/postgres\n1\n5432\n\n\n\nready\n")
        with postgres:
            assert postgres.pid != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_ends_a_server_that_is_paused(own_servers: EmbeddedServers, data_dir: Path) -> None:
    assert own_servers.postgres
    own_servers.postgres.pause()
    own_servers.stop()
    assert living_in(data_dir) == []


def test_stop_ends_by_force_what_does_not_listen(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        # SIGCONT stands for a request that is not heard.
        patch.setattr(PostgresServer, "stop_steps", ((signal.SIGCONT, 0.05),))
        with PostgresServer(data_dir, fsync=False):
            pass
    assert living_in(data_dir) == []
    # The next start clears away what a crash leaves in shared memory.
    with PostgresServer(data_dir, fsync=False):
        pass


def test_a_dead_child_is_told(own_servers: EmbeddedServers) -> None:
    assert own_servers.postgres
    own_servers.postgres.kill()
    exit_ = own_servers.poll()
    assert exit_
    assert (exit_.name, exit_.status) == ("postgres", -signal.SIGKILL)
    assert "ready to accept connections" in exit_.log_tail
    assert str(exit_).startswith("postgres was killed by signal 9; its log ends with:\n")
    own_servers.postgres.start()
    assert own_servers.poll() is None


@pytest.mark.parametrize("way", ["restart", "kill"])
async def test_each_server_comes_back_on_its_address(own_servers: EmbeddedServers, way: str) -> None:
    assert own_servers.postgres
    assert own_servers.valkey
    await fetch(own_servers.database_url, "CREATE TABLE kept AS SELECT 7 AS n")
    for one in (own_servers.valkey, own_servers.postgres):
        before = one.pid
        if way == "restart":
            one.restart()
        else:
            one.kill()
            one.start()
        assert one.pid != before
    assert own_servers.poll() is None
    # Without fsync too: that is about the machine's memory, not the process's.
    assert await fetch(own_servers.database_url, "SELECT n FROM kept") == [7]
    with redis_client(own_servers.redis_url) as client:
        assert client.ping()


def test_a_paused_server_holds_its_breath(own_servers: EmbeddedServers) -> None:
    assert own_servers.valkey
    with redis.Redis.from_url(own_servers.redis_url, socket_timeout=0.2, retry=None) as client:
        assert client.ping()
        own_servers.valkey.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_servers.valkey.resume()
        assert client.ping()


def test_a_long_log_is_cut_while_the_server_writes_it(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOG_MAX_BYTES", 20_000)
    with PostgresServer(data_dir, fsync=False) as postgres:
        with postgres.connect() as connection:
            for _ in range(300):
                with pytest.raises(RefusedError):
                    connection.execute("SELECT * FROM no_such_table_with_a_name_that_fills_the_log")
            assert postgres.log_path.stat().st_size > 20_000
            postgres.poll()
            assert postgres.log_path.stat().st_size == 0
            with pytest.raises(RefusedError) as caught:
                connection.execute("SELECT 1/0")
        assert caught.value.code == "22012"
        log = postgres.log_path.read_bytes()
        # No hole of zeroes in front: the server went on at the new end.
        assert b"division by zero" in log
        assert b"\0" not in log
        assert postgres.log_path.with_suffix(".log.1").stat().st_size > 20_000
