"""How a call reaches its handler: bytes are parsed, the gate is asked, errors become statuses. One place for all RPCs.

This is done once, when handlers are registered, rather than in interceptors, which are run for each call.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from stopline_server.errors import MalformedMessageError, NotBuiltError, StoreUnavailableError
from stopline_server.rpc.status import TABLE, abort

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class Gate:
    """Whether calls are let in: not before the stores answer, and not while they do not."""

    def __init__(self) -> None:
        self.serving = False

    def open(self) -> None:
        """Let calls in."""
        self.serving = True

    def shut(self) -> None:
        """Answer every call with UNAVAILABLE."""
        self.serving = False

    def check(self) -> None:
        """Return if calls are let in.

        Raises:
            StoreUnavailableError: They are not.
        """
        if not self.serving:
            raise StoreUnavailableError("the consent store does not answer; do not send, try again")


class _Malformed:
    """Stands for a request whose bytes could not be parsed: gRPC itself would answer INTERNAL without a reason."""


_MALFORMED = _Malformed()


def service_handler(descriptor: ServiceDescriptor, service: object, gate: Gate) -> grpc.GenericRpcHandler[Any, Any]:
    """All RPCs of a service. One that `service` has no method for answers UNIMPLEMENTED."""
    methods = {method.name: _method_handler(method, service, gate) for method in descriptor.methods}
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def _method_handler(method: MethodDescriptor, service: object, gate: Gate) -> grpc.RpcMethodHandler[Any, Any]:
    run = getattr(service, method.name, None) or _not_built(method)
    inputs = _parsed if method.client_streaming else _only
    if method.server_streaming:
        wrapped: Any = _streaming(run, inputs, gate)
        make: Any = (
            grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_stream_rpc_method_handler
        )
    else:
        wrapped = _unary(run, inputs, gate)
        make = grpc.stream_unary_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    return make(  # type: ignore[no-any-return]
        wrapped,
        request_deserializer=_parser(message_factory.GetMessageClass(method.input_type)),
        response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
    )


def _parser(kind: type[Message]) -> Callable[[bytes], Message | _Malformed]:
    parse = kind.FromString

    def parsed(data: bytes) -> Message | _Malformed:
        try:
            return parse(data)
        except DecodeError:
            return _MALFORMED

    return parsed


def _only(request: Any) -> Any:
    if request is _MALFORMED:
        raise MalformedMessageError("the request is not a message of this type, or a string in it is not UTF-8")
    return request


async def _parsed(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _only(request)


def _unary(
    run: Callable[[Any], Awaitable[Any]], inputs: Callable[[Any], Any], gate: Gate
) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:
        try:
            gate.check()
            return await run(inputs(request))
        except asyncio.CancelledError as error:
            failure = _unless_cancelled(error)
        except Exception as error:  # noqa: BLE001  # the one place where errors become statuses
            failure = error
        return await _fail(context, failure)

    return call


def _streaming(
    run: Callable[[Any], AsyncIterator[Any]], inputs: Callable[[Any], Any], gate: Gate
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            gate.check()
            async for response in run(inputs(request)):
                yield response
            return
        except asyncio.CancelledError as error:
            failure = _unless_cancelled(error)
        except Exception as error:  # noqa: BLE001  # as above
            failure = error
        await _fail(context, failure)

    return call


def _unless_cancelled(error: asyncio.CancelledError) -> Exception:
    """Raise the cancellation of this call again, or give the error that stands for somebody else's.

    A call whose caller left must end with its cancellation, or grpcio leaks it. But one can also come up from below,
    out of work that the call shared and that was ended: unanswered, its caller would wait for the deadline.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return StoreUnavailableError("the work for this call was ended; do not send, try again")


async def _fail(context: Context, error: Exception) -> NoReturn:
    if type(error) not in TABLE:
        # Where it happened, not what it says: a driver's message may repeat a phone or a body.
        where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        # A reader of the log that is gone changes no answer.
        with contextlib.suppress(OSError, ValueError):
            log.error("internal error", kind=type(error).__name__, where=where)
    await abort(context, error)


def _not_built(method: MethodDescriptor) -> Any:
    message = f"{method.name} is not built yet in this version"

    async def unary(_request: Any) -> Any:
        raise NotBuiltError(message)

    async def streaming(_request: Any) -> AsyncIterator[Any]:
        raise NotBuiltError(message)
        yield  # pragma: no cover  # makes it a generator

    return streaming if method.server_streaming else unary
