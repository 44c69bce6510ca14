"""P3: BatchFilter, 100,000 numbers a call."""

from __future__ import annotations

import random

from tests.bench.account import ACCOUNT, FIRST_FREE, FIRST_OUT, OPTED_OUT, prepare
from tests.bench.figures import Bound, Figure, Spread, ratios
from tests.bench.stage import BenchError, Stage, yardstick

from stopline import Client, Verdict
from stopline.v1 import consent_service_pb2 as pb

METHOD = "/stopline.v1.ConsentService/BatchFilter"
PHONES, OUT = 100_000, 2_000
_INFLIGHT = 2
"""The next list is there when one is answered."""


def phones() -> list[str]:
    """Distinct numbers, 2 % of them opted out, in no order."""
    random_ = random.Random(3)  # no secret
    out = [f"+{FIRST_OUT + index}" for index in random_.sample(range(OPTED_OUT), OUT)]
    free = [f"+{FIRST_FREE + index}" for index in random_.sample(range(OPTED_OUT), PHONES - OUT)]
    return random_.sample(out + free, PHONES)


def measure(stage: Stage, rounds: int, seconds: float) -> Figure:
    """Numbers a second, ours and those of a handler that looks nothing up."""
    prepare(stage)
    asked = phones()
    body = [pb.BatchFilterRequest(account_id=ACCOUNT, phones=asked).SerializeToString()]
    with Client(stage.target) as client:
        verdicts = client.batch_filter(ACCOUNT, asked).verdicts
    right = [Verdict.OPTED_OUT if int(phone) < FIRST_OUT + OPTED_OUT else Verdict.SENDABLE for phone in asked]
    if list(verdicts) != right:
        raise BenchError("P3: a verdict is wrong")
    ours, nothing = [], []
    with yardstick("batch") as target:
        for _ in range(rounds):
            options = {"connections": 1, "inflight": _INFLIGHT, "seconds": max(seconds, 3.0)}
            # The whole answer tells it apart: each must be the one that was just checked.
            seen = stage.load(METHOD, body, head=PHONES + 200, **options)  # type: ignore[arg-type]
            if len(seen.heads) != 1:
                raise BenchError("P3: the same list was answered in two ways")
            ours.append(seen.rate * PHONES)
            nothing.append(stage.load(METHOD, body, target=target, **options).rate * PHONES)  # type: ignore[arg-type]
    return Figure(
        name="P3",
        work="BatchFilter, 100,000 numbers a call, 2 % opted out, 1,000,000 opt-outs, warm",
        unit="numbers/s",
        ours=ours,
        yardstick=nothing,
        bounds=[
            Bound("of the numbers/s without a look-up", ratios(ours, nothing).median, 0.50),
            Bound("numbers/s a worker", Spread.of(ours).median, 1_000_000),
        ],
    )
