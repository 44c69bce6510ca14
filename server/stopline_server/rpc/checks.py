"""Request fields to values of the domain, or a clear error that names the field."""

from __future__ import annotations

import re

from google.protobuf.timestamp_pb2 import Timestamp

from stopline_server.domain.phone import is_region, read_phone
from stopline_server.domain.verdicts import Context
from stopline_server.errors import FieldError, LimitError, RegionError
from stopline_server.rpc.limits import Limits

# Controls have no place in an id: they break logs and keys, and Postgres's text holds no NUL.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# google.protobuf.Timestamp: years 1 to 9999.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_CONTEXTS = {0: Context.DIRECT, **{int(context): context for context in Context}}


class Checks:
    """The checks of request fields, with the limits of this server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def id(self, field: str, value: str) -> str:
        """An id that must be there."""
        if not value:
            raise FieldError(field, "must not be empty")
        return self.optional_id(field, value)

    def optional_id(self, field: str, value: str) -> str:
        """An id that may be empty."""
        # A character is at most 4 bytes: only a long id needs to be encoded to be measured.
        if len(value) * 4 > self.limits.id_bytes and len(value.encode()) > self.limits.id_bytes:
            raise LimitError(field, f"is over the limit of {self.limits.id_bytes} bytes")
        if _CONTROLS.search(value):
            raise FieldError(field, "must not hold control characters")
        return value

    def region(self, value: str, field: str = "default_region") -> str:
        """A default region, or "" for none."""
        if not value:
            return ""
        region = value.upper()
        # Two letters become other letters, and more of them, in some scripts.
        if not (value.isascii() and is_region(region)):
            raise RegionError(field, "is no known region; write an ISO 3166-1 alpha-2 code such as US or GB")
        return region

    def phone_text(self, field: str, value: str) -> str:
        """A single phone as given, within the limit."""
        if len(value) > self.limits.phone_chars:
            raise LimitError(field, f"is over the limit of {self.limits.phone_chars} characters")
        return value

    def phone(self, field: str, value: str, region: str | None) -> int:
        """A phone that must be a possible number; the digits of its E.164 form. No region: the request has no field."""
        phone = read_phone(self.phone_text(field, value), region or "")
        if not phone:
            hint = ", or give a default_region" if region == "" else ""
            raise FieldError(field, f"is not a possible phone number; write E.164 such as +14155550100{hint}")
        return phone

    def body(self, value: str) -> str:
        """The body of an inbound text."""
        if len(value) * 4 > self.limits.body_bytes and len(value.encode()) > self.limits.body_bytes:
            raise LimitError("body", f"is over the limit of {self.limits.body_bytes} bytes")
        return value

    def context(self, value: int, field: str = "context") -> Context:
        """A send context; unspecified is read as DIRECT."""
        context = _CONTEXTS.get(value)
        if context is None:
            raise FieldError(field, f"{value} is no SendContext that this server knows")
        return context

    def list_context(self, value: int, field: str) -> Context:
        """The context of a list, which cannot be the one confirmation of one opt-out."""
        context = self.context(value, field)
        if context is Context.OPT_OUT_CONFIRMATION:
            raise FieldError(field, "OPT_OUT_CONFIRMATION is of one number; ask IsSendable")
        return context

    def time(self, field: str, value: Timestamp) -> int:
        """A time, in microseconds since 1970 (UTC)."""
        if not (_FIRST_SECOND <= value.seconds <= _LAST_SECOND and 0 <= value.nanos < 1_000_000_000):
            raise FieldError(field, "is no valid google.protobuf.Timestamp (years 1 to 9999)")
        return value.seconds * 1_000_000 + value.nanos // 1_000

    def count(self, field: str, given: int, limit: int) -> None:
        """A number of elements within a limit."""
        if given > limit:
            raise LimitError(field, f"{given} are over the limit of {limit}")

    def page_size(self, value: int) -> int:
        """How many entries to return: the default for 0, the limit for more than that."""
        if value < 0:
            raise FieldError("page_size", "must not be negative")
        return min(value or 100, self.limits.page_size)
