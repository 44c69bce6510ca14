"""The embedded Valkey."""

import signal
import socket
from pathlib import Path

from stopline_server.embedded.account import Account
from stopline_server.embedded.binaries import valkey_program
from stopline_server.embedded.directory import make_private
from stopline_server.embedded.server import Server

_READY_TIMEOUT_S = 1.0


class ValkeyServer(Server):
    """Valkey on a unix socket, empty at each start.

    Args:
        data_dir: The data directory; the socket is in ``valkey`` inside.
        lock: The lock of the data directory, to share it with another server.
    """

    name = "valkey"
    programs = ("valkey-server",)
    socket_name = "valkey.sock"
    death_signal = signal.SIGTERM
    stop_steps = ((signal.SIGTERM, 5.0),)

    @property
    def url(self) -> str:
        """The address, as redis-py takes it."""
        return f"unix://{self.socket_path}"

    def _prepare(self, account: Account | None) -> None:
        make_private(self._home, account)

    def _command(self, account: Account | None, home: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket_directory_seen_from_inside(account) / self.socket_name),
            "unixsocketperm": "700",
            "dir": str(home),
            "daemonize": "no",
            # Nothing on the disk: a copy read back from there would be older than the database, a stale truth that
            # says "sendable" about somebody who has opted out since. Empty is merely slow.
            "save": "",
            "appendonly": "no",
        }
        # No maxmemory: a state that is thrown out is asked for again, but a server that refuses writes is an outage.
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(valkey_program(account)), *words]

    def _is_ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_READY_TIMEOUT_S)
                client.connect(str(self.socket_path))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False
