"""How an account's copy comes into Redis: whole, and never older than a write that came between.

The steps and their order are docs/consistency.md, "Fill". A fill has its own short deadline and belongs to no caller.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence

import structlog

from stopline_server.errors import StoreUnavailableError
from stopline_server.store import scripts
from stopline_server.store.copies import field_of, keys_of, value_of
from stopline_server.store.link import Argument, Link, LinkError
from stopline_server.store.protocol import AccountRow, CacheableStore
from stopline_server.store.view import View, Views

log = structlog.get_logger(__name__)

MAX_FILLS = 4
"""The most fills of one process at a time: the others are answered from the truth and filled by a later miss."""
FILL_TOKEN_MS = 30_000
COPY_LIFE_MS = 3_600_000
_ADD_ROWS = 1_000
"""Rows in one command: Redis is held for about a millisecond, and Lua can unpack them."""

_TAKE = scripts.sha(scripts.TAKE_FILL)
_ADD = scripts.sha(scripts.ADD_TO_FILL)
_INSTALL = scripts.sha(scripts.INSTALL_FILL)


class _LostFillError(Exception):
    """The token is gone: somebody cleared it, or it ran out."""


class Filler:
    """Loads accounts' copies, each at most once at a time in this process, and by its token in all."""

    def __init__(self, truth: CacheableStore, link: Link, views: Views) -> None:
        self._truth = truth
        self._link = link
        self._views = views
        self._filling: set[str] = set()

    def wants(self, account: str) -> bool:
        """Whether a fill of this account may start now."""
        return account not in self._filling and len(self._filling) < MAX_FILLS

    async def fill(self, view: View, account: str) -> None:
        """Load one account's copy, or leave it absent. Raises nothing."""
        self._filling.add(account)
        try:
            await self._fill(view.seq, account)
        except (LinkError, StoreUnavailableError, _LostFillError) as error:
            # What was written stands under a name that nobody reads, and runs out.
            log.debug("a fill was given up", why=type(error).__name__)
        finally:
            self._filling.discard(account)

    async def _fill(self, seq: int, account: str) -> None:
        copy, fill = keys_of(account, seq)
        token = secrets.token_hex(16)
        temporary = f"tmp:{fill[5:]}:{token}"
        if await self._ask(seq, _TAKE, [fill], token, FILL_TOKEN_MS) != 1:
            return
        # The snapshot is taken after the token's answer: a write that it misses finds the token and leaves its rows.
        sent = 0
        async for piece in self._truth.snapshot(account):
            fields = ["@", str(piece)] if isinstance(piece, int) else _fields_and_values(piece)
            for start in range(0, len(fields), 2 * _ADD_ROWS):
                part = fields[start : start + 2 * _ADD_ROWS]
                if await self._ask(seq, _ADD, [fill, temporary], token, FILL_TOKEN_MS, *part) != 1:
                    raise _LostFillError
                sent += len(part) // 2
        # Spread, so that accounts filled together do not run out together.
        life = int(COPY_LIFE_MS * random.uniform(0.9, 1.1))  # noqa: S311  # no secret
        await self._ask(seq, _INSTALL, [fill, temporary, copy], token, sent, life)

    async def _ask(self, seq: int, script: str, keys: Sequence[str], *arguments: Argument) -> object:
        view = self._views.pin()
        if view is None or view.seq != seq:
            raise _LostFillError
        return await self._link.ask("EVALSHA", script, len(keys), *keys, *arguments)


def _fields_and_values(rows: Sequence[AccountRow]) -> list[str]:
    fields: list[str] = []
    for phone, program, standing in rows:
        fields += (field_of(phone, program), value_of(standing))
    return fields
