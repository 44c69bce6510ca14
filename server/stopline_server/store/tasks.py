"""Ending a background task for certain."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 0.1


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task until it has ended. What it ends with is dropped."""
    while task is not None and not task.done():
        # Again and again: a library in its depths may take a cancellation for its own (redis-py does, in a connect).
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
    if task is not None and not task.cancelled():
        task.exception()
