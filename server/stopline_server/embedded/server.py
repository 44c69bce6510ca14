"""What the two embedded servers have in common: a life from start to stop, on an address that never changes."""

import abc
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from stopline_server.embedded.account import Account, service_account
from stopline_server.embedded.directory import DirectoryLock, make_private, socket_directory
from stopline_server.embedded.errors import EmbeddedError
from stopline_server.embedded.process import (
    POLL_INTERVAL_S,
    launch,
    open_private,
    processes_in,
    seen_from_inside,
    signal_all,
    wait_until,
)

# Long enough to replay a gigabyte of write-ahead log after a crash.
START_TIMEOUT_S = 60.0
KILL_TIMEOUT_S = 5.0
LOG_MAX_BYTES = 4 * 1024 * 1024
LOG_TAIL_BYTES = 4 * 1024
LOG_TAIL_LINES = 10


@dataclass(frozen=True)
class ServerExit:
    """The end of a server that nobody asked to end.

    Attributes:
        name: Which one: ``postgres`` or ``valkey``.
        status: Its exit status, or minus the number of the signal that ended it.
        log_tail: The last lines of its log.
    """

    name: str
    status: int
    log_tail: str

    def __str__(self) -> str:
        """Say it to the operator."""
        how = f"was killed by signal {-self.status}" if self.status < 0 else f"ended with status {self.status}"
        return f"{self.name} {how}; its log ends with:\n{self.log_tail}"


class Server(abc.ABC):
    """One embedded server in a data directory.

    Start it from a thread that lives as long as it shall: on Linux it is stopped when that thread is gone. Not for
    use by two threads at a time. As a context manager it is running inside the block and gone after it.

    Attributes:
        log_path: The file of its output.
        socket_path: Its address, known before the start and the same after each.
    """

    name: ClassVar[str]
    programs: ClassVar[Sequence[str]]
    socket_name: ClassVar[str]
    # What the server is sent when the supervisor dies without a word.
    death_signal: ClassVar[signal.Signals]
    # How it is asked to end, politely first, and how long each request may take, in seconds. Then SIGKILL.
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(self, data_dir: Path, *, lock: DirectoryLock | None = None) -> None:
        self._lock = lock or DirectoryLock(data_dir)
        self._holds_lock = False
        self._home = self._lock.data_dir / self.name
        self._process: subprocess.Popen[bytes] | None = None
        self.log_path = self._lock.data_dir / "log" / f"{self.name}.log"
        self.socket_path = socket_directory(self._home, self.socket_name) / self.socket_name

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """The address for clients."""

    @property
    def pid(self) -> int:
        """The pid of the child that was started last."""
        if self._process is None:
            raise EmbeddedError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            EmbeddedError: It cannot run here; the message says why. Nothing is left running.
        """
        try:
            self.launch()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Do the first half of ``start``, without the wait: follow it with ``wait_ready``, or ``stop`` if it fails.

        Nothing happens if it runs already.

        Raises:
            EmbeddedError: It cannot run here.
        """
        if self._process is not None and self._process.poll() is None:
            return
        if not self._holds_lock:
            self._lock.acquire()
            self._holds_lock = True
        # Only after the lock: what still runs here now belongs to nobody.
        self._end()
        try:
            account = service_account(self._home)
            self.log_path.parent.mkdir(mode=0o700, exist_ok=True)
            self._trim_log()
            self._prepare(account)
            self._make_socket_directory(account)
            self._process = launch(
                self._command(account, seen_from_inside(self._home, account)),
                directory=self._home,
                account=account,
                log=self.log_path,
                death_signal=self.death_signal,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"{self.name} cannot be started: {error}") from error

    def wait_ready(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until a client would be served, or the caller gives up.

        Raises:
            EmbeddedError: It ended instead, or took too long.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready() and not give_up():
            if (exit_ := self.poll()) is not None:
                raise EmbeddedError(str(exit_))
            if time.monotonic() >= deadline:
                raise EmbeddedError(f"{self.name} is not ready after {START_TIMEOUT_S:g} s; see {self.log_path}")
            time.sleep(POLL_INTERVAL_S)

    def stop(self) -> None:
        """End it in order, by force if it does not listen, and let go of the data directory. Idempotent.

        Raises:
            EmbeddedError: The kernel does not end it: it hangs in a disk.
        """
        if not self._holds_lock:
            return
        try:
            self._end()
            if self._process is not None:
                self._process.wait(KILL_TIMEOUT_S)
                self._process = None
            if self.socket_path.parent != self._home:
                shutil.rmtree(self.socket_path.parent, ignore_errors=True)
        finally:
            self._holds_lock = False
            self._lock.release()

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same address."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would; ``start`` brings it back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(KILL_TIMEOUT_S)

    def pause(self) -> None:
        """Stop the clock of all its processes (SIGSTOP): it holds its connections and answers nothing."""
        # The parent first, so that it cannot have a child that we do not see.
        signal_all([self.pid, *processes_in(self._home, self.programs)], signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        signal_all(processes_in(self._home, self.programs), signal.SIGCONT)

    def poll(self) -> ServerExit | None:
        """Look whether it died. Cheap; also keeps its log within bounds.

        Returns:
            How it ended, or None if it lives or was never started.
        """
        if self._process is None:
            return None
        self._trim_log()
        status = self._process.poll()
        return None if status is None else ServerExit(self.name, status, self._log_tail())

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @abc.abstractmethod
    def _prepare(self, account: Account | None) -> None:
        """Make ``home`` and what belongs into it. Nothing of ours runs there, and nothing of others'."""

    @abc.abstractmethod
    def _command(self, account: Account | None, home: Path) -> list[str]:
        """Give the command; ``home`` is how the child calls its directory, which it runs in."""

    @abc.abstractmethod
    def _is_ready(self) -> bool:
        """Try to be served, without waiting."""

    def _first_asked(self, pids: Sequence[int]) -> Sequence[int]:
        """Choose which of the processes get the polite requests to end."""
        return pids

    def _make_socket_directory(self, account: Account | None) -> None:
        if self.socket_path.parent != self._home:
            make_private(self.socket_path.parent, account)
        # A crash leaves the file behind, and with a lock beside it whose pid may have gone to a stranger since.
        for stale in (self.socket_path, Path(f"{self.socket_path}.lock")):
            stale.unlink(missing_ok=True)

    def _socket_directory_seen_from_inside(self, account: Account | None) -> Path:
        directory = self.socket_path.parent
        return seen_from_inside(directory, account) if directory == self._home else directory

    def _end(self) -> None:
        for signum, bound in (*self.stop_steps, (signal.SIGKILL, KILL_TIMEOUT_S)):
            pids = processes_in(self._home, self.programs)
            # The launcher may not have become the server yet.
            if self._process is not None and self._process.poll() is None:
                pids = sorted({self._process.pid, *pids})
            if not pids:
                return
            signal_all(pids if signum is signal.SIGKILL else self._first_asked(pids), signum)
            # One that was paused hears nothing until it goes on.
            signal_all(pids, signal.SIGCONT)
            if wait_until(lambda: not self._any_alive(), bound):
                return
        raise EmbeddedError(f"{self.name} in {self._home} does not end")

    def _any_alive(self) -> bool:
        # A child of ours stays a zombie until it is asked about.
        ended = self._process is None or self._process.poll() is not None
        return not ended or bool(processes_in(self._home, self.programs))

    def _trim_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.log_path.stat().st_size > LOG_MAX_BYTES:
                older = open_private(self.log_path.with_suffix(".log.1"), os.O_TRUNC)
                with self.log_path.open("rb") as log, os.fdopen(older, "wb") as copy:
                    shutil.copyfileobj(log, copy)
                # The server appends, so it goes on at the new end.
                os.truncate(self.log_path, 0)

    def _log_tail(self) -> str:
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-LOG_TAIL_LINES:])
