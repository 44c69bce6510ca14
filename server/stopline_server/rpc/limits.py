"""The limits of the API: kept by `checks`, told by GetServerInfo."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """One number a limit; the defaults are the API's."""

    batch_phones: int = 100_000
    """Phones in a BatchFilter."""
    chunk_phones: int = 100_000
    """Phones in a chunk of StreamFilter."""
    body_bytes: int = 16_384
    """Bytes of an inbound body, as UTF-8."""
    id_bytes: int = 128
    """Bytes of an account, program, message or other id, as UTF-8."""
    phone_chars: int = 64
    """Characters of a phone as given."""
    page_size: int = 1_000
    """Entries on a page of a list."""
    message_bytes: int = 16 << 20
    """Bytes of a request or a response on the wire."""
