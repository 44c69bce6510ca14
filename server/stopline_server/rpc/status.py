"""Errors to gRPC: one table, one way to answer with a row of it."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from stopline.v1 import error_reason_pb2
from stopline_server import errors

DOMAIN = "stopline"
_DETAILS_KEY = "grpc-status-details-bin"
_RETRY_AFTER_MS = 500
"""How long a caller is told to wait after UNAVAILABLE: about the time in which a lost store is found again."""


class Row(NamedTuple):
    """What an error is on the wire."""

    code: grpc.StatusCode
    reason: str


def _row(code: grpc.StatusCode, reason: error_reason_pb2.ErrorReason.ValueType) -> Row:
    return Row(code, error_reason_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_"))


TABLE: dict[type[Exception], Row] = {
    errors.FieldError: _row(grpc.StatusCode.INVALID_ARGUMENT, error_reason_pb2.ERROR_REASON_INVALID_FIELD),
    errors.LimitError: _row(grpc.StatusCode.INVALID_ARGUMENT, error_reason_pb2.ERROR_REASON_LIMIT_EXCEEDED),
    errors.RegionError: _row(grpc.StatusCode.INVALID_ARGUMENT, error_reason_pb2.ERROR_REASON_UNKNOWN_REGION),
    errors.MalformedMessageError: _row(
        grpc.StatusCode.INVALID_ARGUMENT, error_reason_pb2.ERROR_REASON_MALFORMED_MESSAGE
    ),
    errors.MessageIdReusedError: _row(
        grpc.StatusCode.FAILED_PRECONDITION, error_reason_pb2.ERROR_REASON_MESSAGE_ID_REUSED
    ),
    errors.StoreUnavailableError: _row(grpc.StatusCode.UNAVAILABLE, error_reason_pb2.ERROR_REASON_STORE_UNAVAILABLE),
    errors.NotBuiltError: _row(grpc.StatusCode.UNIMPLEMENTED, error_reason_pb2.ERROR_REASON_UNIMPLEMENTED),
}
INTERNAL = _row(grpc.StatusCode.INTERNAL, error_reason_pb2.ERROR_REASON_INTERNAL)


def status_of(error: Exception) -> status_pb2.Status:
    """An error as a `google.rpc.Status` with its details.

    An error that has no row is INTERNAL, and says nothing of itself.
    """
    row = TABLE.get(type(error), INTERNAL)
    known = isinstance(error, errors.StoplineError) and row is not INTERNAL
    message = error.message if known else "an internal error; do not send, and try again"  # type: ignore[attr-defined]
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=row.reason, domain=DOMAIN)]
    if isinstance(error, errors.FieldError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.description, reason=row.reason
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if row.code is grpc.StatusCode.UNAVAILABLE:
        delay = duration_pb2.Duration(nanos=_RETRY_AFTER_MS * 1_000_000)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code_pb2.Code.Value(row.code.name), message=message, details=packed)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """End a call with an error."""
    status = status_of(error)
    code = TABLE.get(type(error), INTERNAL).code
    await context.abort(code, status.message, ((_DETAILS_KEY, status.SerializeToString()),))
    raise AssertionError("abort returned")  # pragma: no cover
