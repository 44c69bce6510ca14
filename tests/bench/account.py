"""The account that checks are measured on: a million opt-outs, warm."""

from __future__ import annotations

import time

import redis
from tests.bench.stage import BenchError, Stage

from stopline import Client, Verdict
from stopline_server.store.copies import keys_of

ACCOUNT = "bench"
OPTED_OUT = 1_000_000
FIRST_OUT, FIRST_FREE = 12_012_000_000, 12_022_000_000
"""The opted-out numbers are the million from the first on; those from the second on are recorded nowhere."""
_WARM_S = 120.0


def prepare(stage: Stage) -> None:
    """Load the account, and wait until its copy is filled.

    Raises:
        BenchError: It never was.
    """
    with redis.Redis.from_url(stage.redis_url) as cache, Client(stage.target) as client:
        key, _ = keys_of(ACCOUNT, 1)
        if cache.exists(key):
            return
        stage.load_account(ACCOUNT, range(FIRST_OUT, FIRST_OUT + OPTED_OUT), OPTED_OUT)
        deadline = time.monotonic() + _WARM_S
        while not cache.exists(key):
            if time.monotonic() > deadline:
                raise BenchError("the account's copy was never filled")
            if client.is_sendable(ACCOUNT, f"+{FIRST_OUT}").verdict is not Verdict.OPTED_OUT:
                raise BenchError("an opted-out number was told to be sendable")
            time.sleep(0.1)
