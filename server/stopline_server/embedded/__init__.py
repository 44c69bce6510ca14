"""The real PostgreSQL and Valkey that ``stopline serve`` starts when no outside server is configured.

Everything here is synchronous and imports only the standard library: it runs in the supervisor, which has no event
loop, no threads and no grpc. The servers come from two optional wheels and are started directly as children, so that
their signals, their logs and their end are ours to decide. What lies in a data directory::

    lock        held by the one process that runs servers here, with its pid inside
    log/        one file a server
    postgres/   the cluster, and its unix socket
    valkey/     the unix socket; the copy of the state in Valkey is never written to disk
"""

from stopline_server.embedded.directory import DirectoryLock
from stopline_server.embedded.errors import EmbeddedError
from stopline_server.embedded.postgres import PostgresServer
from stopline_server.embedded.server import Server, ServerExit
from stopline_server.embedded.servers import EmbeddedServers
from stopline_server.embedded.valkey import ValkeyServer

__all__ = [
    "DirectoryLock",
    "EmbeddedError",
    "EmbeddedServers",
    "PostgresServer",
    "Server",
    "ServerExit",
    "ValkeyServer",
]
