"""The opaque strings of the API: `as_of`, and page tokens."""

from __future__ import annotations

import base64
import binascii
import zlib

from stopline_server.errors import FieldError

_PREFIX = "v1."
_LAST_VERSION = (1 << 63) - 1
"""A version is a bigint in the database."""


def as_of(version: int) -> str:
    """The state of an account at a version, as callers hold it.

    It names nothing but the version, which is in the database: so it survives a dump and restore.
    """
    return f"{_PREFIX}{version:x}"


def page_token(account: str, phone: int, before: int) -> str:
    """Where the next page of a timeline begins."""
    return base64.urlsafe_b64encode(f"{before:x}.{_owner(account, phone):x}".encode()).decode().rstrip("=")


def read_page_token(token: str, account: str, phone: int) -> int | None:
    """The version below which the page begins; None for the first page.

    Raises:
        FieldError: The token is not ours, or of another list.
    """
    if not token:
        return None
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
        before, owner = (int(part, 16) for part in text.split("."))
    except (binascii.Error, ValueError):
        before, owner = 0, -1
    if owner != _owner(account, phone) or not 1 <= before <= _LAST_VERSION:
        raise FieldError("page_token", "is not one of this list; pass next_page_token back as it came")
    return before


def _owner(account: str, phone: int) -> int:
    return zlib.crc32(f"{account}\x1f{phone}".encode())
