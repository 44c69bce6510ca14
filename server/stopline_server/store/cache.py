"""The copy in Redis: a store that wraps the one that keeps the truth.

The order is: commit, then Redis, then acknowledge. What Redis cannot be told is fenced in the truth before it is
acknowledged, so that no process trusts the copy. A miss is not a "no", and doubt goes to the truth: see
docs/consistency.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from stopline_server.domain.consent import WHOLE_ACCOUNT, Consent, Entry, NewEvent, Status
from stopline_server.errors import StoreUnavailableError
from stopline_server.store import scripts
from stopline_server.store.copies import field_of, keys_of, standing_of, value_of
from stopline_server.store.fill import Filler
from stopline_server.store.link import Argument, Link, LinkError
from stopline_server.store.protocol import CacheableStore, Levels, LookUp, Recorded
from stopline_server.store.view import Clock, View, Views, ViewTimes, suspended_clock

T = TypeVar("T")

log = structlog.get_logger(__name__)

ASK_FIELDS = 1_000
"""The most phones in one command, so that Redis is never held for more than about half a millisecond."""

_WARM_POLL_S = 0.01

_APPLY = scripts.sha(scripts.APPLY)


class CacheStore:
    """A `ConsentStore` that answers from Redis where it may, and from the store below where it must."""

    def __init__(
        self,
        inner: CacheableStore,
        redis_url: str,
        *,
        timeout_s: float = 0.2,
        times: ViewTimes | None = None,
        clock: Clock = suspended_clock,
    ) -> None:
        """Make it; `start` connects.

        Args:
            inner: The store that keeps the truth.
            redis_url: `redis://`, `rediss://` or `unix://`.
            timeout_s: The longest wait for an answer of Redis, in seconds; then the truth is asked.
            times: The protocol's times; the defaults are those of docs/consistency.md.
            clock: Seconds that count suspended time.
        """
        self._inner = inner
        self._times = times or ViewTimes()
        self._link = Link(redis_url, timeout_s=timeout_s, scripts=scripts.ALL)
        self._views = Views(inner.node_view, self._clear_fences, self._times, clock)
        self._filler = Filler(inner, self._link, self._views)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._clearing: set[str] = set()

    def start(self) -> None:
        """Begin to read views and to connect. Until both have happened, every answer is the inner store's."""
        self._link.start()
        self._views.start()

    async def warm(self, timeout_s: float) -> None:
        """Wait until the copy can be used, or until the time is over: an opt-out before that pays the fence's wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.usable:  # noqa: ASYNC110  # two things change it, and this runs once in a life
                    await asyncio.sleep(_WARM_POLL_S)

    @property
    def usable(self) -> bool:
        """Whether the copy is used now, rather than the inner store alone."""
        return self._link.up and self._views.pin() is not None

    async def record(self, event: NewEvent) -> Recorded:
        """See `ConsentStore.record`."""
        # In a task of its own: a caller that leaves between the commit and Redis must not leave Redis behind.
        return await asyncio.shield(self._spawn(self._record(event)))

    async def look_up(self, account: str, phones: Sequence[int], program: str) -> LookUp:
        """See `ConsentStore.look_up`."""
        view = self._views.pin()
        if view is None or account in view.fences or not self._link.up:
            return await self._inner.look_up(account, phones, program)
        try:
            answer = await self._ask(view, account, phones, program)
        except LinkError:
            return await self._inner.look_up(account, phones, program)
        # Asked after the answer, which is stricter than before the command: the view was valid while it was sent,
        # however long this process was paused in between.
        if not self._views.holds(view):
            answer = None
        elif answer is None:
            self._fill(view, account)
        return answer or await self._inner.look_up(account, phones, program)

    async def get_consent(self, account: str, phone: int, program: str) -> tuple[Consent, int]:
        """See `ConsentStore.get_consent`."""
        return await self._inner.get_consent(account, phone, program)

    async def list_timeline(self, account: str, phone: int, *, before: int | None, limit: int) -> list[Entry]:
        """See `ConsentStore.list_timeline`."""
        return await self._inner.list_timeline(account, phone, before=before, limit=limit)

    async def ping(self) -> None:
        """See `ConsentStore.ping`. Redis is not asked: without it the answers are slower, and as right."""
        await self._inner.ping()

    async def close(self) -> None:
        """See `ConsentStore.close`."""
        await self._views.stop()
        if self._tasks:
            # A write that is committed is still told to Redis, or fenced.
            await asyncio.wait(self._tasks, timeout=self._times.fence_wait + 1)
        for task in self._tasks:
            task.cancel()
        await self._link.close()
        await self._inner.close()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _record(self, event: NewEvent) -> Recorded:
        recorded = await self._inner.record(event)
        # A repeated message id comes here too: it may be the retry of a writer that died before this line.
        if recorded.rows and recorded.entry is not None and not await self._apply(recorded):
            await self._fence(recorded)
        return recorded

    async def _apply(self, recorded: Recorded) -> bool:
        """Write the rows into the copy and into a fill on its way. False where that is not certain."""
        view = self._views.pin()
        if view is None:
            return False
        account = recorded.consent.account
        rows: list[Argument] = []
        for row in recorded.rows:
            rows += (field_of(row.phone, row.program), value_of(row.standing))
        try:
            await self._link.ask("EVALSHA", _APPLY, 2, *keys_of(account, view.seq), recorded.version, *rows)
        except LinkError:
            return False
        return self._views.holds(view)

    async def _fence(self, recorded: Recorded) -> None:
        """Tell all processes through the truth not to trust the copy, and wait until they know.

        Raises:
            StoreUnavailableError: The fence could not be committed: the write must not be acknowledged.
        """
        await self._inner.raise_fence(recorded.consent.account)
        # Only an opt-out has to wait. A check that still answers "opted out" after an opt-in was acknowledged is late,
        # but texts nobody who did not ask for it.
        if any(row.status is Status.OPTED_OUT for row in recorded.rows):
            await asyncio.sleep(self._times.fence_wait)

    async def _ask(self, view: View, account: str, phones: Sequence[int], program: str) -> LookUp | None:
        """What the copy says, or None where there is no copy."""
        key, _ = keys_of(account, view.seq)
        found: dict[int, Levels] = {}
        versions = []
        step = ASK_FIELDS // 2 if program else ASK_FIELDS
        for start in range(0, max(len(phones), 1), step):
            piece = phones[start : start + step]
            # `@` travels with each piece: together they tell that this piece is of a complete copy.
            version, *values = await self._link.ask("HMGET", key, "@", *_fields(piece, program))
            if version is None:
                return None
            versions.append(int(version))
            _gather(found, piece, values, program)
        # The pieces may be of different versions: each is at least as new as the oldest.
        return LookUp(min(versions), found)

    def _fill(self, view: View, account: str) -> None:
        if self._filler.wants(account):
            self._spawn(self._filler.fill(view, account))

    def _clear_fences(self, view: View) -> None:
        if not self._link.up:
            return
        for account, fence_seq in view.fences.items():
            if account not in self._clearing:
                self._clearing.add(account)
                self._spawn(self._clear_fence(view, account, fence_seq))

    async def _clear_fence(self, view: View, account: str, fence_seq: int) -> None:
        """Drop the copy that must not be trusted, then the fence, if it still is the one that was seen."""
        try:
            # The fill hash too: a fill on its way may have read before the write that is fenced.
            await self._link.ask("UNLINK", *keys_of(account, view.seq))
            if self._views.holds(view):
                await self._inner.drop_fence(account, fence_seq)
        except (LinkError, StoreUnavailableError):
            log.debug("a fence could not be cleared; the next view tries again")
        finally:
            self._clearing.discard(account)


def _fields(phones: Sequence[int], program: str) -> list[str]:
    if not program:
        return [str(phone) for phone in phones]
    return [field for phone in phones for field in (field_of(phone, WHOLE_ACCOUNT), field_of(phone, program))]


def _gather(found: dict[int, Levels], phones: Sequence[int], values: Sequence[bytes | None], program: str) -> None:
    """Add what a piece's values say. Most phones have none: they cost one comparison."""
    if not program:
        for phone, value in zip(phones, values, strict=True):
            if value is not None:
                found[phone] = Levels(standing_of(value), None)
        return
    for phone, whole, own in zip(phones, values[::2], values[1::2], strict=True):
        if whole is not None or own is not None:
            found[phone] = Levels(standing_of(whole), standing_of(own))
