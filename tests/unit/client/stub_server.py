"""A server on a socket that answers each RPC as the test says, well or badly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from stopline.v1 import admin_service_pb2, consent_service_pb2, timeline_service_pb2

Behaviour = Callable[..., Any]
"""As grpc.aio calls it: the request, or the iterator of them, and the context. Bytes go out as they are."""

_T = TypeVar("_T")
_SERVICES = [
    consent_service_pb2.DESCRIPTOR.services_by_name["ConsentService"],
    timeline_service_pb2.DESCRIPTOR.services_by_name["TimelineService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
]


@asynccontextmanager
async def serving(
    behaviours: Mapping[str, Behaviour], *, port: int = 0, message_bytes: int = 4 << 20
) -> AsyncIterator[str]:
    """Serve the RPCs that are named, on a port that is free or a certain one; the address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", message_bytes)])
    for service in _SERVICES:
        handlers = {
            method.name: _handler(method, behaviours[method.name])
            for method in service.methods
            if method.name in behaviours
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def answering(response: Message | bytes) -> Behaviour:
    """Always this answer."""

    async def answer(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message | bytes:
        return response

    return answer


def failing(code: grpc.StatusCode, metadata: tuple[tuple[str, bytes], ...] = ()) -> Behaviour:
    """Always this error."""

    async def fail(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(code, "phone: no", metadata)

    return fail


async def take(source: AsyncIterator[_T], taken: list[_T]) -> None:
    """Take everything, one by one: what came before an error is kept."""
    async for each in source:
        taken.append(each)  # noqa: PERF401 - a comprehension would keep nothing where it raises


def _handler(method: MethodDescriptor, behaviour: Behaviour) -> grpc.RpcMethodHandler[Any, Any]:
    make = grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    request = message_factory.GetMessageClass(method.input_type)
    return make(behaviour, request_deserializer=request.FromString, response_serializer=_serialize)


def _serialize(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()
