"""`stopline healthcheck`: one question to grpc.health.v1, for probes and people."""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stopline_server.cli.failure import Exit, Failure

# The service is near, most often this very machine, and a proxy of the environment would be asked to find it.
NO_PROXY = [("grpc.enable_http_proxy", 0)]


def healthcheck(target: str, timeout_s: float) -> None:
    """Return if the service says that it is serving.

    Args:
        target: `HOST:PORT`.
        timeout_s: The longest wait for the answer, in seconds.

    Raises:
        Failure: It says something else, or nothing.
    """
    with grpc.insecure_channel(target, options=NO_PROXY) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise Failure(f"{target} does not answer: {_why(error)}", Exit.FAILED) from None
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise Failure(f"{target} says {status}", Exit.FAILED)
    sys.stdout.write(f"{status}\n")


def _why(error: grpc.RpcError) -> str:
    # Every error of a call is a Call too, which the type does not say.
    code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
    details = error.details() if isinstance(error, grpc.Call) else ""
    return " ".join(f"{code}: {details}".split()) if details else code
