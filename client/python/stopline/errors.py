"""What the clients raise. Whatever is raised, the answer is "do not send"."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple, cast

import grpc
from google.protobuf.message import DecodeError

# googleapis-common-protos has these types, but no py.typed that says so.
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped, unused-ignore]

_DOMAIN = "stopline"
_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field of a request."""

    field: str
    """Its path in the request, as in `batch.phones`."""
    description: str


class StoplineError(Exception):
    """A call that gave no answer. It is never permission to send.

    Attributes:
        code: The gRPC code; None where the call itself succeeded and its answer cannot be trusted.
        reason: The name of an `ErrorReason` without its prefix, as in `STORE_UNAVAILABLE`; empty where the server, or
            something before it, gave none.
        field_violations: What is wrong with the request, by field.
        retry_after: How many seconds the server asks to wait before a repeat; None where it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        field_violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.field_violations = field_violations
        self.retry_after = retry_after


class ProtocolError(StoplineError):
    """The answer is not one that the API allows: cut short, contradictory, or with a verdict that is not known."""


class InvalidArgumentError(StoplineError):
    """The request is wrong (INVALID_ARGUMENT). A repeat fails the same way."""


class FailedPreconditionError(StoplineError):
    """The request does not fit what is recorded (FAILED_PRECONDITION). Nothing was changed; `reason` says why."""


class ConflictError(StoplineError):
    """Somebody else changed it first (ABORTED). Read it again, and decide anew."""


class OutOfRangeError(StoplineError):
    """What is asked for is not kept any more (OUT_OF_RANGE)."""


class NotFoundError(StoplineError):
    """What the request names does not exist (NOT_FOUND)."""


class UnauthenticatedError(StoplineError):
    """No credentials, or not valid ones (UNAUTHENTICATED)."""


class PermissionDeniedError(StoplineError):
    """The credentials are not for this account or call (PERMISSION_DENIED)."""


class ResourceExhaustedError(StoplineError):
    """The server has too much to do, or a message is too large (RESOURCE_EXHAUSTED)."""


class UnavailableError(StoplineError):
    """The server cannot be reached, or cannot be sure (UNAVAILABLE). A repeat with the same ids is harmless."""


class DeadlineExceededError(StoplineError):
    """No answer in time (DEADLINE_EXCEEDED). A write may have happened; a repeat with the same ids is harmless."""


class CallCancelledError(StoplineError):
    """The call was cancelled (CANCELLED), as by closing the client."""


class UnimplementedError(StoplineError):
    """The server does not have this (UNIMPLEMENTED)."""


class InternalError(StoplineError):
    """A fault of the server or of what is between (INTERNAL, and every code without a class of its own)."""


_BY_CODE: dict[grpc.StatusCode, type[StoplineError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
}


def from_rpc_error(error: grpc.RpcError) -> StoplineError:
    """The typed error for one that gRPC raised.

    Details that cannot be read are left out: what the server meant to add must not hide that the call failed.
    """
    # Both clients' errors have these; the base class that they share does not.
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    details = error.details() if hasattr(error, "details") else str(error)
    metadata = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    told = _Details()
    # Pairs of strings and bytes, which the types of gRPC do not say.
    for key, value in cast("Iterable[tuple[str, object]]", metadata or ()):
        if key == _DETAILS_KEY and isinstance(value, bytes):
            with suppress(DecodeError):
                told = _read_details(value)
    kind = _BY_CODE.get(code, InternalError)
    message = f"{code.name}: {details or 'no details'}" + (f" [{told.reason}]" if told.reason else "")
    return kind(message, code=code, reason=told.reason, field_violations=told.violations, retry_after=told.retry_after)


class _Details(NamedTuple):
    reason: str = ""
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None


def _read_details(packed: bytes) -> _Details:
    reason = ""
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None
    for detail in status_pb2.Status.FromString(packed).details:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        # A proxy on the way may add an ErrorInfo of its own, whose reasons mean something else.
        if detail.Unpack(info) and info.domain == _DOMAIN:
            reason = info.reason
        elif detail.Unpack(bad):
            violations = tuple(FieldViolation(each.field, each.description) for each in bad.field_violations)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return _Details(reason, violations, retry_after)


@contextmanager
def typed_errors() -> Iterator[None]:
    """Raise what gRPC raises inside as a `StoplineError`."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


@contextmanager
def typed_call_errors() -> Iterator[None]:
    """`typed_errors` for a task that awaits a call.

    grpc.aio raises `asyncio.CancelledError` also where nobody cancelled the task, but its call: as by closing the
    client. Taken for a cancellation it would end the task without a word.
    """
    try:
        with typed_errors():
            yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise CallCancelledError("CANCELLED: the call was cancelled", code=grpc.StatusCode.CANCELLED) from None
