"""The main job at a day's size: 200,000 numbers in mixed spellings, 4,000 STOPs, 400 STARTs, every verdict checked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import grpc.aio
import phonenumbers
import pytest

from stopline.v1 import consent_pb2, consent_service_pb2, consent_service_pb2_grpc
from stopline_server.rpc.limits import Limits
from stopline_server.rpc.server import RpcServer
from stopline_server.store.cache import CacheStore
from stopline_server.store.postgres import PostgresStore

NUMBERS, STOPS, STARTS = 200_000, 4_000, 400
CHUNK = 20_000
ACCOUNT = "campaign"
# Mobile ranges that are valid in each country: first digits, and how many digits in all, after the calling code.
RANGES = {
    "US": (1, ["212555", "415867", "305496", "702333", "617953"], 10),
    "GB": (44, ["74", "75", "77", "78", "79"], 10),
    "FR": (33, ["6", "73", "74", "75", "76"], 9),
    "BR": (55, ["119", "219", "319", "419", "719"], 11),
    "IN": (91, ["98", "97", "96", "90", "88"], 10),
}
BODIES = ["STOP", "stop", " Stop. ", "UNSUBSCRIBE", "quit!", "End", "cancel", "Stop all", "opt-out", "STOP STOP"]
OPT_INS = ["START", "unstop", "Subscribe"]


def make_numbers(random_: random.Random) -> list[tuple[str, str]]:
    """Distinct valid numbers: region, and national digits."""
    numbers: set[tuple[str, str]] = set()
    while len(numbers) < NUMBERS:
        region = random_.choice(list(RANGES))
        _, heads, length = RANGES[region]
        head = random_.choice(heads)
        national = head + "".join(random_.choice("23456789") for _ in range(length - len(head)))
        numbers.add((region, national))
    return sorted(numbers)


def spell(random_: random.Random, region: str, national: str) -> str:
    """One of the ways in which people and programs write the number, with its country."""
    code = RANGES[region][0]
    style = random_.randrange(6)
    if style < 2:
        return f"+{code}{national}"
    if style == 2:
        return f"+{code} {national[:3]} {national[3:6]} {national[6:]}"
    if style == 3:
        return f"+{code}-({national[:3]})-{national[3:]}"
    if style == 4:
        return f"\u202a+{code}\u00a0{national[:4]}.{national[4:]}\u202c"
    return f"tel:+{code}-{national}"


@pytest.fixture
async def stub(database_url: str, redis_url: str) -> AsyncIterator[consent_service_pb2_grpc.ConsentServiceAsyncStub]:
    """A server as it ships: Postgres through Redis, on a socket."""
    store = CacheStore(PostgresStore(database_url), redis_url)
    store.start()
    await store.warm(5)
    assert store.usable
    server = RpcServer(store, listen="127.0.0.1:0", limits=Limits(), schema_revision="test", program_keywords=False)
    await server.start()
    await server.set_serving(True)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        yield consent_service_pb2_grpc.ConsentServiceStub(channel)
    await server.stop(1)
    await store.close()


async def test_every_verdict_of_a_campaign(stub: consent_service_pb2_grpc.ConsentServiceAsyncStub) -> None:
    random_ = random.Random(20_261_123)
    numbers = make_numbers(random_)
    for region, national in random_.sample(numbers, 200):
        assert phonenumbers.is_valid_number(phonenumbers.parse(national, region)), (region, national)
    stopped = random_.sample(numbers, STOPS)
    back = random_.sample(stopped, STARTS)

    # The model: who is blocked in the end.
    blocked = set(stopped) - set(back)

    gate = asyncio.Semaphore(64)

    async def hear(number: tuple[str, str], body: str, message_id: str) -> None:
        async with gate:
            answer = await stub.RecordInbound(
                consent_service_pb2.RecordInboundRequest(
                    account_id=ACCOUNT, message_id=message_id, from_phone=spell(random_, *number), body=body
                )
            )
        assert answer.consent_changed

    await asyncio.gather(*(hear(each, random_.choice(BODIES), f"out-{n}") for n, each in enumerate(stopped)))
    await asyncio.gather(*(hear(each, random_.choice(OPT_INS), f"in-{n}") for n, each in enumerate(back)))

    order = random_.sample(numbers, len(numbers))
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]

    async def requests() -> AsyncIterator[consent_service_pb2.StreamFilterRequest]:
        for number, chunk in enumerate(chunks):
            yield consent_service_pb2.StreamFilterRequest(
                chunk_id=number,
                batch=consent_service_pb2.BatchFilterRequest(
                    account_id=ACCOUNT if number == 0 else "",
                    context=consent_pb2.SEND_CONTEXT_BULK if number == 0 else 0,  # type: ignore[arg-type]
                    phones=[spell(random_, *each) for each in chunk],
                ),
            )

    wrong = answered = 0
    async for response in stub.StreamFilter(requests()):
        chunk = chunks[response.chunk_id]
        assert len(response.batch.verdicts) == len(chunk)
        for each, verdict in zip(chunk, response.batch.verdicts, strict=True):
            expected = consent_pb2.VERDICT_OPTED_OUT if each in blocked else consent_pb2.VERDICT_SENDABLE
            wrong += verdict != expected
            answered += 1
        labels = {label.verdict: label for label in response.batch.labels}
        out = labels[consent_pb2.VERDICT_OPTED_OUT]
        assert (out.label, out.count) == ("Unsubscribed from Text", sum(each in blocked for each in chunk))
    assert (answered, wrong) == (NUMBERS, 0)

    # National spellings with a default region are the same people.
    for each in [*random_.sample(stopped, 50), *random_.sample(numbers, 50)]:
        answer = await stub.IsSendable(
            consent_service_pb2.IsSendableRequest(account_id=ACCOUNT, phone=each[1], default_region=each[0])
        )
        assert answer.sendable is (each not in blocked)
