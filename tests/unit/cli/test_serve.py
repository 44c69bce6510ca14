"""`stopline serve`: what it says and how it ends. Once for real, otherwise with a supervisor that does as told."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from stopline.v1 import consent_service_pb2 as pb
from stopline.v1.consent_service_pb2_grpc import ConsentServiceStub
from stopline_server.cli import serve
from stopline_server.embedded import EmbeddedError
from stopline_server.listen import Address, ListenError
from stopline_server.settings import Settings, load_settings
from stopline_server.supervisor import ServeError, Supervisor

from .conftest import Run
from .test_commands import one_line

ADDRESS = Address("127.0.0.1", 50051)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("postgresql://user:secret@db.internal:5433/stopline", "db.internal:5433"),
        ("postgresql://db.internal/stopline?sslmode=require&password=secret", "db.internal"),
        ("postgresql://user:secret@[2001:db8::1]:5432/x", "[2001:db8::1]:5432"),
        ("postgresql:///stopline?host=/run/postgresql&user=secret", "/run/postgresql"),
        ("rediss://:secret@cache:6380/0", "cache:6380"),
        ("unix:///run/valkey.sock", "/run/valkey.sock"),
        # Badly escaped passwords: nothing is shown rather than a piece of one.
        ("postgresql://user:secret/1@db/x", ""),
        ("postgresql://user:12/secret@db/x", ""),
        ("postgresql://user:sec?ret@db/x", ""),
        ("postgresql://user:1#secret@db/x", ""),
        ("postgresql://user:secret@db:port/x", ""),
        ("postgresql://[secret/x", ""),
    ],
)
def test_host_of_a_url_without_what_is_secret(url: str, host: str) -> None:
    assert serve.host_of(url) == host


def test_banner_with_embedded_stores(tmp_path: Path) -> None:
    text = serve.banner(ADDRESS, load_settings({"data_dir": tmp_path}))
    assert f"embedded PostgreSQL in {tmp_path}" in text
    assert f"embedded Valkey in {tmp_path}" in text
    assert "127.0.0.1:50051 stopline.v1.ConsentService/IsSendable" in text


def test_banner_with_outside_stores() -> None:
    settings = load_settings({"database_url": "postgresql://u:secret@db:5432/x", "redis_url": "redis://:secret@cache"})
    text = serve.banner(ADDRESS, settings)
    assert "database  outside, db:5432\n" in text
    assert "cache     outside, cache\n" in text
    assert "secret" not in text


@pytest.mark.parametrize(("host", "target"), [("0.0.0.0", "127.0.0.1:50051"), ("::", "[::1]:50051")])
def test_banner_names_an_address_that_can_be_called(host: str, target: str) -> None:
    assert f"{target} stopline.v1" in serve.banner(Address(host, 50051), load_settings({}))


def test_ready(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Supervisor, "run", lambda self: self._on_ready(ADDRESS, self._settings))
    result = run("serve")
    assert (result.exit_code, result.stdout) == (0, "stopline ready on 127.0.0.1:50051\n")
    assert "grpcurl -plaintext" in result.stderr


def test_flags_reach_the_settings(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Settings] = []
    monkeypatch.setattr(Supervisor, "run", lambda self: given.append(self._settings))
    monkeypatch.setenv("STOPLINE_WORKERS", "3")
    monkeypatch.setenv("STOPLINE_LISTEN", "127.0.0.1:2")
    config = tmp_path / "stopline.toml"
    config.write_text('workers = 4\nmax_id_bytes = 64\nlog_level = "error"\n')
    flags = {
        "--listen": "127.0.0.1:1", "--data-dir": str(tmp_path), "--config": str(config),
        "--database-url": "postgresql://db/x", "--redis-url": "redis://cache", "--migrate-on-start": "never",
        "--keyword-scope": "program", "--shutdown-grace-s": "2.5", "--log-level": "debug",
    }  # fmt: skip
    assert run("serve", *(word for flag in flags.items() for word in flag)).exit_code == 0
    (settings,) = given
    told = {**settings.model_dump(mode="json"), "data_dir": str(settings.data_dir)}
    assert told | {
        "listen": "127.0.0.1:1", "data_dir": str(tmp_path), "workers": 3, "database_url": "postgresql://db/x",
        "redis_url": "redis://cache", "migrate_on_start": "never", "keyword_scope": "program", "shutdown_grace_s": 2.5,
        "log_level": "DEBUG", "max_id_bytes": 64,
    } == told  # fmt: skip


def test_wrong_settings(run: Run) -> None:
    result = run("serve", "--workers", "0", "--listen", "x", "--database-url", "mysql://u:secret@h/x")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("stopline: ") for line in lines)
    assert "secret" not in result.stderr


def test_wrong_settings_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("nonsense = 1")
    assert "no such setting: nonsense" in one_line(run("serve", "--config", tmp_path / "a.toml"), 2)
    assert "cannot read" in one_line(run("serve", "--config", tmp_path / "b.toml"), 2)


@pytest.mark.parametrize("error", [ServeError("it broke\nfor good"), ListenError("taken"), EmbeddedError("no wheel")])
def test_failures(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(_: Supervisor) -> None:
        raise error

    monkeypatch.setattr(Supervisor, "run", fail)
    result = run("serve")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "".join(f"stopline: {line}\n" for line in str(error).splitlines())


@contextmanager
def served(data_dir: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "stopline_server", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(data_dir)]
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("stopline ready on 127.0.0.1:"), process.stderr and process.stderr.read()
            yield process, line.split()[-1]
        finally:
            # Its children are told by the kernel, or by their pipe.
            process.kill()


def test_a_life(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path / "data") as (process, target):
        monkeypatch.setenv("STOPLINE_TARGET", target)
        assert run("healthcheck").stdout == "SERVING\n"
        assert run("check", "--account", "a", "+14155550100").exit_code == 0
        assert "in use" in one_line(run("migrate", "--data-dir", tmp_path / "data"), 1)
        taken = run("serve", "--listen", target, "--data-dir", tmp_path / "other")
        assert "it is in use" in one_line(taken, 1)
        process.send_signal(signal.SIGINT)
        rest, told = process.communicate(timeout=30)
        assert (process.returncode, rest) == (0, "")
        command = next(line for line in told.splitlines() if "python -c" in line)
        assert target in command
    assert run("migrate", "--data-dir", tmp_path / "data", "--check").exit_code == 0


def test_ctrl_c_waits_for_calls_and_a_second_one_does_not(tmp_path: Path) -> None:
    with (
        served(tmp_path / "data", "--shutdown-grace-s", "60") as (process, target),
        grpc.insecure_channel(target) as channel,
    ):
        end = _open_stream(channel)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 15
        end()


def _open_stream(channel: grpc.Channel) -> Callable[[], object]:
    """Begin a call that does not end by itself; what ends it."""
    from queue import SimpleQueue

    requests: SimpleQueue[pb.StreamFilterRequest | None] = SimpleQueue()
    batch = pb.BatchFilterRequest(account_id="a", phones=["+14155550100"])
    requests.put(pb.StreamFilterRequest(batch=batch))
    answers = ConsentServiceStub(channel).StreamFilter(iter(requests.get, None))
    assert len(next(iter(answers)).batch.verdicts) == 1
    return lambda: requests.put(None)
