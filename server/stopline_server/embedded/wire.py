"""As much of PostgreSQL's protocol as it takes to see that a server serves, and to make a database.

The drivers are asynchronous; the supervisor, and a fixture under a running loop, are not.
"""

import contextlib
import socket
from pathlib import Path
from typing import Self

ANSWER_TIMEOUT_S = 30.0
_PROTOCOL_3_0 = 196608
_AUTHENTICATION_OK = bytes(4)


class RefusedError(Exception):
    """The server answered with an error.

    Attributes:
        code: The SQLSTATE.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Connection:
    """A connection over a unix socket that trusts us; a context manager.

    Args:
        path: The socket.
        user: Role to be.
        database: Database to be in.
        timeout: Bound of each wait for the server, in seconds.

    Raises:
        RefusedError: The server does not let us in, or not yet.
        OSError: There is no server.
    """

    def __init__(self, path: Path, *, user: str, database: str, timeout: float = ANSWER_TIMEOUT_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
            words = ["user", user, "database", database, "application_name", "stopline", ""]
            body = _PROTOCOL_3_0.to_bytes(4, "big") + b"".join(word.encode() + b"\0" for word in words)
            self._send(b"", body)
            self._until_ready()
        except BaseException:
            self._socket.close()
            raise

    def execute(self, sql: str) -> None:
        """Run statements whose rows, if any, do not matter.

        Args:
            sql: One or more statements.

        Raises:
            RefusedError: The server refused one of them.
            OSError: The connection broke.
        """
        self._send(b"Q", sql.encode() + b"\0")
        self._until_ready()

    def close(self) -> None:
        """Say goodbye; without it the server notes a lost connection in its log."""
        with contextlib.suppress(OSError):
            self._send(b"X", b"")
        self._socket.close()

    def __enter__(self) -> Self:
        """Give the open connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + (len(body) + 4).to_bytes(4, "big") + body)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            data += part
        return data

    def _until_ready(self) -> None:
        refused: RefusedError | None = None
        while True:
            head = self._receive(5)
            kind, body = head[:1], self._receive(int.from_bytes(head[1:], "big") - 4)
            if kind == b"E":
                fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0") if field}
                refused = RefusedError(fields.get(b"C", ""), fields.get(b"M", ""))
                # A fatal one is the last word: no "ready" follows.
                if fields.get(b"V") != "ERROR":
                    raise refused
            elif kind == b"R" and body != _AUTHENTICATION_OK:
                raise RefusedError("28000", "the server asks for a password")
            elif kind == b"Z":
                if refused is not None:
                    raise refused
                return
