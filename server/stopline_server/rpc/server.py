"""The gRPC server of a worker: services, health, reflection, and how it starts and stops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from stopline.v1 import admin_service_pb2, consent_service_pb2, timeline_service_pb2
from stopline_server.rpc.admin_service import AdminService
from stopline_server.rpc.checks import Checks
from stopline_server.rpc.consent_service import ConsentService
from stopline_server.rpc.dispatch import Gate, service_handler
from stopline_server.rpc.limits import Limits
from stopline_server.rpc.timeline_service import TimelineService
from stopline_server.store.protocol import ConsentStore

_SERVICES = (
    consent_service_pb2.DESCRIPTOR.services_by_name["ConsentService"],
    timeline_service_pb2.DESCRIPTOR.services_by_name["TimelineService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
)
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
_MIN_PING_INTERVAL_MS = 10_000
"""Clients keep idle connections alive by pings; more often than this is an attack or a mistake."""


class RpcServer:
    """A `grpc.aio` server over a store."""

    def __init__(
        self, store: ConsentStore, *, listen: str, limits: Limits, schema_revision: str, program_keywords: bool
    ) -> None:
        """Make it; `start` binds the port.

        Args:
            store: What answers.
            listen: `HOST:PORT`. The port is shared with other workers of this server (see `listen.reserve`).
            limits: The limits to keep and tell.
            schema_revision: Told by GetServerInfo.
            program_keywords: Whether STOP and START in a text that carries a program mean that program.
        """
        self._listen = listen
        self._gate = Gate()
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stub has no aio
        checks = Checks(limits)
        services = {
            "ConsentService": ConsentService(store, checks, program_keywords=program_keywords),
            "TimelineService": TimelineService(store, checks),
            "AdminService": AdminService(limits, schema_revision),
        }
        self._server = grpc.aio.server(options=server_options(limits))
        self._add_services(services)
        self.port = 0

    @property
    def serving(self) -> bool:
        """Whether calls are served now, rather than answered with UNAVAILABLE."""
        return self._gate.serving

    async def start(self) -> None:
        """Bind the port and answer: health with NOT_SERVING, every call with UNAVAILABLE."""
        await self._tell_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = self._server.add_insecure_port(self._listen)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Begin or cease to serve; health says which."""
        self._gate.open() if serving else self._gate.shut()
        status = health_pb2.HealthCheckResponse
        await self._tell_health(status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Drain: health says NOT_SERVING, no new call is taken, those in progress get `grace_s` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)

    async def _tell_health(self, status: Any) -> None:
        for name in ("", *(service.full_name for service in _SERVICES)):
            await self._health.set(name, status)

    def _add_services(self, services: Mapping[str, object]) -> None:
        for descriptor in _SERVICES:
            handler = service_handler(descriptor, services[descriptor.name], self._gate)
            # Generic handlers only: registered methods cost 20 µs a call (docs/decisions/0002).
            self._server.add_generic_rpc_handlers((handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [
            *(service.full_name for service in _SERVICES),
            health.SERVICE_NAME, reflection.SERVICE_NAME, _REFLECTION_V1,
        ]  # fmt: skip
        reflection.enable_server_reflection(names, self._server)
        self._server.add_generic_rpc_handlers((_reflection_v1(names),))


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """The options of the gRPC server of a worker."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
    ]


def _reflection_v1(names: list[str]) -> grpc.GenericRpcHandler[Any, Any]:
    """Reflection v1: message for message the same as v1alpha, which is all that the library brings."""
    servicer = reflection.aio.ReflectionServicer(names)  # type: ignore[attr-defined]  # its stub has no aio
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(_REFLECTION_V1, {"ServerReflectionInfo": method})
