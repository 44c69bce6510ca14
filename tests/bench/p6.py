"""P6: RecordInbound of STOP, durable."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

import asyncpg
from tests.bench.figures import Bound, Figure, ratios
from tests.bench.stage import MEASURED, BenchError, Stage

from stopline.v1 import consent_service_pb2 as pb
from stopline_server.embedded.account import service_account
from stopline_server.embedded.binaries import postgres_programs

METHOD = "/stopline.v1.ConsentService/RecordInbound"
CLIENTS = 64
_FIRST = 13_012_000_000
_A_SECOND = 8_000
"""More requests than can be answered in a second: each is sent once."""
_RECORDED = "08021001"
"""How each answer begins: action = OPTED_OUT, consent_changed."""


def requests(first: int, count: int) -> list[bytes]:
    """Distinct numbers, each with a message id of its own."""
    return [
        pb.RecordInboundRequest(
            account_id="writes", message_id=f"m{number}", from_phone=f"+{_FIRST + number}", body="STOP"
        ).SerializeToString()
        for number in range(first, first + count)
    ]


async def _make_table(url: str) -> None:
    connection = await asyncpg.connect(url)
    if await connection.fetchval("SHOW fsync") != "on" or await connection.fetchval("SHOW synchronous_commit") != "on":
        raise BenchError("P6: Postgres is not durable")
    await connection.execute("CREATE TABLE IF NOT EXISTS bench_row (id bigserial PRIMARY KEY, body text NOT NULL)")
    await connection.close()


def pgbench(stage: Stage, seconds: float) -> tuple[float, float]:
    """One-row inserts: transactions a second, and the median time of one in microseconds."""
    program = postgres_programs(service_account(stage.folder)) / "pgbench"
    script = stage.folder / "insert.sql"
    script.write_text("INSERT INTO bench_row (body) VALUES ('STOP');\n")
    for log in stage.folder.glob("pgbench_log*"):
        log.unlink()
    done = subprocess.run(
        [
            "taskset", "-c", ",".join(map(str, MEASURED)), str(program), "--no-vacuum", "--protocol=prepared",
            f"--client={CLIENTS}", "--jobs=1", f"--time={max(1, round(seconds))}", f"--file={script}", "--log",
            "--log-prefix=pgbench_log", stage.database_url,
        ],
        cwd=stage.folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    rate = next(float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("tps = "))
    times = [int(line.split()[2]) for log in stage.folder.glob("pgbench_log*") for line in _lines(log)]
    return rate, statistics.median(times)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def measure(stage: Stage, rounds: int, seconds: float) -> Figure:
    """Acknowledged opt-outs a second, and pgbench's transactions."""
    stage.run_sql(_make_table(stage.database_url))
    ours, theirs, our_p50, their_p50 = [], [], [], []
    count = int(_A_SECOND * (seconds + 2))
    for turn in range(rounds):
        seen = stage.load(METHOD, requests(turn * count, count), seconds=seconds, once=True)
        if set(seen.heads) != {_RECORDED}:
            raise BenchError(f"P6: every answer should say that it opted out, but they are {seen.heads}")
        if seen.exhausted:
            raise BenchError("P6: there were too few requests for this machine; raise _A_SECOND")
        ours.append(seen.rate)
        our_p50.append(seen.p50_us)
        rate, p50 = pgbench(stage, seconds)
        theirs.append(rate)
        their_p50.append(p50)
    return Figure(
        name="P6",
        work="RecordInbound of STOP, 64 in flight, fsync on; against pgbench, 64 clients, one-row insert",
        unit="STOPs/s",
        ours=ours,
        yardstick=theirs,
        bounds=[
            Bound("of pgbench's transactions/s", ratios(ours, theirs).median, 1.0),
            Bound("times pgbench's p50", ratios(our_p50, their_p50).median, 3.0, at_least=False),
        ],
        notes=[f"p50 {statistics.median(our_p50):,.0f} µs, pgbench's {statistics.median(their_p50):,.0f} µs"],
    )
