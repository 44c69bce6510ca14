"""What the server tells of itself by the standard protocols: health, and reflection in both its versions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from stopline_server.store.tasks import end

_ALPHA, _V1 = "grpc.reflection.v1alpha", "grpc.reflection.v1"
_LAST_WORD_S = 0.1
"""How long a watcher of health gets to hear that the server stops."""


class Health(health.aio.HealthServicer):  # type: ignore[name-defined, misc]  # its stub has no aio
    """The library's health service, whose watchers do not hold up the end."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = ("", *services)
        self._ended = asyncio.Event()

    async def tell(self, *, serving: bool) -> None:
        """Say of all services whether calls are served."""
        status = health_pb2.HealthCheckResponse
        for name in self._services:
            await self.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def end(self) -> None:
        """Say NOT_SERVING for the last time, and end all watches: balancers keep theirs as long as a connection."""
        await self.enter_graceful_shutdown()
        self._ended.set()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802  # the RPC's name
        """Tell each change, until the caller leaves or the server stops."""
        watching = asyncio.create_task(super().Watch(request, context))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({watching}, timeout=_LAST_WORD_S)
        finally:
            await end(ended)
            await end(watching)


def add_to(server: grpc.aio.Server, own: Health, services: Sequence[str]) -> None:
    """Let a server tell of its health and its protos.

    Args:
        server: The server, not started yet.
        own: Its health.
        services: The full names of its services.
    """
    health_pb2_grpc.add_HealthServicer_to_server(own, server)
    _describe_v1()
    names = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME, f"{_V1}.ServerReflection"]
    reflection.enable_server_reflection(names, server)
    servicer = reflection.aio.ReflectionServicer(names)  # type: ignore[attr-defined]  # its stub has no aio
    # v1 is message for message the same as v1alpha, which is all that the library brings.
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(f"{_V1}.ServerReflection", {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))


def _describe_v1() -> None:
    """Make reflection v1 known under its own name, so that tools which describe all services can describe it."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = "grpc/reflection/v1/reflection.proto", _V1
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # set but empty is another thing than not set
                field.type_name = field.type_name.replace(_ALPHA, _V1)
    for service in file.service:
        for rpc in service.method:
            rpc.input_type = rpc.input_type.replace(_ALPHA, _V1)
            rpc.output_type = rpc.output_type.replace(_ALPHA, _V1)
    # The same content again is no error.
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
