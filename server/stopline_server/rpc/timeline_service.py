"""TimelineService: what happened."""

from __future__ import annotations

from stopline.v1 import timeline_service_pb2 as pb
from stopline_server.rpc.checks import Checks
from stopline_server.rpc.convert import consent_message, entry_message
from stopline_server.rpc.tokens import as_of, page_token, read_page_token
from stopline_server.store.protocol import ConsentStore

_PAGE_BYTES = 3 << 20
"""A page is cut short at this size: clients that set nothing take messages of 4 MiB."""


class TimelineService:
    """The handlers, named as the RPCs are. See protos/stopline/v1/timeline_service.proto for what they promise."""

    def __init__(self, store: ConsentStore, checks: Checks) -> None:
        self._store = store
        self._checks = checks

    async def GetConsent(self, request: pb.GetConsentRequest) -> pb.GetConsentResponse:  # noqa: N802
        """The state of a phone at one level."""
        checks = self._checks
        account = checks.id("account_id", request.account_id)
        program = checks.optional_id("program_id", request.program_id)
        phone = checks.phone("phone", request.phone, checks.region(request.default_region))
        consent, version = await self._store.get_consent(account, phone, program)
        return pb.GetConsentResponse(consent=consent_message(consent), as_of=as_of(version))

    async def ListTimeline(self, request: pb.ListTimelineRequest) -> pb.ListTimelineResponse:  # noqa: N802
        """The events of a phone, newest first."""
        account = self._checks.id("account_id", request.account_id)
        phone = self._checks.phone("phone", request.phone, None)
        before = read_page_token(request.page_token, account, phone)
        size = self._checks.page_size(request.page_size)
        # One more than asked for tells whether there is a next page.
        entries = await self._store.list_timeline(account, phone, before=before, limit=size + 1)
        page: list[pb.TimelineEntry] = []
        room = _PAGE_BYTES
        for entry in entries[:size]:
            message = entry_message(entry)
            room -= message.ByteSize()
            if page and room < 0:
                break
            page.append(message)
        more = len(page) < len(entries)
        return pb.ListTimelineResponse(
            entries=page, next_page_token=page_token(account, phone, page[-1].version) if more else ""
        )
