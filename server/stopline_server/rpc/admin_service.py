"""AdminService: people and back offices."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version

from stopline.v1 import admin_service_pb2 as pb
from stopline_server.rpc.limits import Limits

_VERSION = version("stopline-server")


class AdminService:
    """The handlers, named as the RPCs are. See protos/stopline/v1/admin_service.proto for what they promise."""

    def __init__(self, limits: Limits, schema_revision: str) -> None:
        self._limits = limits
        self._schema_revision = schema_revision

    async def GetServerInfo(self, _request: pb.GetServerInfoRequest) -> pb.GetServerInfoResponse:  # noqa: N802
        """What this server is, and the limits that it keeps."""
        limits = pb.Limits(**asdict(self._limits))
        return pb.GetServerInfoResponse(version=_VERSION, schema_revision=self._schema_revision, limits=limits)
