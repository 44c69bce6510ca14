"""How an account's copy is written in Redis: the names of its keys, fields and values.

A hash holds one account whole: field `@` is the account's version, every other field a phone at one level, with the
value `version:status:occurred_at` (the account's version at the row's last event, the status's number, microseconds).
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from stopline_server.domain.consent import Standing, Status

_STATUSES = {b"2": Status.OPTED_IN, b"3": Status.OPTED_OUT}


@lru_cache(maxsize=10_000)
def keys_of(account: str, seq: int) -> tuple[str, str]:
    """The names of an account's hash and fill hash. The braces keep both on one node of a cluster."""
    # Quoted, because a brace in the account would end the part that the cluster hashes.
    tag = quote(account, safe="")
    return f"sl1:{{{tag}}}:{seq}", f"fill:{{{tag}}}:{seq}"


def field_of(phone: int, program: str) -> str:
    """The field of a phone at one level."""
    return f"{phone}/{program}" if program else str(phone)


def value_of(standing: Standing) -> str:
    """A standing as the cache holds it."""
    return f"{standing.version}:{standing.status:d}:{standing.occurred_at}"


def standing_of(value: bytes | None) -> Standing | None:
    """A standing as the cache holds it, read back."""
    if value is None:
        return None
    version, status, occurred_at = value.split(b":")
    return Standing(_STATUSES[status], int(version), int(occurred_at))
