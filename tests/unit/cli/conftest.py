"""A service of a few lines behind a real socket, and the command line in this process."""

import re
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from typer.testing import CliRunner, Result

from stopline.v1 import admin_service_pb2, admin_service_pb2_grpc, consent_pb2, consent_service_pb2
from stopline.v1.consent_service_pb2_grpc import ConsentServiceServicer, add_ConsentServiceServicer_to_server
from stopline_server.cli.commands import app

OUT = "+14155550100"
"""Opted out; every other number of E.164's form is sendable."""


@dataclass
class Service(ConsentServiceServicer, admin_service_pb2_grpc.AdminServiceServicer):
    """Answers from rules, and fails when it is told to."""

    target: str = ""
    label: str = "Unsubscribed from Text"
    chunk_phones: int = 100_000
    fail_after_chunks: int | None = None
    cut_after_chunks: int | None = None
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    fail_after_checks: int | None = None
    asked: list[Any] = field(default_factory=list)
    probe: health.HealthServicer = field(default_factory=health.HealthServicer)

    def say(self, status: Any) -> None:
        self.probe.set("", status)

    def GetServerInfo(self, request: Any, context: Any) -> admin_service_pb2.GetServerInfoResponse:  # noqa: N802  # the RPC's name
        if self.chunk_phones == 0:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")
        limits = admin_service_pb2.Limits(chunk_phones=self.chunk_phones)
        return admin_service_pb2.GetServerInfoResponse(version="0", limits=limits)

    def IsSendable(self, request: Any, context: Any) -> consent_service_pb2.IsSendableResponse:  # noqa: N802  # the RPC's name
        if len(self.asked) == self.fail_after_checks:
            context.abort(self.code, "broken\non purpose")
        self.asked.append(request)
        verdict = verdict_of(request.phone)
        response = consent_service_pb2.IsSendableResponse(
            sendable=verdict == consent_pb2.VERDICT_SENDABLE,
            verdict=verdict,
            outcome=outcome_of(verdict),
            label=self.label if verdict == consent_pb2.VERDICT_OPTED_OUT else "",
            phone=request.phone if verdict != consent_pb2.VERDICT_INVALID_NUMBER else "",
            as_of="v1.7",
        )
        if verdict == consent_pb2.VERDICT_OPTED_OUT:
            response.opted_out_at.FromSeconds(1_700_000_000)
        return response

    def StreamFilter(self, requests: Any, context: Any) -> Iterator[consent_service_pb2.StreamFilterResponse]:  # noqa: N802  # the RPC's name
        seen: set[str] = set()
        first = None
        for number, request in enumerate(requests):
            first = first or request.batch
            self.asked.append(request)
            if number == self.fail_after_chunks:
                context.abort(self.code, "broken on purpose")
            if number == self.cut_after_chunks:
                return
            verdicts = []
            for phone in request.batch.phones:
                verdict = verdict_of(phone)
                if first.skip_duplicates and phone in seen:
                    verdict = consent_pb2.VERDICT_DUPLICATE
                seen.add(phone)
                verdicts.append(verdict)
            yield consent_service_pb2.StreamFilterResponse(chunk_id=request.chunk_id, batch=self.answer(verdicts))

    def answer(self, verdicts: list[Any]) -> consent_service_pb2.BatchFilterResponse:
        sendable = verdicts.count(consent_pb2.VERDICT_SENDABLE)
        labels = [
            consent_service_pb2.SkipLabel(
                verdict=verdict,
                outcome=outcome_of(verdict),
                label=self.label if verdict == consent_pb2.VERDICT_OPTED_OUT else "",
                count=verdicts.count(verdict),
            )
            for verdict in set(verdicts)
        ]
        return consent_service_pb2.BatchFilterResponse(
            verdicts=verdicts,
            sendable_count=sendable,
            skipped_count=len(verdicts) - sendable,
            labels=labels,
            as_of="v1.7",
        )


def verdict_of(phone: str) -> Any:
    if not re.fullmatch(r"\s*\+[0-9]{7,15}\s*", phone):
        return consent_pb2.VERDICT_INVALID_NUMBER
    return consent_pb2.VERDICT_OPTED_OUT if phone.strip() == OUT else consent_pb2.VERDICT_SENDABLE


def outcome_of(verdict: Any) -> Any:
    sendable = verdict == consent_pb2.VERDICT_SENDABLE
    return consent_pb2.SEND_OUTCOME_SEND if sendable else consent_pb2.SEND_OUTCOME_SKIPPED


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that STOPLINE_TARGET names."""
    service = Service()  # type: ignore[abstract]  # the RPCs that it has not are UNIMPLEMENTED
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 16 << 20)])
    add_ConsentServiceServicer_to_server(service, server)
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(service.probe, server)
    service.say(health_pb2.HealthCheckResponse.SERVING)
    service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    monkeypatch.setenv("STOPLINE_TARGET", service.target)
    server.start()
    yield service
    server.stop(None).wait()


class Run(Protocol):
    """Runs the command line; the exit status, standard output and standard error are in the result."""

    def __call__(self, *args: object) -> Result: ...


@pytest.fixture
def run() -> Run:
    def run(*args: object) -> Result:
        result = CliRunner().invoke(app, list(map(str, args)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
