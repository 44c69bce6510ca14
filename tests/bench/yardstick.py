"""Servers that do nothing but gRPC, on the product's own stack: a call with Stopline's part taken out.

`python -m tests.bench.yardstick empty` answers IsSendable with one ready message; `batch` parses a BatchFilter and says
SENDABLE of each number without looking anything up. The address is printed on standard output.
"""

from __future__ import annotations

import sys

import grpc.aio
import uvloop

from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as pb
from stopline_server.rpc.dispatch import Gate, service_handler
from stopline_server.rpc.limits import Limits
from stopline_server.rpc.server import server_options

_SENDABLE = pb.IsSendableResponse(
    sendable=True,
    verdict=consent_pb2.VERDICT_SENDABLE,
    outcome=consent_pb2.SEND_OUTCOME_SEND,
    phone="+12012000000",
    as_of="v1.f4240",
)


class Empty:
    """An answer that is ready."""

    async def IsSendable(self, _request: pb.IsSendableRequest) -> pb.IsSendableResponse:  # noqa: N802
        """Sendable."""
        return _SENDABLE


class Batch:
    """An answer without a question."""

    async def BatchFilter(self, request: pb.BatchFilterRequest) -> pb.BatchFilterResponse:  # noqa: N802
        """All sendable."""
        phones = list(request.phones)
        count = len(phones)
        return pb.BatchFilterResponse(
            verdicts=[consent_pb2.VERDICT_SENDABLE] * count, sendable_count=count, as_of="v1.f4240"
        )


async def _serve(service: object) -> None:
    gate = Gate()
    gate.open()
    server = grpc.aio.server(options=server_options(Limits()))
    descriptor = pb.DESCRIPTOR.services_by_name["ConsentService"]
    server.add_generic_rpc_handlers((service_handler(descriptor, service, gate),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve({"empty": Empty, "batch": Batch}[sys.argv[1]]()))
