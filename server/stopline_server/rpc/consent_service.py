"""ConsentService: the hot path."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pyroaring import BitMap64

from stopline.v1 import consent_service_pb2 as pb
from stopline_server.domain.consent import WHOLE_ACCOUNT, NewEvent
from stopline_server.domain.keywords import DEFAULT_LEXICON, Reading, read_body
from stopline_server.domain.phone import read_phone
from stopline_server.domain.verdicts import Context, Verdict, blocked_since, judge
from stopline_server.errors import FieldError, NotBuiltError
from stopline_server.rpc import batch
from stopline_server.rpc.checks import Checks
from stopline_server.rpc.convert import inbound_response, sendable_response
from stopline_server.store.protocol import ConsentStore, Levels

_NOTHING = Levels(None, None)


class ConsentService:
    """The handlers, named as the RPCs are. See protos/stopline/v1/consent_service.proto for what they promise."""

    def __init__(self, store: ConsentStore, checks: Checks, *, program_keywords: bool) -> None:
        self._store = store
        self._checks = checks
        self._program_keywords = program_keywords

    async def RecordInbound(self, request: pb.RecordInboundRequest) -> pb.RecordInboundResponse:  # noqa: N802
        """Read an inbound text, and record what it asks for."""
        event = self._event_of(request)
        recorded = await self._store.record(event)
        return inbound_response(event.reading, recorded)

    async def IsSendable(self, request: pb.IsSendableRequest) -> pb.IsSendableResponse:  # noqa: N802
        """May this number be texted?"""
        checks = self._checks
        account = checks.id("account_id", request.account_id)
        context = checks.context(request.context)
        if context is Context.OPT_OUT_CONFIRMATION:
            raise NotBuiltError("the context OPT_OUT_CONFIRMATION is not built yet in this version")
        program = checks.optional_id("program_id", request.program_id)
        region = checks.region(request.default_region)
        phone = read_phone(checks.phone_text("phone", request.phone), region)
        looked_up = await self._store.look_up(account, [phone] if phone else [], program)
        levels = looked_up.found.get(phone, _NOTHING)
        verdict = judge(levels.account, levels.program) if phone else Verdict.INVALID_NUMBER
        return sendable_response(phone, verdict, context, blocked_since(*levels), looked_up.version)

    async def BatchFilter(self, request: pb.BatchFilterRequest) -> pb.BatchFilterResponse:  # noqa: N802
        """May these numbers be texted?"""
        asked = batch.question(self._checks, request)
        self._checks.count("phones", len(request.phones), self._checks.limits.batch_phones)
        return await batch.answer(self._store, self._checks, asked, request.phones, set())

    async def StreamFilter(  # noqa: N802
        self, requests: AsyncIterator[pb.StreamFilterRequest]
    ) -> AsyncIterator[pb.StreamFilterResponse]:
        """May the numbers of this list, of any length, be texted? A chunk is answered before the next is read."""
        asked: batch.Question | None = None
        # Compressed: a list of ten million numbers is held in tens of megabytes, where a set takes hundreds.
        seen = BitMap64()
        async for request in requests:
            if asked is None:
                asked = batch.question(self._checks, request.batch, "batch.")
            else:
                self._check_same(asked, request.batch)
            self._checks.count("batch.phones", len(request.batch.phones), self._checks.limits.chunk_phones)
            answer = await batch.answer(self._store, self._checks, asked, request.batch.phones, seen)
            yield pb.StreamFilterResponse(chunk_id=request.chunk_id, batch=answer)

    def _event_of(self, request: pb.RecordInboundRequest) -> NewEvent:
        checks = self._checks
        account = checks.id("account_id", request.account_id)
        message_id = checks.id("message_id", request.message_id)
        program = checks.optional_id("program_id", request.program_id)
        phone = checks.phone("from_phone", request.from_phone, checks.region(request.default_region))
        # Kept by nobody and often a short code: only its length is checked.
        checks.phone_text("to_phone", request.to_phone)
        written_at = checks.time("received_at", request.received_at) if request.HasField("received_at") else None
        body = checks.body(request.body)
        reading = read_body(body, DEFAULT_LEXICON)
        return NewEvent(account, phone, self._level(reading, program), message_id, written_at, body, reading)

    def _level(self, reading: Reading, program: str) -> str:
        """The level that a text speaks of. STOP ALL always means the account."""
        return program if self._program_keywords and not reading.whole_account else WHOLE_ACCOUNT

    @staticmethod
    def _check_same(asked: batch.Question, given: pb.BatchFilterRequest) -> None:
        # After the first message these are left out; another account in mid-stream is a caller's mistake that would
        # otherwise be answered with the first one's data.
        if given.account_id and given.account_id != asked.account:
            raise FieldError("batch.account_id", "differs from the stream's first message; open a stream an account")
        if given.program_id and given.program_id != asked.program:
            raise FieldError("batch.program_id", "differs from the stream's first message; open a stream a program")
