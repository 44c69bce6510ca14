"""The embedded PostgreSQL."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stopline_server.embedded.account import Account
from stopline_server.embedded.binaries import postgres_programs
from stopline_server.embedded.directory import DirectoryLock, make_private
from stopline_server.embedded.errors import EmbeddedError
from stopline_server.embedded.process import environment, kill_all, launch_command, seen_from_inside
from stopline_server.embedded.server import KILL_TIMEOUT_S, Server
from stopline_server.embedded.wire import Connection, RefusedError

USER = "stopline"
DATABASE = "stopline"
PORT = 5432  # only a part of the socket's name: there is no TCP
INITDB_TIMEOUT_S = 60.0
_READY_TIMEOUT_S = 2.0
_INITDB_PROGRAMS = ("initdb", "postgres")
_WORKSHOP_PREFIX = ".postgres-init-"
_CANNOT_CONNECT_NOW = "57P03"
_NO_SUCH_DATABASE = "3D000"
_TOO_MANY_CONNECTIONS = "53300"

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Into the file that is its standard error, which the supervisor keeps short.
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
}
# An opt-out that was acknowledged must outlive a power cut. Said here, so that no postgresql.conf says otherwise.
_DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
# Commits still wait for the write, so that a killed server forgets nothing; only a crashed machine does.
_FORGETFUL = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}


class PostgresServer(Server):
    """PostgreSQL on a unix socket, with one database ``stopline``.

    Args:
        data_dir: The data directory; the cluster is in ``postgres`` inside.
        fsync: False trades the data of a crashed machine for speed. For tests.
        lock: The lock of the data directory, to share it with another server.
    """

    name = "postgres"
    programs = ("postgres",)
    socket_name = f".s.PGSQL.{PORT}"
    # Fast shutdown: sessions are cut and everything is written, so that the next start need not recover.
    death_signal = signal.SIGINT
    stop_steps = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0))

    def __init__(self, data_dir: Path, *, fsync: bool = True, lock: DirectoryLock | None = None) -> None:
        super().__init__(data_dir, lock=lock)
        self._fsync = fsync

    @property
    def url(self) -> str:
        """The address of the database ``stopline``, as asyncpg takes it."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Give the address of a database of this server.

        Args:
            database: Its name.

        Returns:
            ``postgresql://...``, for asyncpg, and with ``+asyncpg`` after the scheme for SQLAlchemy.
        """
        # With the port, or a PGPORT in the client's environment would win.
        return f"postgresql://{USER}@/{database}?host={self.socket_path.parent}&port={PORT}"

    def connect(self, database: str = DATABASE, *, timeout: float = 30.0) -> Connection:
        """Open a plain synchronous connection, for statements without results.

        Args:
            database: The database to be in.
            timeout: Bound of each wait, in seconds.

        Returns:
            The open connection.

        Raises:
            OSError: The server is not there.
        """
        return Connection(self.socket_path, user=USER, database=database, timeout=timeout)

    def _prepare(self, account: Account | None) -> None:
        self._remove_half_made()
        programs = postgres_programs(account)
        # An empty one is a mounted volume, or what a person made by hand.
        if not self._home.exists() or not any(self._home.iterdir()):
            self._initialise(programs, account)
        make_private(self._home, account)
        self._check_version(programs)
        self._remove_stale_pid_file()

    def _command(self, account: Account | None, home: Path) -> list[str]:
        durability = _DURABLE if self._fsync else _FORGETFUL
        sockets = self._socket_directory_seen_from_inside(account)
        settings = _SETTINGS | durability | {"unix_socket_directories": str(sockets)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(postgres_programs(account) / "postgres"), "-D", str(home), *options]

    def _is_ready(self) -> bool:
        try:
            self.connect(timeout=_READY_TIMEOUT_S).close()
        except RefusedError as error:
            if error.code == _NO_SUCH_DATABASE:
                self._create_database()
            elif error.code not in (_CANNOT_CONNECT_NOW, _TOO_MANY_CONNECTIONS):
                raise EmbeddedError(f"postgres refuses connections: {error}") from error
            return error.code == _TOO_MANY_CONNECTIONS
        except OSError:
            return False
        return True

    def _create_database(self) -> None:
        # Here and not as a last step of initdb, so that a crash in between heals.
        try:
            with self.connect("postgres") as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")
        except RefusedError as error:
            raise EmbeddedError(f"database {DATABASE} cannot be created: {error}") from error

    def _initialise(self, programs: Path, account: Account | None) -> None:
        """Make the cluster beside its place and move it there when it is whole and on the disk."""
        workshop = Path(tempfile.mkdtemp(prefix=_WORKSHOP_PREFIX, dir=self._lock.data_dir))
        try:
            make_private(workshop, account)
            self._run_initdb(programs, workshop, account)
            workshop.rename(self._home)
            # initdb has synced the tree; this makes the name as durable as what it names.
            descriptor = os.open(self._lock.data_dir, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)

    def _run_initdb(self, programs: Path, workshop: Path, account: Account | None) -> None:
        command = [
            str(programs / "initdb"),
            f"--pgdata={seen_from_inside(workshop, account)}",
            f"--username={USER}",
            # Whoever can reach the socket, behind directories of mode 0700, is the owner of the files anyway.
            "--auth-local=trust",
            "--auth-host=reject",
            # Independent of the libc, so that another version of it cannot corrupt an index.
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if self._fsync else ["--no-sync"]),
        ]
        try:
            result = subprocess.run(  # noqa: S603 - no shell, and no word from outside
                launch_command(command, account, signal.SIGKILL),
                cwd=workshop,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                timeout=INITDB_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"initdb took more than {INITDB_TIMEOUT_S:g} s") from error
        if result.returncode != 0:
            raise EmbeddedError(f"initdb failed:\n{result.stdout.decode(errors='replace').strip()}")

    def _remove_half_made(self) -> None:
        for workshop in self._lock.data_dir.glob(f"{_WORKSHOP_PREFIX}*"):
            # initdb dies with its supervisor, and its children when they miss it; this is for one that is late.
            kill_all(workshop, _INITDB_PROGRAMS, timeout=KILL_TIMEOUT_S)
            shutil.rmtree(workshop)

    def _check_version(self, programs: Path) -> None:
        try:
            have = (self._home / "PG_VERSION").read_text().strip()
        except FileNotFoundError as error:
            raise EmbeddedError(f"{self._home} is not a PostgreSQL data directory: it has no PG_VERSION") from error
        answer = subprocess.run(  # noqa: S603 - no shell, and no word from outside
            [str(programs / "postgres"), "--version"], env=environment(), check=True, capture_output=True, text=True
        )
        offered = re.search(r"\d+", answer.stdout)
        if offered is None or have != offered[0]:
            raise EmbeddedError(
                f"{self._home} was made by PostgreSQL {have} and the one installed is {answer.stdout.strip()}: "
                "install that version, or move the data with pg_dump"
            )

    def _remove_stale_pid_file(self) -> None:
        # PostgreSQL removes the file of a dead process itself, with checks of its own; it is left to. It gives up if
        # the number lives, though, and in a container the number of the last run soon belongs to a stranger. That no
        # server lives in this directory we know by now.
        if (pid := self._noted_pid()) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, 0)
                (self._home / "postmaster.pid").unlink()

    def _noted_pid(self) -> int | None:
        try:
            return int((self._home / "postmaster.pid").read_text().split("\n")[0])
        except (FileNotFoundError, ValueError):
            return None

    def _first_asked(self, pids: Sequence[int]) -> Sequence[int]:
        # Only the postmaster understands what stops a server; to a checkpointer SIGINT means something else.
        leader = self._process.pid if self._process is not None else self._noted_pid()
        return [pid for pid in pids if pid == leader]
