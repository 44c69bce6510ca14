"""A `stopline serve` as a person starts it, and a look at the processes that it leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

READY_S = 30.0
"""A machine that runs other tests beside this one is slow."""


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[str]
    log: Path
    target: str = ""
    family: list[psutil.Process] = field(default_factory=list)

    def wait_ready(self) -> str:
        """Wait for the ready line; the address."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("stopline ready on "), f"{line!r}\n{self.told()}"
        self.target = line.split()[-1]
        self.look()
        return self.target

    def look(self) -> list[psutil.Process]:
        """All its processes that live now; those seen once stay known."""
        with contextlib.suppress(psutil.NoSuchProcess):
            now = psutil.Process(self.process.pid).children(recursive=True)
            self.family += [process for process in now if process not in self.family]
        return [process for process in self.family if process.is_running()]

    def workers(self) -> list[psutil.Process]:
        """The worker processes that live now."""
        return [process for process in self.look() if alive(process) and "stopline_server.worker" in process.cmdline()]

    def told(self) -> str:
        """What it wrote on standard error."""
        return self.log.read_text()

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        """End it; its exit status."""
        self.look()
        self.process.send_signal(signum)
        return self.process.wait(30)

    def assert_gone(self) -> None:
        """Nothing that it started may live."""
        wait_for(lambda: not [process for process in self.family if alive(process)], 20)


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def launched(folder: Path, *flags: str, **environment: str) -> Iterator[Served]:
    """Start a service without waiting for it; it is gone at the end."""
    log = folder / f"serve-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "stopline_server", "serve", "--data-dir", str(folder / "data"), *flags]
    if "--listen" not in flags:
        command += ["--listen", "127.0.0.1:0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STOPLINE_")}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**clean, **environment}
        ) as process,
    ):
        served = Served(process, log)
        try:
            yield served
        finally:
            served.look()
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
            process.kill()
            served.assert_gone()


@contextlib.contextmanager
def serving(folder: Path, *flags: str, **environment: str) -> Iterator[Served]:
    """Start a service and wait until it is ready."""
    with launched(folder, *flags, **environment) as served:
        served.wait_ready()
        yield served


def wait_for(condition: Callable[[], object], seconds: float = READY_S) -> None:
    """Wait until something holds, and fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
