"""What can go wrong, as a closed set.

Each class is one row of the table in `rpc/status.py`, which gives it a gRPC code and an `ErrorReason`.
A message is one line, tells the caller what is wrong and what to do, and never holds a full phone number,
a body, or anything of the inside (SQL, hosts, stacks).
"""

from __future__ import annotations


class StoplineError(Exception):
    """The root of all errors that a caller may see."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FieldError(StoplineError):
    """A request field holds what it must not. `field` is its path in the request, as in `batch.phones`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.description = message


class LimitError(FieldError):
    """A request field is past a limit; the message tells the limit."""


class RegionError(FieldError):
    """A default region that is no ISO 3166-1 alpha-2 code with a numbering plan."""


class MalformedMessageError(StoplineError):
    """The request's bytes are not a message of the expected type (invalid UTF-8 in a string, cut short)."""


class MessageIdReusedError(StoplineError):
    """A message id came again with another body or sender. Nothing was changed."""

    def __init__(self) -> None:
        # The id is not repeated: gateways make ids of what they have, and that is phones.
        super().__init__("message_id was recorded before with another sender or body; give each message its own")


class StoreUnavailableError(StoplineError):
    """The truth cannot be read or written now. Never to be read as "sendable"; a repeat may succeed."""


class NotBuiltError(StoplineError):
    """A part of the API that this version does not have."""


class SchemaError(Exception):
    """The database's schema is not this server's. Not for callers: it ends the server, and says which command helps."""
