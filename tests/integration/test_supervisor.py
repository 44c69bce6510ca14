"""The supervisor, with workers of a few lines that live and die as told, and with the embedded Valkey."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stopline_server import supervisor
from stopline_server.embedded import EmbeddedServers
from stopline_server.listen import Address
from stopline_server.settings import Settings, load_settings
from stopline_server.supervisor import ServeError, Supervisor

WORKER = """
import json, os, pathlib, signal, sys, time
settings = json.loads(sys.stdin.readline())["settings"]
folder = pathlib.Path({folder!r})
number = len(list(folder.iterdir()))
(folder / str(number)).touch()
def say(text):
    os.write(1, text.encode())
def ready():
    say('{{"event": "ready"}}' + chr(10))
def serve():
    sys.stdin.read()
{body}
"""


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a service until it is told to stop, with workers of this code; how many workers it started."""

    def run(body: str, *, on_ready: Callable[[], None] | None = None, **flags: object) -> int:
        folder = tmp_path / "started"
        folder.mkdir()
        script = WORKER.format(folder=str(folder), body=body)
        monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-c", script))
        urls = {"database_url": "postgresql://nowhere/x", "redis_url": "redis://nowhere"}
        settings = load_settings({"listen": "127.0.0.1:0", "data_dir": tmp_path / "data", **(urls | flags)})

        def told(_address: Address, _settings: Settings) -> None:
            (on_ready or terminate)()

        Supervisor(settings, told).run()
        return len(list(folder.iterdir()))

    return run


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_all_workers_are_ready_before_the_service_is(life: Callable[..., int]) -> None:
    assert life("time.sleep(number / 10); ready(); serve()", workers=3) == 3


def test_a_failure_is_told_also_right_behind_a_report(life: Callable[..., int]) -> None:
    # In one write: it must not wait in a buffer, nor be lost with the worker.
    with pytest.raises(ServeError, match=r"^no such schema$"):
        life("""say('{"event": "loading"}' + chr(10) + '{"failed": "no such schema"}' + chr(10))""")


def test_a_report_in_two_pieces(life: Callable[..., int]) -> None:
    assert life("""say('{"event": "re'); time.sleep(0.1); say('ady"}' + chr(10)); serve()""") == 1


def test_what_a_library_prints_is_passed_on(life: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert life("say('hello' + chr(10)); ready(); serve()") == 1
    assert "stopline: a worker printed b'hello'" in capfd.readouterr().err


def test_a_worker_that_dies_at_the_start_ends_the_service(life: Callable[..., int]) -> None:
    with pytest.raises(ServeError, match=r"^a worker ended with status 7$"):
        life("sys.exit(7)")


def test_a_worker_that_is_killed_is_replaced_also_twice(
    life: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    # The first dies in service, its replacement before it is ready; the third stays until the alarm.
    signal.signal(signal.SIGALRM, lambda *_: terminate())
    body = """
if number == 0:
    ready(); time.sleep(0.2); os.kill(os.getpid(), signal.SIGKILL)
if number == 1:
    sys.exit(3)
ready(); os.kill(os.getppid(), signal.SIGALRM); serve()
"""
    try:
        assert life(body, on_ready=lambda: None) == 3
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    told = capfd.readouterr().err
    assert "a worker ended with signal 9; starting it again" in told
    assert "a worker ended with status 3; starting it again" in told


def test_workers_that_keep_dying_end_the_service(life: Callable[..., int]) -> None:
    with pytest.raises(ServeError, match=r"^parts keep ending \(6 in 60 s\); the last: a worker ended with status 1$"):
        life("ready(); time.sleep(0.3 if number == 0 else 0); sys.exit(1)", on_ready=lambda: None)


def test_a_worker_that_does_not_stop_is_ended(
    life: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "_STOP_MARGIN_S", 0.3)
    began = time.monotonic()
    assert life("signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(60)", shutdown_grace_s=0) == 1
    assert time.monotonic() - began < 20


def test_an_embedded_valkey_that_dies_comes_back(
    life: Callable[..., int], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[EmbeddedServers] = []

    class Noted(EmbeddedServers):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]  # passed on as they are
            servers.append(self)

        def start(self, *args: object) -> None:
            super().start(*args)  # type: ignore[arg-type]  # as above
            if len(pids) == 1:
                pids.append(self.valkey.pid if self.valkey else 0)
                terminate()

    def kill() -> None:
        assert servers[0].valkey is not None
        pids.append(servers[0].valkey.pid)
        os.kill(pids[0], signal.SIGKILL)

    pids: list[int] = []
    monkeypatch.setattr(supervisor, "EmbeddedServers", Noted)
    assert life("ready(); serve()", on_ready=kill, redis_url=None) == 1
    assert len(set(pids)) == 2
    assert "valkey was killed by signal 9" in capfd.readouterr().err
