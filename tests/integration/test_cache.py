"""The copy in Redis: when it answers, when it must not, and what it costs when Redis is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
import redis.asyncio

from stopline_server.domain.consent import NewEvent
from stopline_server.domain.keywords import DEFAULT_LEXICON, read_body
from stopline_server.domain.verdicts import Verdict, judge
from stopline_server.embedded import ValkeyServer
from stopline_server.errors import StoreUnavailableError
from stopline_server.store.cache import CacheStore
from stopline_server.store.copies import keys_of
from stopline_server.store.memory import MemoryStore
from stopline_server.store.protocol import LookUp, NodeView
from stopline_server.store.view import ViewTimes

QUICK = ViewTimes(refresh=0.05, valid=0.3, fence_wait=0.35)
ANN, BOB = 14155550100, 447700900123
ACCOUNT = "acme"
OUT, SENDABLE = Verdict.OPTED_OUT, Verdict.SENDABLE


class Truth(MemoryStore):
    """The memory store, which counts what it is asked, and can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.look_ups = self.fences_raised = 0
        self.views_fail = self.fences_fail = False
        self.before_snapshot = asyncio.Event()
        self.before_snapshot.set()

    async def look_up(self, account: str, phones: Sequence[int], program: str) -> LookUp:
        self.look_ups += 1
        return await super().look_up(account, phones, program)

    async def raise_fence(self, account: str) -> None:
        if self.fences_fail:
            raise StoreUnavailableError("down")
        self.fences_raised += 1
        await super().raise_fence(account)

    async def node_view(self) -> NodeView:
        if self.views_fail:
            raise StoreUnavailableError("down")
        return await super().node_view()


def inbound(phone: int, body: str, number: int) -> NewEvent:
    return NewEvent(ACCOUNT, phone, "", f"m{number}", number * 1_000_000, body, read_body(body, DEFAULT_LEXICON))


async def verdict(cache: CacheStore, phone: int, account: str = ACCOUNT) -> Verdict:
    found = (await cache.look_up(account, [phone], "")).found
    return judge(*found[phone]) if phone in found else SENDABLE


@asynccontextmanager
async def opened(truth: Truth, url: str) -> AsyncIterator[CacheStore]:
    cache = CacheStore(truth, url, timeout_s=0.2, times=QUICK)
    cache.start()
    await cache.warm(1)
    yield cache
    await cache.close()


async def filled(cache: CacheStore, truth: Truth) -> None:
    """Ask until the copy answers."""
    for _ in range(200):
        before = truth.look_ups
        await cache.look_up(ACCOUNT, [ANN], "")
        if truth.look_ups == before:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the copy never answered")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "valkey") as server:
        yield server


async def test_a_filled_copy_answers_alone_also_for_numbers_never_seen(redis_url: str) -> None:
    truth = Truth()
    async with opened(truth, redis_url) as cache:
        await cache.record(inbound(ANN, "STOP", 1))
        await filled(cache, truth)
        before = truth.look_ups
        assert [await verdict(cache, phone) for phone in (ANN, BOB)] == [OUT, SENDABLE]
        await cache.record(inbound(BOB, "STOP", 2))
        assert await verdict(cache, BOB) is OUT
        await cache.record(inbound(ANN, "START", 3))
        assert await verdict(cache, ANN) is SENDABLE
        assert truth.look_ups == before
        assert (await cache.look_up(ACCOUNT, [ANN], "")).version == 3


async def test_another_process_sees_a_write_at_once(redis_url: str) -> None:
    truth = Truth()
    async with opened(truth, redis_url) as one, opened(truth, redis_url) as other:
        await filled(other, truth)
        before = truth.look_ups
        await one.record(inbound(ANN, "STOP", 1))
        assert await verdict(other, ANN) is OUT
        assert truth.look_ups == before


async def test_a_write_during_a_fill_is_in_the_copy(redis_url: str) -> None:
    class Slow(Truth):
        async def snapshot(self, account: str):  # type: ignore[no-untyped-def]
            pieces = [piece async for piece in super().snapshot(account)]
            read.set()
            await go_on.wait()
            for piece in pieces:
                yield piece

    read, go_on = asyncio.Event(), asyncio.Event()
    truth = Slow()
    async with opened(truth, redis_url) as cache:
        assert await verdict(cache, ANN) is SENDABLE
        await read.wait()
        await cache.record(inbound(ANN, "STOP", 1))
        go_on.set()
        await filled(cache, truth)
        assert await verdict(cache, ANN) is OUT
        assert (await cache.look_up(ACCOUNT, [ANN], "")).version == 1


async def test_a_fill_whose_pieces_were_lost_is_not_installed(redis_url: str) -> None:
    class Slow(Truth):
        async def snapshot(self, account: str):  # type: ignore[no-untyped-def]
            async for piece in super().snapshot(account):
                yield piece
                if isinstance(piece, int):
                    async with redis.asyncio.from_url(redis_url) as client:
                        for key in await client.keys("tmp:*"):
                            await client.unlink(key)

    truth = Slow()
    async with opened(truth, redis_url) as cache:
        await cache.record(inbound(ANN, "STOP", 1))
        for _ in range(5):
            assert await verdict(cache, ANN) is OUT
            await asyncio.sleep(0.02)
        async with redis.asyncio.from_url(redis_url) as client:
            assert not await client.exists(keys_of(ACCOUNT, 1)[0])


async def test_an_evicted_copy_is_a_miss_not_a_no(redis_url: str) -> None:
    truth = Truth()
    async with opened(truth, redis_url) as cache:
        await cache.record(inbound(ANN, "STOP", 1))
        await filled(cache, truth)
        async with redis.asyncio.from_url(redis_url) as client:
            await client.unlink(keys_of(ACCOUNT, 1)[0])
        assert await verdict(cache, ANN) is OUT


async def test_forgotten_scripts_are_loaded_again(redis_url: str) -> None:
    truth = Truth()
    async with opened(truth, redis_url) as cache:
        await filled(cache, truth)
        async with redis.asyncio.from_url(redis_url) as client:
            await client.script_flush()
        await cache.record(inbound(ANN, "STOP", 1))
        assert await verdict(cache, ANN) is OUT
        await cache.warm(1)
        raised = truth.fences_raised
        await cache.record(inbound(BOB, "STOP", 2))
        assert truth.fences_raised == raised


async def test_a_stop_that_redis_does_not_hear_of_is_fenced_before_it_is_acknowledged(valkey: ValkeyServer) -> None:
    truth = Truth()
    async with opened(truth, valkey.url) as cache, opened(truth, valkey.url) as other:
        await filled(other, truth)
        valkey.pause()  # it keeps the old copy, and answers nothing
        begin = monotonic()
        await cache.record(inbound(ANN, "STOP", 1))
        assert monotonic() - begin >= QUICK.fence_wait
        assert truth.fences_raised == 1
        valkey.resume()
        # From the first moment on nobody trusts the copy, although it is there again.
        assert await verdict(other, ANN) is OUT
        assert await verdict(cache, ANN) is OUT
        for _ in range(100):
            if not (await truth.node_view()).fences:
                break
            assert await verdict(other, ANN) is OUT
            await asyncio.sleep(0.02)
        assert not (await truth.node_view()).fences
        await asyncio.sleep(2 * QUICK.refresh)
        await filled(other, truth)
        assert await verdict(other, ANN) is OUT


async def test_an_opt_in_does_not_wait_for_the_fence(valkey: ValkeyServer) -> None:
    truth = Truth()
    async with opened(truth, valkey.url) as cache:
        valkey.stop()
        begin = monotonic()
        await cache.record(inbound(ANN, "START", 1))
        assert monotonic() - begin < QUICK.fence_wait
        assert truth.fences_raised == 1


async def test_a_write_that_cannot_be_fenced_is_not_acknowledged(valkey: ValkeyServer) -> None:
    truth = Truth()
    async with opened(truth, valkey.url) as cache:
        valkey.stop()
        truth.fences_fail = True
        with pytest.raises(StoreUnavailableError):
            await cache.record(inbound(ANN, "STOP", 1))


async def test_without_redis_everything_is_answered_and_with_it_again_it_is_used(valkey: ValkeyServer) -> None:
    truth = Truth()
    async with opened(truth, valkey.url) as cache:
        await cache.record(inbound(ANN, "STOP", 1))
        valkey.stop()
        for phone, expected in ((ANN, OUT), (BOB, SENDABLE)):
            assert await verdict(cache, phone) is expected
        valkey.start()
        await cache.warm(5)
        await filled(cache, truth)
        assert await verdict(cache, ANN) is OUT


async def test_redis_absent_at_the_start(tmp_path: Path) -> None:
    truth = Truth()
    async with opened(truth, f"unix://{tmp_path}/nobody.sock") as cache:
        assert not cache.usable
        await cache.record(inbound(ANN, "STOP", 1))
        assert await verdict(cache, ANN) is OUT


async def test_a_paused_redis_costs_a_bounded_wait_and_then_none(valkey: ValkeyServer) -> None:
    truth = Truth()
    async with opened(truth, valkey.url) as cache:
        await filled(cache, truth)
        valkey.pause()
        waits = []
        for _ in range(6):
            begin = monotonic()
            assert await verdict(cache, ANN) is SENDABLE
            waits.append(monotonic() - begin)
        assert max(waits) < 0.5
        # Given up on: nobody waits for it any more.
        assert waits[-1] < 0.05
        valkey.resume()
        await cache.warm(5)
        await filled(cache, truth)


async def test_an_old_view_is_not_decided_by(redis_url: str) -> None:
    truth = Truth()
    async with opened(truth, redis_url) as cache:
        await filled(cache, truth)
        truth.views_fail = True
        await asyncio.sleep(QUICK.valid + QUICK.refresh)
        assert not cache.usable
        before = truth.look_ups
        assert await verdict(cache, ANN) is SENDABLE
        assert truth.look_ups == before + 1


async def test_a_caller_that_leaves_does_not_leave_redis_behind(redis_url: str) -> None:
    class SlowCommit(Truth):
        async def record(self, event: NewEvent):  # type: ignore[no-untyped-def]
            recorded = await super().record(event)
            committed.set()
            await asyncio.sleep(0.05)
            return recorded

    committed = asyncio.Event()
    truth = SlowCommit()
    async with opened(truth, redis_url) as cache:
        await filled(cache, truth)
        call = asyncio.create_task(cache.record(inbound(ANN, "STOP", 1)))
        await committed.wait()
        call.cancel()
        await asyncio.sleep(0.2)
        before = truth.look_ups
        assert await verdict(cache, ANN) is OUT
        assert truth.look_ups == before


async def test_a_repeated_message_repairs_what_a_dead_writer_left(redis_url: str) -> None:
    truth = Truth()
    async with opened(truth, redis_url) as cache:
        await filled(cache, truth)
        await truth.record(inbound(ANN, "STOP", 1))  # committed, and then its process died
        assert await verdict(cache, ANN) is SENDABLE  # not acknowledged: not promised
        assert (await cache.record(inbound(ANN, "STOP", 1))).duplicate
        assert await verdict(cache, ANN) is OUT


async def test_an_older_row_never_replaces_a_newer_one(redis_url: str) -> None:
    truth = Truth()
    async with opened(truth, redis_url) as cache:
        await filled(cache, truth)
        early = await truth.record(inbound(ANN, "START", 1))
        await cache.record(inbound(ANN, "STOP", 2))
        assert await cache._apply(early)  # a command that runs after its caller gave up
        assert await verdict(cache, ANN) is OUT
        assert (await cache.look_up(ACCOUNT, [ANN], "")).version == 2
