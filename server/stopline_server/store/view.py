"""What a process may believe about the cache, and for how long (docs/consistency.md, "The view").

A view is read from Postgres in one statement, twice a second. It is valid for 2 s from just before its query was sent:
whoever raises a fence and then waits longer than that knows that no process still decides by a view without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from stopline_server.errors import StoreUnavailableError
from stopline_server.store.protocol import NodeView
from stopline_server.store.tasks import end

Clock = Callable[[], float]


def suspended_clock() -> float:
    """Seconds on a clock that also counts while the machine is suspended: a view must not outlive a sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if not hasattr(time, "CLOCK_BOOTTIME"):  # pragma: no cover  # not Linux: the nearest that there is
    suspended_clock = time.monotonic


@dataclass(frozen=True, slots=True)
class ViewTimes:
    """The protocol's times, in seconds. Tests shorten them together; the order between them is what counts."""

    refresh: float = 0.5
    valid: float = 2.0
    fence_wait: float = 2.2
    """Longer than `valid`: the margin is for clocks of different machines that do not tick alike."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One reading. An operation pins one before its first command, and decides only by that one."""

    seq: int
    fences: Mapping[str, int]
    expires_at: float


class Views:
    """Keeps the latest view."""

    def __init__(
        self,
        read: Callable[[], Awaitable[NodeView]],
        on_view: Callable[[View], None],
        times: ViewTimes,
        clock: Clock = suspended_clock,
    ) -> None:
        """Make it; `start` begins to read.

        Args:
            read: Reads node and fences from the truth.
            on_view: Told of each new view. Must not block.
            times: How often to read and how long to believe.
            clock: Seconds that never go back.
        """
        self._read = read
        self._on_view = on_view
        self._times = times
        self._clock = clock
        self._latest: View | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read views."""
        self._task = asyncio.create_task(self._poll(), name="cache-view")

    async def stop(self) -> None:
        """Stop reading. The latest view stays valid for as long as it was."""
        await end(self._task)

    def pin(self) -> View | None:
        """The latest view, if it is valid now."""
        view = self._latest
        return view if view is not None and self.holds(view) else None

    def holds(self, view: View) -> bool:
        """Whether a view is still valid."""
        return self._clock() < view.expires_at

    async def refresh(self) -> None:
        """Read one view now.

        Raises:
            StoreUnavailableError: The truth did not answer; the view before it runs out by itself.
        """
        sent = self._clock()
        try:
            # A reading that takes longer than it would be valid is of no use.
            node = await asyncio.wait_for(self._read(), self._times.valid)
        except TimeoutError as error:
            raise StoreUnavailableError("the consent store did not answer in time; try again") from error
        self._latest = View(node.seq, node.fences, sent + self._times.valid)
        self._on_view(self._latest)

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await self.refresh()
            await asyncio.sleep(self._times.refresh)
