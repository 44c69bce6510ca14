"""The composition root: the one place that names concrete classes, and the life of a worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from stopline_server.errors import StoreUnavailableError
from stopline_server.rpc.limits import Limits
from stopline_server.rpc.server import RpcServer
from stopline_server.settings import MigrateOnStart, Settings
from stopline_server.store import migrations
from stopline_server.store.cache import CacheStore
from stopline_server.store.postgres import PostgresStore, is_transient
from stopline_server.store.protocol import ConsentStore

log = structlog.get_logger(__name__)

_RETRY_S = 0.05
_RETRY_MOST_S = 0.5
_HEALTH_EVERY_S = 0.5
_PING_TIMEOUT_S = 1.0
_WARM_S = 0.5
"""How long a start waits for Redis: without it, everything is served, but more slowly."""


def limits_of(settings: Settings) -> Limits:
    """The limits that the API keeps and tells."""
    return Limits(
        batch_phones=settings.max_batch_phones,
        chunk_phones=settings.max_chunk_phones,
        body_bytes=settings.max_body_bytes,
        id_bytes=settings.max_id_bytes,
        phone_chars=settings.max_phone_chars,
        page_size=settings.max_page_size,
        message_bytes=settings.max_message_bytes,
    )


class App:
    """One worker: its stores, its server, and the watch over both."""

    def __init__(self, settings: Settings, *, embedded: bool) -> None:
        """Build it; `run` does the work.

        Args:
            settings: With the addresses of both stores filled in.
            embedded: Whether the database is the one that `serve` started: it belongs to this server alone, which
                may therefore bring its schema up to date.
        """
        self._settings = settings
        self._embedded = embedded
        self._cache = CacheStore(
            PostgresStore(
                settings.database_url,
                pool_size=settings.database_pool_size,
                timeout_s=settings.database_timeout_s,
            ),
            settings.redis_url,
            timeout_s=settings.redis_timeout_ms / 1_000,
        )
        self._store: ConsentStore = self._cache
        self._server = RpcServer(
            self._store,
            listen=settings.listen,
            limits=limits_of(settings),
            schema_revision=migrations.head(),
            program_keywords=settings.keyword_scope.value == "program",
        )

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Serve until `stop` is set.

        Args:
            stop: Set by a signal.
            on_ready: Called once, when the stores answer and calls are served.

        Raises:
            SchemaError: The database's schema is not this server's, and it may not change it.
        """
        # The port answers from the start: health says NOT_SERVING and every call UNAVAILABLE until the stores answer.
        await self._server.start()
        life = asyncio.create_task(self._live(on_ready), name="life")
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({life, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(life, stopped)

    async def _end(self, life: asyncio.Task[None], stopped: asyncio.Task[bool]) -> None:
        for task in (life, stopped):
            task.cancel()
        await self._server.stop(self._settings.shutdown_grace_s)
        await self._store.close()
        with contextlib.suppress(asyncio.CancelledError):
            await life  # its error is the reason of the end

    async def _live(self, on_ready: Callable[[], None]) -> None:
        await self._prepare_schema()
        self._cache.start()
        await self._cache.warm(_WARM_S)
        while True:
            serving = await self._answers()
            if serving != self._server.serving:
                await self._server.set_serving(serving)
                log.info("serving" if serving else "not serving: the consent store does not answer")
            if serving:
                on_ready()
                on_ready = _nothing
            await asyncio.sleep(_HEALTH_EVERY_S)

    async def _answers(self) -> bool:
        # Twice: where this process itself had no turn for so long, the first time is over before it can look.
        for _ in range(2):
            try:
                await asyncio.wait_for(self._store.ping(), _PING_TIMEOUT_S)
            except TimeoutError:
                continue
            except StoreUnavailableError:
                return False
            return True
        return False

    async def _prepare_schema(self) -> None:
        """Wait until Postgres answers, then see to the schema."""
        pause, told = _RETRY_S, False
        while True:
            try:
                await self._check_schema()
                return
            except Exception as error:
                if not is_transient(error):
                    raise
                if pause >= _RETRY_MOST_S and not told:
                    told = True
                    log.warning("waiting for Postgres", why=type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_MOST_S)

    async def _check_schema(self) -> None:
        url = self._settings.database_url
        # The question has a bound; the work has none of its own: another server may be at it, for as long as it takes.
        async with asyncio.timeout(self._settings.database_timeout_s):
            revision = await migrations.read_revision(url)
        state = migrations.state_of(revision)
        when = self._settings.migrate_on_start
        own = self._embedded or state is migrations.SchemaState.EMPTY
        may = when is MigrateOnStart.ALWAYS or (when is MigrateOnStart.AUTO and own)
        if may and state in {migrations.SchemaState.EMPTY, migrations.SchemaState.OLD}:
            revision = await migrations.upgrade_async(url)
            log.info("the database's schema was brought up to date", revision=revision)
        migrations.require_current(revision)


def _nothing() -> None:
    pass
