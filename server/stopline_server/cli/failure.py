"""How a command ends: its exit statuses, and the one way to say what went wrong."""

from __future__ import annotations

import re
import sys
from enum import IntEnum

import typer


class Exit(IntEnum):
    """The exit statuses of all commands. Scripts are written against them."""

    OK = 0
    """Done; for `check`: all are sendable."""
    FAILED = 1
    """Could not be done: no server, no store, not healthy, another schema."""
    NOT_SENDABLE = 1
    """`check`: the service answered, and at least one number is not sendable."""
    USAGE = 2
    """The command line, the settings or a file of the caller's is wrong; nothing was written."""
    UNANSWERED = 3
    """The service could not answer: do not send."""
    STOPPED = 130
    """Ended by Ctrl-C or SIGTERM before it was done."""


class Failure(typer.TyperException):
    """A command ends here. Each line of the message goes to standard error behind `stopline: `."""

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.exit_code = status


# What an option parser repeats of a mistyped command line may be a number without its plus.
_DIGITS = re.compile(r"\d{7,}")
_PHONE = re.compile(r"\+\d{7,}")


def report(error: typer.TyperException) -> None:
    """Say on standard error why a command ends, with no phone number in full."""
    message, numbers = error.format_message(), _PHONE
    if not isinstance(error, Failure):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "stopline"
        message, numbers = f"{message.replace('Value error, ', '').rstrip('.')}; see `{path} --help`", _DIGITS
    for line in filter(str.strip, message.splitlines()):
        print(f"stopline: {numbers.sub(_shortened, line)}", file=sys.stderr, flush=True)  # noqa: T201  # the one place


def _shortened(number: re.Match[str]) -> str:
    return f"…{number[0][-2:]}"
