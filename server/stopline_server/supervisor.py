"""The process behind `stopline serve`: starts the embedded stores and the workers, and ends them in order.

It imports no grpc: workers are spawned fresh, never forked from a process that has its threads. Each worker holds the
other end of a pipe to this process; its end, however it comes, ends the worker.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import IO

from stopline_server.embedded import EmbeddedServers
from stopline_server.listen import Address, parse_listen, reserve
from stopline_server.settings import Settings

COMMAND = (sys.executable, "-m", "stopline_server.worker")
_TICK_S = 0.25
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
"""A part that dies is started again, but if that goes on the service ends: the reason must be seen."""
_STOP_MARGIN_S = 5.0
_CHUNK_BYTES = 65_536


class ServeError(Exception):
    """The service cannot start or go on; one line says why and what to do."""


def _say(line: str) -> None:
    print(f"stopline: {line}", file=sys.stderr, flush=True)  # noqa: T201  # no logger here


class _Worker:
    """One worker process and the pipes to it."""

    def __init__(self, payload: bytes) -> None:
        environment = dict(os.environ)
        # glibc gives each thread an arena of its own and hands none back: 4 times the memory under cancelled calls.
        environment.setdefault("MALLOC_ARENA_MAX", "2")
        self.process = subprocess.Popen(  # noqa: S603  # no shell, and no word from outside
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # a report that waits in a buffer of ours would not wake `select`
            env=environment,
            # Ctrl-C in a terminal goes to the whole group: the workers are stopped by us, in order.
            start_new_session=True,
        )
        self.ready = False
        self.failure = ""
        self._unread = b""
        os.set_blocking(self.reports.fileno(), False)
        self._pipe(self.process.stdin).write(payload + b"\n")
        self._pipe(self.process.stdin).flush()

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream

    @property
    def reports(self) -> IO[bytes]:
        """Where it reports, a JSON object a line."""
        return self._pipe(self.process.stdout)

    def hear(self) -> None:
        """Take the reports that are there."""
        while chunk := self.reports.read(_CHUNK_BYTES):
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            report = json.loads(line)
        except ValueError:
            # A library that prints must not end the service, nor be lost.
            _say(f"a worker printed {line!r}")
            return
        self.ready = self.ready or report.get("event") == "ready"
        self.failure = report.get("failed", self.failure)

    def stop(self, deadline: float) -> None:
        """Ask it to drain, and end it at the deadline."""
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            self._pipe(pipe).close()


class Supervisor:
    """Runs the service until a signal or a failure ends it."""

    def __init__(self, settings: Settings, on_ready: Callable[[Address, Settings], None]) -> None:
        """Make it; `run` does the work.

        Args:
            settings: The settings; empty store addresses mean the embedded ones.
            on_ready: Told once, when all workers answer.
        """
        self._settings = settings
        self._on_ready = on_ready
        self._workers: list[_Worker] = []
        self._deaths: deque[float] = deque(maxlen=_RESTARTS)
        self._selector = selectors.DefaultSelector()
        self._stopping = False

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            ServeError: It cannot start, or a part of it failed for good. Everything is stopped by then.
            ListenError: The address is taken.
            EmbeddedError: The data folder or an embedded server cannot be used.
        """
        with ExitStack() as cleanup:
            self._catch_signals(cleanup)
            cleanup.callback(self._selector.close)
            holder, address = reserve(parse_listen(self._settings.listen))
            cleanup.callback(holder.close)
            embedded = EmbeddedServers(
                self._settings.data_dir,
                postgres=not self._settings.database_url,
                valkey=not self._settings.redis_url,
            )
            cleanup.callback(embedded.stop)
            settings = self._settings.model_copy(
                update={
                    "listen": str(address),
                    "database_url": self._settings.database_url or embedded.database_url,
                    "redis_url": self._settings.redis_url or embedded.redis_url,
                }
            )
            cleanup.callback(self._stop_workers)
            payload = self._payload(settings)
            # Workers load while Postgres starts, and wait for it.
            for _ in range(settings.workers):
                self._spawn(payload)
            embedded.start(lambda: self._stopping)
            self._watch(embedded, address, payload)

    def _payload(self, settings: Settings) -> bytes:
        # Over the pipe, not in arguments or environment: those are readable by others, and hold passwords.
        content = settings.model_dump(mode="json")
        return json.dumps({"settings": content, "embedded": not self._settings.database_url}).encode()

    def _catch_signals(self, cleanup: ExitStack) -> None:
        # The pipe ends a wait in `select` at once; the handler alone would be run only after it.
        ours, wake = socket.socketpair()
        wake.setblocking(False)
        for end in (ours, wake):
            cleanup.callback(end.close)
        cleanup.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(wake.fileno()))
        for number in (signal.SIGINT, signal.SIGTERM):
            cleanup.callback(signal.signal, number, signal.signal(number, self._on_signal))
        self._selector.register(ours, selectors.EVENT_READ)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            # Whoever asks twice waits for no call in progress. The stores are still stopped in order.
            for worker in self._workers:
                worker.process.kill()
        self._stopping = True

    def _spawn(self, payload: bytes) -> None:
        worker = _Worker(payload)
        self._workers.append(worker)
        self._selector.register(worker.reports, selectors.EVENT_READ, worker)

    def _watch(self, embedded: EmbeddedServers, address: Address, payload: bytes) -> None:
        told = False
        while not self._stopping:
            for key, _ in self._selector.select(_TICK_S):
                if isinstance(key.data, _Worker):
                    key.data.hear()
            if (death := embedded.poll()) is not None:
                self._forgive(str(death))
                embedded.start(lambda: self._stopping)
            for worker in [w for w in self._workers if w.process.poll() is not None]:
                self._bury(worker, may_replace=told)
                self._spawn(payload)
            if not told and all(worker.ready for worker in self._workers):
                told = True
                self._on_ready(address, self._settings)

    def _bury(self, worker: _Worker, *, may_replace: bool) -> None:
        """Part from a dead worker.

        Raises:
            ServeError: A replacement is of no use: what the worker died of would end it too.
        """
        self._selector.unregister(worker.reports)
        self._workers.remove(worker)
        worker.hear()
        worker.stop(time.monotonic())
        code = worker.process.returncode
        why = worker.failure or f"a worker ended with {f'signal {-code}' if code < 0 else f'status {code}'}"
        if not may_replace:
            raise ServeError(why)
        self._forgive(why)

    def _forgive(self, why: str) -> None:
        """Note that a part of the service died and will be started again.

        Raises:
            ServeError: It happens too often.
        """
        now = time.monotonic()
        if len(self._deaths) == _RESTARTS and now - self._deaths[0] < _RESTARTS_WITHIN_S:
            raise ServeError(f"parts keep ending ({_RESTARTS + 1} in {_RESTARTS_WITHIN_S:.0f} s); the last: {why}")
        self._deaths.append(now)
        _say(f"{why}; starting it again")

    def _stop_workers(self) -> None:
        deadline = time.monotonic() + self._settings.shutdown_grace_s + _STOP_MARGIN_S
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.stop(deadline)
        self._workers.clear()
