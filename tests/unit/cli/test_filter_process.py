"""`stopline filter` as a process of its own: signals, a terminal, memory."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stopline_server.cli.failure import Exit

from .conftest import Service

FREE, OTHER = "+14155550101", "+14155550102"
ACCOUNT = ("--account", "acme")
STOPLINE = [sys.executable, "-m", "stopline_server"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped(service: Service, tmp_path: Path, number: signal.Signals) -> None:
    # A pipe that is never closed, so that the command is still at work when it is stopped.
    pipe, sendable, skipped = tmp_path / "pipe", tmp_path / "a.csv", tmp_path / "b.csv"
    os.mkfifo(pipe)
    names = ["--sendable", str(sendable), "--skipped", str(skipped)]
    with subprocess.Popen([*STOPLINE, "filter", str(pipe), *ACCOUNT, *names], stderr=subprocess.PIPE) as process:
        with pipe.open("wb") as writer:
            writer.write(f"phone\n{FREE}\n".encode() + f"{OTHER}\n".encode() * 100_000)
            writer.flush()
            deadline = time.monotonic() + 20
            while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            assert process.stderr is not None
            told = process.stderr.read().decode()
        assert process.wait(20) == Exit.STOPPED
    assert told.startswith("stopline: stopped (after ")
    assert list(tmp_path.iterdir()) == [pipe]


def test_bar_on_a_terminal(service: Service, path: Path) -> None:
    path.write_text("phone\n" + f"{FREE}\n" * 20_000)
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([*STOPLINE, "filter", str(path), *ACCOUNT], stderr=theirs, env=environment) as process:
        os.close(theirs)
        told = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the end, as a terminal tells it
                break
            if not part:
                break
            told += part
    os.close(ours)
    assert process.returncode == Exit.OK
    assert b"rows/s" in told
    assert b"20,000 rows in" in told


def peak_kib(service: Service, path: Path, rows: int) -> int:
    with path.open("w") as file:
        file.write("phone,note\n")
        file.writelines(f"+1415{n:07d},{'x' * 200}\n" for n in range(rows))
    script = (
        "import resource, sys\nfrom stopline_server.cli import main\ntry: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", script, "filter", str(path), *ACCOUNT, "--force"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{rows:,} rows in" in done.stderr
    return int(done.stdout)


def test_memory_does_not_grow_with_the_list(service: Service, path: Path) -> None:
    # 50 MB of list, of which 40 are more than the first time.
    small, large = (peak_kib(service, path, rows) for rows in (40_000, 200_000))
    assert large - small < 10 * 1024
