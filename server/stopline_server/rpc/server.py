"""The gRPC server of a worker: services, health, reflection, and how it starts and stops."""

from __future__ import annotations

from collections.abc import Mapping

import grpc.aio

from stopline.v1 import admin_service_pb2, consent_service_pb2, timeline_service_pb2
from stopline_server.rpc.admin_service import AdminService
from stopline_server.rpc.checks import Checks
from stopline_server.rpc.consent_service import ConsentService
from stopline_server.rpc.dispatch import Gate, service_handler
from stopline_server.rpc.health import Health, add_to
from stopline_server.rpc.limits import Limits
from stopline_server.rpc.timeline_service import TimelineService
from stopline_server.store.protocol import ConsentStore

_SERVICES = (
    consent_service_pb2.DESCRIPTOR.services_by_name["ConsentService"],
    timeline_service_pb2.DESCRIPTOR.services_by_name["TimelineService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
)
_NAMES = [service.full_name for service in _SERVICES]
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
        self._health = Health(_NAMES)
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
        await self._health.tell(serving=False)
        self.port = self._server.add_insecure_port(self._listen)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Begin or cease to serve; health says which."""
        self._gate.open() if serving else self._gate.shut()
        await self._health.tell(serving=serving)

    async def stop(self, grace_s: float) -> None:
        """Drain: health says NOT_SERVING, no new call is taken, those in progress get `grace_s` seconds."""
        await self._health.end()
        await self._server.stop(grace_s)

    def _add_services(self, services: Mapping[str, object]) -> None:
        for descriptor in _SERVICES:
            handler = service_handler(descriptor, services[descriptor.name], self._gate)
            # Generic handlers only: registered methods cost 20 µs a call (docs/decisions/0002).
            self._server.add_generic_rpc_handlers((handler,))
        add_to(self._server, self._health, _NAMES)


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """The options of the gRPC server of a worker."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
    ]
