"""A list of numbers to verdicts: the same steps for BatchFilter and for each chunk of StreamFilter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stopline.v1 import consent_service_pb2
from stopline_server.domain.phone import read_phones
from stopline_server.domain.verdicts import Context, Verdict, judge
from stopline_server.rpc.checks import Checks
from stopline_server.rpc.convert import batch_response
from stopline_server.store.protocol import ConsentStore

_READ_AT_ONCE = 500
"""Numbers read in one turn of the event loop, so that a long list does not make single checks wait: at most 8 ms."""


class SeenPhones(Protocol):
    """The numbers that a list had already."""

    def __contains__(self, phone: int, /) -> bool: ...

    def add(self, phone: int, /) -> None:
        """Note one."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of each number of a list."""

    account: str
    context: Context
    region: str
    program: str
    skip_duplicates: bool


def question(checks: Checks, request: consent_service_pb2.BatchFilterRequest, path: str = "") -> Question:
    """The question that a request asks, checked. `path` is where in the message it stands, as in `batch.`."""
    return Question(
        account=checks.id(f"{path}account_id", request.account_id),
        context=checks.list_context(request.context, f"{path}context"),
        region=checks.region(request.default_region, f"{path}default_region"),
        program=checks.optional_id(f"{path}program_id", request.program_id),
        skip_duplicates=request.skip_duplicates,
    )


async def answer(
    store: ConsentStore, checks: Checks, asked: Question, texts: Sequence[str], seen: SeenPhones
) -> consent_service_pb2.BatchFilterResponse:
    """One verdict for each number, in order.

    Args:
        store: Answers what is recorded.
        checks: The limits.
        asked: What is asked of each number.
        texts: The numbers as given. What is no number, or longer than one can be, gets a verdict of its own: a bad
            row of a list must not cost the others their answer.
        seen: The numbers that the list had before; those of `texts` are added if duplicates are asked for.
    """
    phones: list[int] = []
    longest = checks.limits.phone_chars
    for start in range(0, len(texts), _READ_AT_ONCE):
        piece = [text if len(text) <= longest else "" for text in texts[start : start + _READ_AT_ONCE]]
        phones += read_phones(piece, asked.region)
        await asyncio.sleep(0)
    looked_up = await store.look_up(asked.account, [phone for phone in phones if phone], asked.program)
    found = looked_up.found
    verdicts = []
    for phone in phones:
        if not phone:
            verdict = Verdict.INVALID_NUMBER
        elif asked.skip_duplicates and phone in seen:
            verdict = Verdict.DUPLICATE
        else:
            levels = found.get(phone)
            verdict = judge(levels.account, levels.program) if levels else Verdict.SENDABLE
            if asked.skip_duplicates:
                seen.add(phone)
        verdicts.append(verdict)
    return batch_response(verdicts, asked.context, looked_up.version)
