"""A channel without a server: the test plays it. And threads that cannot hang a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import grpc
import grpc_testing
from google.protobuf.message import Message

from stopline.v1 import admin_service_pb2, consent_service_pb2, timeline_service_pb2

PATIENCE = 10.0
"""Seconds after which something will not happen any more."""

BACKGROUND = "background"
"""The name of the threads that `background` starts."""

_T = TypeVar("_T")
_SERVICES = [
    consent_service_pb2.DESCRIPTOR.services_by_name["ConsentService"],
    timeline_service_pb2.DESCRIPTOR.services_by_name["TimelineService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
]
_METHODS = {method.name: method for service in _SERVICES for method in service.methods}


def background(call: Callable[[], _T]) -> Future[_T]:
    """Run a call in a thread of its own, which does not keep the process alive."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=BACKGROUND, daemon=True).start()
    return future


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.005)


class FakeServer:
    """The other end of `channel`."""

    def __init__(self) -> None:
        self.channel: grpc.Channel = grpc_testing.channel(_SERVICES, grpc_testing.strict_fake_time(0))

    def unary(
        self,
        client_call: Callable[[], _T],
        method: str,
        response: Message | None,
        *,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        metadata: tuple[tuple[str, bytes], ...] = (),
    ) -> tuple[Any, Future[_T]]:
        """Make a call and answer it; the request, and the future of what the call gives."""
        future = background(client_call)
        taken = background(lambda: self._raw.take_unary_unary(_METHODS[method]))
        _, request, rpc = taken.result(PATIENCE)
        rpc.send_initial_metadata(())
        rpc.terminate(response, metadata, code, "phone: no" if code is not grpc.StatusCode.OK else "")
        return request, future

    def stream(self) -> Any:
        """The stream that the client has opened, or opens now."""
        _, rpc = background(lambda: self._raw.take_stream_stream(_METHODS["StreamFilter"])).result(PATIENCE)
        rpc.send_initial_metadata(())
        return rpc

    @property
    def _raw(self) -> Any:
        return self.channel
