"""Stores that are away at the start or go away later: doubt is never an answer, and all of it heals by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.e2e.served import Served, free_port, launched, serving, wait_for

from stopline import Client, DeadlineExceededError, StoplineError, UnavailableError, Verdict
from stopline_server.embedded import PostgresServer, ValkeyServer

ANN, BOB, CAT = "+14155550100", "+447700900123", "+33612345678"
HEALS_S = 15.0


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A Postgres that is not the service's own, and does not run yet."""
    server = PostgresServer(tmp_path / "postgres", fsync=False)
    yield server
    server.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey that is not the service's own, and does not run yet."""
    server = ValkeyServer(tmp_path / "valkey")
    yield server
    server.stop()


def urls(postgres: PostgresServer, valkey: ValkeyServer) -> dict[str, str]:
    return {"STOPLINE_DATABASE_URL": postgres.url, "STOPLINE_REDIS_URL": valkey.url}


def verdict(client: Client, phone: str) -> Verdict | None:
    """The verdict, or None for the failures that are right."""
    try:
        return client.is_sendable("acme", phone).verdict
    except (UnavailableError, DeadlineExceededError):
        return None


def hear(client: Client, phone: str, body: str, message_id: str) -> bool:
    """Whether it was acknowledged."""
    try:
        client.record_inbound("acme", message_id=message_id, from_phone=phone, body=body)
    except UnavailableError:
        return False
    return True


def health(target: str) -> str:
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=3).status
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(status))


@contextmanager
def unready(folder: Path, **environment: str) -> Iterator[Served]:
    """A service that cannot become ready yet; its port answers."""
    target = f"127.0.0.1:{free_port()}"
    with launched(folder, "--listen", target, **environment) as served:
        served.target = target
        with grpc.insecure_channel(target) as channel:
            grpc.channel_ready_future(channel).result(20)
        yield served


def test_postgres_absent_at_the_start(tmp_path: Path, postgres: PostgresServer, valkey: ValkeyServer) -> None:
    valkey.start()
    with unready(tmp_path, **urls(postgres, valkey)) as served, Client(served.target) as client:
        assert health(served.target) == "NOT_SERVING"
        with pytest.raises(UnavailableError) as caught:
            client.is_sendable("acme", ANN)
        assert caught.value.reason == "STORE_UNAVAILABLE"
        assert not hear(client, ANN, "STOP", "m1")
        assert served.process.poll() is None
        postgres.start()
        served.wait_ready()
        assert health(served.target) == "SERVING"
        assert hear(client, ANN, "STOP", "m1")
        assert verdict(client, ANN) is Verdict.OPTED_OUT


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_postgres_lost_later(tmp_path: Path, postgres: PostgresServer, valkey: ValkeyServer, fault: str) -> None:
    valkey.start()
    postgres.start()
    with serving(tmp_path, **urls(postgres, valkey)) as served, Client(served.target) as client:
        assert hear(client, ANN, "STOP", "m1")
        assert verdict(client, BOB) is Verdict.SENDABLE
        getattr(postgres, fault)()
        # Never acknowledged, and never later than asked for.
        began = time.monotonic()
        assert not hear(client, BOB, "STOP", "m2")
        assert time.monotonic() - began < 4
        # The copy may answer while its view is valid, and says of the one who is out nothing else; then nobody answers.
        seen = {verdict(client, ANN) for _ in range(20)}
        assert seen <= {Verdict.OPTED_OUT, None}
        wait_for(lambda: health(served.target) == "NOT_SERVING", 10)
        with pytest.raises(UnavailableError):  # at once, for it is known now
            client.is_sendable("acme", ANN)
        assert [verdict(client, phone) for phone in (ANN, BOB, CAT)] == [None, None, None]
        postgres.start() if fault == "kill" else postgres.resume()
        wait_for(lambda: health(served.target) == "SERVING", HEALS_S)
        assert verdict(client, ANN) is Verdict.OPTED_OUT
        # Unknown until now whether it was recorded: the repeat says so, and is harmless.
        assert hear(client, BOB, "STOP", "m2")
        assert verdict(client, BOB) is Verdict.OPTED_OUT
        assert len(list(client.list_timeline("acme", BOB))) == 1


def test_redis_absent_at_the_start(tmp_path: Path, postgres: PostgresServer, valkey: ValkeyServer) -> None:
    postgres.start()
    with serving(tmp_path, **urls(postgres, valkey)) as served, Client(served.target, write_timeout=10) as client:
        assert health(served.target) == "SERVING"
        assert verdict(client, ANN) is Verdict.SENDABLE
        began = time.monotonic()
        assert hear(client, ANN, "STOP", "m1")
        # The price of a lost copy: every process must have seen the fence.
        assert 2.0 < time.monotonic() - began < 5
        assert verdict(client, ANN) is Verdict.OPTED_OUT
        valkey.start()
        wait_for(lambda: quick(client, CAT), HEALS_S)
        assert verdict(client, ANN) is Verdict.OPTED_OUT


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_redis_lost_later(tmp_path: Path, postgres: PostgresServer, valkey: ValkeyServer, fault: str) -> None:
    postgres.start()
    valkey.start()
    with serving(tmp_path, **urls(postgres, valkey)) as served, Client(served.target, write_timeout=10) as client:
        assert hear(client, ANN, "STOP", "m1")
        assert [verdict(client, phone) for phone in (ANN, BOB)] == [Verdict.OPTED_OUT, Verdict.SENDABLE]
        getattr(valkey, fault)()
        # From Postgres, at once or after the bound on the wait; acknowledged all the same.
        assert [verdict(client, phone) for phone in (ANN, BOB)] == [Verdict.OPTED_OUT, Verdict.SENDABLE]
        assert hear(client, BOB, "STOP", "m2")
        assert [verdict(client, phone) for phone in (ANN, BOB)] == [Verdict.OPTED_OUT, Verdict.OPTED_OUT]
        assert health(served.target) == "SERVING"
        valkey.start() if fault == "kill" else valkey.resume()
        wait_for(lambda: quick(client, CAT), HEALS_S)
        assert [verdict(client, phone) for phone in (ANN, BOB, CAT)] == [Verdict.OPTED_OUT] * 3
        assert hear(client, CAT, "START", "m3")
        wait_for(lambda: verdict(client, CAT) is Verdict.SENDABLE, 5)


_numbers = iter(range(1_000_000))


def quick(client: Client, phone: str) -> bool:
    """Whether an opt-out is acknowledged without the fence's wait: the copy is used again."""
    began = time.monotonic()
    assert hear(client, phone, "STOP", f"quick-{next(_numbers)}")
    return time.monotonic() - began < 1


def test_checks_under_way_while_postgres_dies_never_say_sendable_of_one_who_is_out(
    tmp_path: Path, postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    postgres.start()
    valkey.start()
    with serving(tmp_path, **urls(postgres, valkey)) as served, Client(served.target, timeout=3) as client:
        assert hear(client, ANN, "STOP", "m1")
        deadline = time.monotonic() + 6

        def ask() -> list[Verdict | str]:
            answers: list[Verdict | str] = []
            while time.monotonic() < deadline:
                try:
                    answers.append(client.is_sendable("acme", ANN).verdict)
                except StoplineError as error:
                    answers.append(type(error).__name__)
            return answers

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            time.sleep(1)
            postgres.kill()
            time.sleep(2.5)
            postgres.start()
            answers = [answer for task in asking for answer in task.result()]
        assert set(answers) <= {Verdict.OPTED_OUT, "UnavailableError", "DeadlineExceededError"}
        assert answers.count(Verdict.OPTED_OUT) > 100
        wait_for(lambda: verdict(client, ANN) is Verdict.OPTED_OUT, HEALS_S)
        assert served.stop(signal.SIGTERM) == 0
