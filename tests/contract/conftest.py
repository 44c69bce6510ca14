"""The stores and the wire that the one contract suite runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
import pytest
from tests.contract.subjects import StoreSubject, Subject, WireSubject

from stopline_server.rpc.limits import Limits
from stopline_server.rpc.server import RpcServer
from stopline_server.store.cache import CacheStore
from stopline_server.store.memory import MemoryStore
from stopline_server.store.postgres import PostgresStore
from stopline_server.store.protocol import CacheableStore, ConsentStore
from stopline_server.store.view import ViewTimes

SUBJECTS = ["memory", "postgres", "cache-memory", "cache-postgres", "wire"]
# The order between the times is what counts: a test does not wait for the real ones.
QUICK = ViewTimes(refresh=0.05, valid=0.3, fence_wait=0.35)


@asynccontextmanager
async def open_subject(kind: str, database_url: str, redis_url: str) -> AsyncIterator[Subject]:
    """One of `SUBJECTS`, closed at the end."""
    async with AsyncExitStack() as cleanup:
        store: ConsentStore
        inner: CacheableStore = MemoryStore() if kind.endswith("memory") else PostgresStore(database_url)
        store = inner
        if kind not in {"memory", "postgres"}:
            store = cache = CacheStore(inner, redis_url, times=QUICK)
            cache.start()
            await cache.warm(5)
            assert cache.usable
        cleanup.push_async_callback(store.close)
        if kind != "wire":
            yield StoreSubject(store)
            return
        server = RpcServer(store, listen="127.0.0.1:0", limits=Limits(), schema_revision="test", program_keywords=True)
        await server.start()
        cleanup.push_async_callback(server.stop, 1)
        await server.set_serving(True)
        channel = await cleanup.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
        yield WireSubject(channel)


@pytest.fixture(params=SUBJECTS)
def place(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """A kind of subject, and the addresses that it needs. Not a coroutine: the servers start outside of any loop."""
    if request.param == "memory":
        return request.param, "", ""
    return request.param, request.getfixturevalue("database_url"), request.getfixturevalue("redis_url")


@pytest.fixture
async def subject(place: tuple[str, str, str]) -> AsyncIterator[Subject]:
    """Each of the subjects in turn, empty."""
    async with open_subject(*place) as opened:
        yield opened
