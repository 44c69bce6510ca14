"""What the contract suite speaks to: a store, or a server on a socket, through the same few words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from stopline.v1 import (
    consent_pb2,
    consent_service_pb2,
    consent_service_pb2_grpc,
    timeline_service_pb2,
    timeline_service_pb2_grpc,
)
from stopline_server.domain.consent import WHOLE_ACCOUNT, NewEvent
from stopline_server.domain.keywords import DEFAULT_LEXICON, Action, read_body
from stopline_server.domain.verdicts import Verdict, judge
from stopline_server.store.protocol import ConsentStore

_ACTIONS = {
    Action.NONE: "NONE",
    Action.OPT_OUT: "OPTED_OUT",
    Action.OPT_IN: "OPTED_IN",
    Action.HELP: "HELP",
    Action.REVIEW: "REVIEW",
}


@dataclass(frozen=True)
class Heard:
    """What became of an inbound text."""

    action: str
    changed: bool
    duplicate: bool
    status: str
    version: str


@dataclass(frozen=True)
class Line:
    """One entry of a timeline, newest first."""

    version: int
    action: str
    body: str
    message_id: str
    program: str
    before: str
    after: str
    superseded: bool
    written_at: int


class ReusedError(Exception):
    """The message id was used before for another text."""


class Subject(Protocol):
    """A store or a server. Programs are heard at their own level, as with `keyword_scope = program`."""

    async def hear(
        self, account: str, phone: int, body: str, message_id: str, at: int | None = None, program: str = ""
    ) -> Heard:
        """An inbound text; `at` in microseconds since 1970."""
        ...

    async def verdicts(self, account: str, phones: Sequence[int], program: str = "") -> list[Verdict]:
        """May these be texted?"""
        ...

    async def status(self, account: str, phone: int, program: str = "") -> tuple[str, int, int]:
        """Status, row version, and when the person wrote what changed it (0: nothing recorded)."""
        ...

    async def timeline(self, account: str, phone: int) -> list[Line]:
        """All entries of a phone."""
        ...


class StoreSubject:
    """A `ConsentStore`, with the domain's reading of bodies in front."""

    def __init__(self, store: ConsentStore) -> None:
        self.store = store

    async def hear(
        self, account: str, phone: int, body: str, message_id: str, at: int | None = None, program: str = ""
    ) -> Heard:
        from stopline_server.errors import MessageIdReusedError

        reading = read_body(body, DEFAULT_LEXICON)
        level = WHOLE_ACCOUNT if reading.whole_account else program
        try:
            recorded = await self.store.record(NewEvent(account, phone, level, message_id, at, body, reading))
        except MessageIdReusedError as error:
            raise ReusedError from error
        entry = recorded.entry
        action = entry.reading.action if entry else reading.action
        changed = entry.changed if entry else False
        status = recorded.consent.status.name
        return Heard(_ACTIONS[action], changed, recorded.duplicate, status, f"v1.{recorded.version:x}")

    async def verdicts(self, account: str, phones: Sequence[int], program: str = "") -> list[Verdict]:
        found = (await self.store.look_up(account, phones, program)).found
        return [judge(*found[phone]) if phone in found else Verdict.SENDABLE for phone in phones]

    async def status(self, account: str, phone: int, program: str = "") -> tuple[str, int, int]:
        consent, _ = await self.store.get_consent(account, phone, program)
        return consent.status.name, consent.version, consent.changed_at

    async def timeline(self, account: str, phone: int) -> list[Line]:
        entries = await self.store.list_timeline(account, phone, before=None, limit=1_000)
        return [
            Line(
                entry.version, _ACTIONS[entry.reading.action], entry.body, entry.message_id, entry.program,
                entry.status_before.name, entry.status_after.name, entry.superseded, entry.written_at,
            )
            for entry in entries
        ]  # fmt: skip


class WireSubject:
    """A server, through generated stubs alone."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.consent = consent_service_pb2_grpc.ConsentServiceStub(channel)
        self.history = timeline_service_pb2_grpc.TimelineServiceStub(channel)
        self._turn = itertools.count()

    async def hear(
        self, account: str, phone: int, body: str, message_id: str, at: int | None = None, program: str = ""
    ) -> Heard:
        received = None if at is None else Timestamp(seconds=at // 1_000_000, nanos=at % 1_000_000 * 1_000)
        request = consent_service_pb2.RecordInboundRequest(
            account_id=account, from_phone=f"+{phone}", body=body, message_id=message_id, program_id=program,
            received_at=received,
        )  # fmt: skip
        try:
            answer = await self.consent.RecordInbound(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise ReusedError from error
            raise
        action = consent_pb2.InboundAction.Name(answer.action).removeprefix("INBOUND_ACTION_")
        return Heard(action, answer.consent_changed, answer.duplicate, _status(answer.consent.status), answer.as_of)

    async def verdicts(self, account: str, phones: Sequence[int], program: str = "") -> list[Verdict]:
        texts = [f"+{phone}" for phone in phones]
        if len(texts) == 1:
            request = consent_service_pb2.IsSendableRequest(account_id=account, phone=texts[0], program_id=program)
            answer = await self.consent.IsSendable(request)
            assert answer.sendable is (answer.verdict == consent_pb2.VERDICT_SENDABLE)
            return [Verdict(answer.verdict)]
        batch = consent_service_pb2.BatchFilterRequest(account_id=account, phones=texts, program_id=program)
        if next(self._turn) % 2:
            return [Verdict(verdict) for verdict in (await self.consent.BatchFilter(batch)).verdicts]
        call = self.consent.StreamFilter(iter([consent_service_pb2.StreamFilterRequest(chunk_id=7, batch=batch)]))
        (chunk,) = [response async for response in call]
        assert chunk.chunk_id == 7
        return [Verdict(verdict) for verdict in chunk.batch.verdicts]

    async def status(self, account: str, phone: int, program: str = "") -> tuple[str, int, int]:
        request = timeline_service_pb2.GetConsentRequest(account_id=account, phone=f"+{phone}", program_id=program)
        consent = (await self.history.GetConsent(request)).consent
        return _status(consent.status), consent.version, _micros(consent.changed_at)

    async def timeline(self, account: str, phone: int) -> list[Line]:
        lines: list[Line] = []
        token = ""
        while True:
            request = timeline_service_pb2.ListTimelineRequest(
                account_id=account, phone=f"+{phone}", page_size=2, page_token=token
            )
            page = await self.history.ListTimeline(request)
            lines += [
                Line(
                    entry.version, consent_pb2.InboundAction.Name(entry.action).removeprefix("INBOUND_ACTION_"),
                    entry.body, entry.message_id, entry.program_id, _status(entry.status_before),
                    _status(entry.status_after), entry.superseded, _micros(entry.written_at),
                )
                for entry in page.entries
            ]  # fmt: skip
            token = page.next_page_token
            if not token:
                return lines


def _status(value: consent_pb2.ConsentStatus.ValueType) -> str:
    return consent_pb2.ConsentStatus.Name(value).removeprefix("CONSENT_STATUS_")


def _micros(time: Timestamp) -> int:
    return time.seconds * 1_000_000 + time.nanos // 1_000
