"""Processes of the embedded servers: how they are born, found and ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stopline_server.embedded.account import Account, may_pass
from stopline_server.embedded.errors import EmbeddedError

POLL_INTERVAL_S = 0.005
_LAUNCHER = Path(__file__).with_name("launcher.py")
# Nothing else is handed down: PG* would change the server's settings, and STOPLINE_* may hold secrets.
_ENVIRONMENT_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# The child's own working directory, entered before it gives up root: so a data directory below a folder that its user
# cannot enter (/root) works, and nobody's modes need widening.
_ENTERED = Path("/proc/self/cwd")


def launch_command(command: Sequence[str], account: Account | None, death_signal: signal.Signals) -> list[str]:
    """Wrap a command so that it runs as the account and gets a signal when this process dies.

    Linux counts the death of the *thread* that starts the command, so start servers from one that lives as long.

    Args:
        command: An absolute program and its arguments.
        account: Whom to run as, or None for ourselves.
        death_signal: What to send on our death, kill -9 included. Linux only; elsewhere the next start cleans up.

    Returns:
        The command to start.
    """
    uid, gid = (-1, -1) if account is None else (account.uid, account.gid)
    numbers = [str(int(number)) for number in (os.getpid(), death_signal, uid, gid)]
    # Isolated and without site: neither the environment nor installed packages have a say in what runs as root here.
    return [sys.executable, "-I", "-S", str(_LAUNCHER), *numbers, *command]


def environment() -> dict[str, str]:
    """Give the environment of an embedded server, the same wherever it is started from."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def launch(
    command: Sequence[str], *, directory: Path, account: Account | None, log: Path, death_signal: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start a server in the foreground, as a child in a session of its own.

    Of its own, because Ctrl-C goes to the whole group of the terminal: it must reach the supervisor alone, which then
    stops things in order.

    Args:
        command: An absolute program and its arguments.
        directory: The directory to run in, by which the process is found again.
        account: Whom to run as, or None for ourselves.
        log: The file that its output is appended to.
        death_signal: What to send it on our death.

    Returns:
        The child.
    """
    output = open_private(log, os.O_APPEND)
    try:
        return subprocess.Popen(  # noqa: S603 - no shell, and no word from outside
            launch_command(command, account, death_signal),
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(output)


def seen_from_inside(directory: Path, account: Account | None) -> Path:
    """Give the name by which a child that runs in a directory can call it.

    Args:
        directory: Its working directory.
        account: Whom it runs as, or None for ourselves.

    Returns:
        A path for its arguments, good in the child only.

    Raises:
        EmbeddedError: There is none, because the account cannot enter the directory.
    """
    if account is None:
        return directory
    if _ENTERED.exists():
        return _ENTERED
    if not may_pass(directory, account):
        raise EmbeddedError(f"user {account.uid} cannot enter {directory}: choose another place with --data-dir")
    return directory


def open_private(path: Path, flags: int) -> int:
    """Open a log for writing; it can quote the row of a failed statement, so it is for our eyes only."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)


def processes_in(directory: Path, programs: Sequence[str]) -> list[int]:
    """Find the live processes of these programs whose working directory is this very directory.

    A pid from a file may have gone to a stranger since, in a container it nearly always has; a working directory
    cannot be mistaken. Both servers keep theirs as long as they live, and PostgreSQL's own children too.

    Args:
        directory: The directory to look for.
        programs: Names of executable files.

    Returns:
        Their pids; ourselves are never among them.
    """
    try:
        wanted = directory.stat()
    except FileNotFoundError:
        return []
    if sys.platform != "linux":
        return _processes_by_command(directory, programs)
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names, a few hundred of them, many times a second
        if not name.isdecimal():
            continue
        # Gone in between, a zombie, or another user's.
        with contextlib.suppress(OSError):
            program = os.readlink(f"/proc/{name}/exe").removesuffix(" (deleted)").rpartition("/")[2]  # noqa: PTH115
            if program in programs and os.path.samestat(os.stat(f"/proc/{name}/cwd"), wanted):  # noqa: PTH116
                found.append(int(name))
    return found


def _processes_by_command(directory: Path, programs: Sequence[str]) -> list[int]:
    # Without /proc the command line has to do: it names the directory. PostgreSQL's children go with their parent.
    listing = subprocess.run(["/bin/ps", "-axo", "pid=,command="], check=True, capture_output=True, text=True)
    found = []
    for line in listing.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        if str(directory) in command and any(program in command for program in programs):
            found.append(int(pid))
    return found


def signal_all(pids: Sequence[int], signum: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait for a condition, looking often.

    Args:
        condition: What to wait for; cheap.
        timeout: Bound, in seconds.

    Returns:
        Whether it came true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def kill_all(directory: Path, programs: Sequence[str], *, timeout: float) -> None:
    """Kill the processes of these programs that work in a directory, and wait for their end.

    Args:
        directory: Where they work.
        programs: Names of executable files.
        timeout: Bound of the wait, in seconds.
    """
    signal_all(processes_in(directory, programs), signal.SIGKILL)
    wait_until(lambda: not processes_in(directory, programs), timeout)
