"""What the clients give and raise, apart from any call."""

from __future__ import annotations

import enum
import inspect
from typing import Any

import grpc
import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from tests.unit.client import answers

import stopline
from stopline import errors
from stopline.v1 import consent_pb2

READ_STRICTLY = {stopline.Verdict, stopline.SendContext, stopline.SendOutcome}


@pytest.mark.parametrize(
    ("ours", "wire"),
    [
        (stopline.Verdict, consent_pb2.Verdict),
        (stopline.SendContext, consent_pb2.SendContext),
        (stopline.SendOutcome, consent_pb2.SendOutcome),
        (stopline.InboundAction, consent_pb2.InboundAction),
        (stopline.MatchKind, consent_pb2.MatchKind),
        (stopline.ConsentStatus, consent_pb2.ConsentStatus),
    ],
)
def test_enums_have_the_numbers_of_the_api(ours: type[enum.IntEnum], wire: EnumTypeWrapper) -> None:
    prefix = next(name for name, number in wire.items() if number == 0).removesuffix("UNSPECIFIED")
    expected = {name.removeprefix(prefix): number for name, number in wire.items()}
    if ours in READ_STRICTLY:
        # There is no such value to compare with: it cannot be mistaken for an answer.
        del expected["UNSPECIFIED"]
    assert {each.name: int(each) for each in ours} == expected


def test_only_sendable_is_true() -> None:
    for verdict in stopline.Verdict:
        sendable = verdict is stopline.Verdict.SENDABLE
        check = stopline.Check(sendable, verdict, stopline.SendOutcome.SKIPPED, "", "", None, "")
        filtered = stopline.Filtered("+14155550100", verdict, "", stopline.SendOutcome.SKIPPED, "")
        assert (bool(check), bool(filtered), filtered.sendable) == (sendable, sendable, sendable)


def test_a_list_is_no_yes_or_no() -> None:
    result = stopline.BatchResult((), (), {}, 0, 0, "")
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(result)


def _signatures(client: type[object]) -> dict[str, list[tuple[str, object, object]]]:
    return {
        name.replace("__aenter__", "__enter__").replace("__aexit__", "__exit__"): [
            (each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()
        ]
        for name, method in vars(client).items()
        if inspect.isfunction(method)
    }


def test_both_clients_are_called_alike() -> None:
    sync, aio = _signatures(stopline.Client), _signatures(stopline.AsyncClient)
    assert sync == aio
    assert {"is_sendable", "record_inbound", "batch_filter", "filter", "get_consent"} <= sync.keys()


def test_everything_public_is_exported() -> None:
    public = {
        name
        for module in (stopline.errors, stopline.values)
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public | {"Client", "AsyncClient"} == set(stopline.__all__)
    assert all(hasattr(stopline, name) for name in stopline.__all__)


class _Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, metadata: object = ()) -> None:
        self._code, self._metadata = code, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "told"

    def trailing_metadata(self) -> Any:
        return self._metadata


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_is_a_typed_error(code: grpc.StatusCode) -> None:
    error = errors.from_rpc_error(_Failure(code))
    general = {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.ALREADY_EXISTS,
    }
    assert (type(error) is stopline.InternalError) is (code in general)
    assert (error.code, error.reason, error.field_violations, error.retry_after) == (code, "", (), None)
    assert str(error) == f"{code.name}: told"


def test_an_error_without_a_code_is_one_too() -> None:
    error = errors.from_rpc_error(grpc.RpcError("lost"))
    assert (type(error), error.code) == (stopline.InternalError, grpc.StatusCode.UNKNOWN)


@pytest.mark.parametrize("metadata", [None, (("grpc-status-details-bin", b"\xff\xff"),), answers.OF_A_PROXY])
def test_details_that_are_not_ours_say_nothing(metadata: object) -> None:
    error = errors.from_rpc_error(_Failure(grpc.StatusCode.UNAVAILABLE, metadata))
    assert (type(error), error.reason, error.retry_after) == (stopline.UnavailableError, "", None)
