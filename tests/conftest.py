"""The harness: a real PostgreSQL and a real Valkey for a run of the tests, and a clean address in each for a test.

Under pytest-xdist each worker has a pair of its own. Nothing starts before a test asks for it.
"""

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stopline_server.embedded import DirectoryLock, EmbeddedError, EmbeddedServers

TEMPLATE = "stopline_template"
PREFIX = "stopline-tests-"
MEMORY = Path("/dev/shm")
MEMORY_NEEDED_BYTES = 4 * 1024**3
LEFTOVER_AGE_S = 60
_numbers = itertools.count(1)


def _quick_place() -> Path:
    """Memory if there is plenty: a copy of a database takes a tenth of the time that a disk's file system needs."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED_BYTES:
        return MEMORY
    return Path(tempfile.gettempdir())


def _remove_leftovers(place: Path) -> None:
    """Remove what runs that were killed left behind, and nothing of a run that still goes on."""
    for leftover in place.glob(f"{PREFIX}*"):
        lock = DirectoryLock(leftover / "data")
        try:
            # A younger one may not have come to its lock yet.
            if time.time() - leftover.stat().st_mtime < LEFTOVER_AGE_S:
                continue
            lock.acquire()
        except (EmbeddedError, FileNotFoundError):
            continue
        shutil.rmtree(leftover, ignore_errors=True)
        lock.release()


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[EmbeddedServers]:
    """The pair of servers of this run. A test that breaks servers takes `own_servers`."""
    place = _quick_place()
    _remove_leftovers(place)
    # Not one of pytest's directories: it keeps those of the last runs, and a cluster is 40 MB.
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as directory:
        # A crash of the machine ends the tests too, so nothing need survive it.
        with EmbeddedServers(Path(directory) / "data", fsync=False) as servers:
            yield servers


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A place for servers of this test alone; not made yet."""
    # Below a folder of mode 0700, as pytest makes them: as root, the servers' own user cannot walk here.
    return tmp_path / "data"


@pytest.fixture
def own_servers(data_dir: Path) -> Iterator[EmbeddedServers]:
    """A pair of servers of this test alone, to kill, pause and restart. It costs a second."""
    with EmbeddedServers(data_dir, fsync=False) as servers:
        yield servers


@pytest.fixture(scope="session")
def template_database(embedded_servers: EmbeddedServers) -> str:
    """The name of a database with the schema of the newest migration, to be copied and never entered."""
    # Here, so that the tests that need no database do not need the migrations to import.
    from stopline_server.store import migrations

    assert embedded_servers.postgres
    with embedded_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrations.upgrade(embedded_servers.postgres.url_of(TEMPLATE))
        # A session in a template makes every copy of it fail.
        connection.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true ALLOW_CONNECTIONS false")
    return TEMPLATE


@pytest.fixture
def database_url(embedded_servers: EmbeddedServers, template_database: str) -> Iterator[str]:
    """The address of a database of this test alone, migrated and empty.

    Synchronous, so that it works under any loop and none, for `async def` tests and others.
    """
    assert embedded_servers.postgres
    name = f"test_{next(_numbers)}"
    with embedded_servers.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY file_copy")
    yield embedded_servers.postgres.url_of(name)
    # A new connection, because the test may have restarted the server. By force: it may have left a session open.
    with embedded_servers.postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_url(embedded_servers: EmbeddedServers) -> str:
    """The address of the Valkey, empty: no keys, no scripts, no functions."""
    with redis.Redis.from_url(embedded_servers.redis_url) as client:
        client.flushall()
        client.script_flush()
        client.function_flush()
    return embedded_servers.redis_url
