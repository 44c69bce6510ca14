"""P1: IsSendable, one number a call."""

from __future__ import annotations

import random

from tests.bench.account import ACCOUNT, FIRST_FREE, FIRST_OUT, OPTED_OUT, prepare
from tests.bench.figures import Bound, Figure, ratios
from tests.bench.stage import BenchError, Stage, yardstick

from stopline.v1 import consent_service_pb2 as pb

METHOD = "/stopline.v1.ConsentService/IsSendable"
REQUESTS = 4_096
_SENDABLE, _OPTED_OUT = "0801", "1002"
"""How the two answers begin: sendable = true, or verdict = 2."""


def requests() -> list[bytes]:
    """Half of them for opted-out numbers, in no order."""
    random_ = random.Random(1)  # no secret
    firsts = [FIRST_OUT, FIRST_FREE] * (REQUESTS // 2)
    random_.shuffle(firsts)
    return [
        pb.IsSendableRequest(account_id=ACCOUNT, phone=f"+{first + random_.randrange(OPTED_OUT)}").SerializeToString()
        for first in firsts
    ]


def measure(stage: Stage, rounds: int, seconds: float) -> Figure:
    """Calls a second, ours and an empty handler's."""
    prepare(stage)
    bodies = requests()
    ours, empty, p50, p99 = [], [], [], []
    with yardstick("empty") as target:
        for _ in range(rounds):
            seen = stage.load(METHOD, bodies, seconds=seconds, head=2)
            if set(seen.heads) != {_SENDABLE, _OPTED_OUT} or not 0.45 < seen.heads[_OPTED_OUT] / seen.calls < 0.55:
                raise BenchError(f"P1: half of the answers should be OPTED_OUT, but they are {seen.heads}")
            ours.append(seen.rate)
            p50.append(seen.p50_us)
            p99.append(seen.p99_us)
            empty.append(stage.load(METHOD, bodies, target=target, seconds=seconds, head=2).rate)
    return Figure(
        name="P1",
        work="IsSendable, 64 in flight on 4 connections, 1 worker, 1,000,000 opt-outs, warm",
        unit="calls/s",
        ours=ours,
        yardstick=empty,
        bounds=[Bound("of an empty handler's calls/s", ratios(ours, empty).median, 0.80)],
        notes=[
            f"with 64 in flight a call takes {min(p50):,.0f} µs at the median, {min(p99):,.0f} µs at p99 (best round)"
        ],
    )
