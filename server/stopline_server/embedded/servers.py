"""The embedded servers of one ``stopline serve``."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from stopline_server.embedded.directory import DirectoryLock
from stopline_server.embedded.errors import EmbeddedError
from stopline_server.embedded.postgres import PostgresServer
from stopline_server.embedded.server import Server, ServerExit
from stopline_server.embedded.valkey import ValkeyServer


class EmbeddedServers:
    """PostgreSQL and Valkey in one data directory, or the one of them that is not outside.

    Synchronous, for a supervisor without threads; see ``Server`` for who may start it. As a context manager the
    servers run inside the block and are gone after it.

    Attributes:
        postgres: The PostgreSQL, or None if it is outside.
        valkey: The Valkey, or None if it is outside.

    Args:
        data_dir: Where everything lives; made if need be.
        postgres: Whether to run PostgreSQL.
        valkey: Whether to run Valkey.
        fsync: False lets PostgreSQL forget in a power cut. For tests.
    """

    def __init__(self, data_dir: Path, *, postgres: bool = True, valkey: bool = True, fsync: bool = True) -> None:
        lock = DirectoryLock(data_dir)
        self.postgres = PostgresServer(data_dir, fsync=fsync, lock=lock) if postgres else None
        self.valkey = ValkeyServer(data_dir, lock=lock) if valkey else None
        # In the order of stopping: the store of record goes last.
        self._servers: list[Server] = [server for server in (self.valkey, self.postgres) if server is not None]

    @property
    def database_url(self) -> str:
        """The address of the embedded database, valid before ``start`` too."""
        if self.postgres is None:
            raise EmbeddedError("PostgreSQL is not among the embedded servers")
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """The address of the embedded Valkey, valid before ``start`` too."""
        if self.valkey is None:
            raise EmbeddedError("Valkey is not among the embedded servers")
        return self.valkey.url

    def start(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Start the servers that do not run, side by side, and wait until all of them answer.

        Args:
            give_up: Asked while waiting: whether the caller no longer wants them; ``stop`` follows then.

        Raises:
            EmbeddedError: One cannot run; the message says why. Nothing is left running.
        """
        try:
            for server in self._servers:
                server.launch()
            for server in self._servers:
                server.wait_ready(give_up)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop Valkey, then PostgreSQL. Idempotent; one that fails to stop does not keep the other running."""
        failures = []
        for server in self._servers:
            try:
                server.stop()
            except EmbeddedError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def poll(self) -> ServerExit | None:
        """Look whether one of them died. Cheap: meant for every turn of the supervisor's loop.

        Returns:
            The first that did, or None.
        """
        return next((exit_ for server in self._servers if (exit_ := server.poll()) is not None), None)

    def __enter__(self) -> Self:
        """Start them."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self.stop()
