"""The service as commands ask it: through the client, and never in doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from stopline import Client, InvalidArgumentError, SendContext, StoplineError
from stopline_server.cli.failure import Exit, Failure
from stopline_server.cli.health import NO_PROXY

_TIMEOUT_S = 5.0
"""A person waits longer for one answer than a send service does."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of each number, as given on the command line."""

    account: str
    context: str
    region: str
    program: str

    @property
    def send_context(self) -> SendContext:
        """The context as the client takes it."""
        return SendContext[self.context.upper()]


@contextmanager
def connected(target: str, so_far: Callable[[], str] = str) -> Iterator[Client]:
    """A client; what it raises inside ends the command.

    Args:
        target: `HOST:PORT` of the service.
        so_far: Says what was done until then.

    Raises:
        Failure: UNANSWERED where the service gave no answer, USAGE where it says that the question is wrong.
    """
    with Client(target, timeout=_TIMEOUT_S, options=NO_PROXY) as client:
        try:
            yield client
        except StoplineError as error:
            told = " ".join(f"{error} {so_far()}".split())
            if isinstance(error, InvalidArgumentError):
                raise Failure(f"{target} refuses the question: {told}", Exit.USAGE) from None
            raise Failure(f"{target} could not answer, do not send: {told}", Exit.UNANSWERED) from None


def require_text(asked: Question, phones: list[str]) -> None:
    """Return if the command line was UTF-8: anything else cannot be sent.

    Raises:
        Failure: It was not.
    """
    try:
        "".join([*astuple(asked), *phones]).encode()
    except UnicodeEncodeError:
        raise Failure("the command line is not UTF-8", Exit.USAGE) from None
