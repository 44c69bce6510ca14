"""The address to serve on: how it is written, and how it is taken for all workers and for nobody else."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple


class ListenError(Exception):
    """The address cannot be served on; the message says why and what to do."""


class Address(NamedTuple):
    """A host and a port to serve on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Address:
    """Read `HOST:PORT`, with brackets around an IPv6 host.

    Raises:
        ValueError: It is not of that form.
    """
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError("write HOST:PORT, as in 127.0.0.1:50051 or [::1]:50051")
    return Address(host, int(port))


def reserve(address: Address) -> tuple[socket.socket, Address]:
    """Take an address for this server, and let its own workers share it.

    Workers bind with SO_REUSEPORT, and so would a second server: it would silently get half of the calls. So the
    address is first bound by a socket without that option, which fails if anybody is there, and the option is set
    afterwards, which lets a second socket join: that one is kept. It has no SO_REUSEADDR, so that nobody who asks
    without SO_REUSEPORT can join it, as our own first question does. It never listens: it gets no connection.

    Returns:
        The socket to keep open for as long as the server runs, and the address with its real port.

    Raises:
        ListenError: The address is taken or is not of this machine.
    """
    try:
        family, kind, proto, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from None
    holder = socket.socket(family, kind, proto)
    try:
        with socket.socket(family, kind, proto) as asker:
            asker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart meets connections in TIME_WAIT
            asker.bind(where)
            asker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(asker.getsockname())
    except OSError as error:
        holder.close()
        why = "it is in use" if error.errno == errno.EADDRINUSE else (error.strerror or "it cannot be bound")
        raise ListenError(f"cannot listen on {address}: {why}; choose another with --listen") from None
    host, port = holder.getsockname()[:2]
    return holder, Address(host, port)
