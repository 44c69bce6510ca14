"""What the tests of the embedded servers share."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import redis

SUPERVISOR = """
import signal, sys
from pathlib import Path
from stopline_server.embedded import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]))
servers.start()
print("ready", flush=True)
signal.pause()
"""


@contextlib.contextmanager
def supervisor(data_dir: Path, *, wait_for_ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SUPERVISOR, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if wait_for_ready:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def living_in(data_dir: Path) -> list[psutil.Process]:
    """Everything that works in the data directory; independent of how the product finds it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, FileNotFoundError):
            if Path(process.cwd()).is_relative_to(data_dir):
                found.append(process)
    return found


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


async def fetch(url: str, sql: str) -> list[object]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(sql)]
    finally:
        await connection.close()


def redis_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)
