"""What callers send wrongly, one field at a time, and what lies just within the limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.rpc_help import (
    ACCOUNT,
    ANN,
    BOB,
    CODES,
    NO_NUMBERS,
    RPCS,
    TEN,
    Edge,
    Scripted,
    failure,
    open_edge,
    open_real_edge,
    told,
)

from stopline.v1 import consent_pb2
from stopline.v1 import consent_service_pb2 as consent
from stopline.v1 import timeline_service_pb2 as history
from stopline_server.rpc.tokens import page_token

WRONG, OVER, REGION = "INVALID_FIELD", "LIMIT_EXCEEDED", "UNKNOWN_REGION"
# Every one would lift Ann's opt-out, or tell of it, were it not for one bad field.
ASKED: list[Message] = [
    consent.RecordInboundRequest(account_id=ACCOUNT, message_id="m9", from_phone=ANN, body="START"),
    consent.IsSendableRequest(account_id=ACCOUNT, phone=ANN),
    consent.BatchFilterRequest(account_id=ACCOUNT, phones=[ANN]),
    consent.StreamFilterRequest(batch=consent.BatchFilterRequest(account_id=ACCOUNT, phones=[ANN])),
    history.GetConsentRequest(account_id=ACCOUNT, phone=ANN),
    history.ListTimelineRequest(account_id=ACCOUNT, phone=ANN),
]
ID_128 = "é" * 64
MARK = "@@@@"
"""As long as what is put in its place."""
IDS, OPTIONAL_IDS = ("account_id", "message_id"), ("program_id",)


class Bad(NamedTuple):
    """A field that holds what it must not."""

    request: Message
    field: str
    reason: str
    tells: str
    """What the description must tell: the limit."""
    value: Any


def bad_fields() -> list[Any]:
    """Every field of every RPC with every value that is wrong in it."""
    rules: list[tuple[tuple[str, ...], str, str, list[Any]]] = [
        (IDS, WRONG, "", [""]),
        ((*IDS, *OPTIONAL_IDS), WRONG, "", ["a\x00b", "\x1f", "a\nb", "\x7f", "a\u0085", "\u2028"]),
        ((*IDS, *OPTIONAL_IDS), OVER, "128 bytes", [ID_128 + "a", "a" * 129, "é" * 128, "a" * 3_000_000]),
        (("default_region",), REGION, "ISO 3166", ["XX", "USA", "U", "001", "1", "U\x00", "ß", "ﬁ", "US" * 99]),
        (("context",), WRONG, "", [77, -1]),
        (("body",), OVER, "16384 bytes", ["S" * 16_385, "é" * 8_193, "STOP " * 600_000, "S" * (5 << 20)]),
        (("from_phone", "to_phone", "phone"), OVER, "64 characters", ["+" * 65, ANN + " " * 53, "+" * 70_000]),
        (("from_phone", "get.phone"), WRONG, "E.164", NO_NUMBERS),
        (("batch.context",), WRONG, "", [consent_pb2.SEND_CONTEXT_OPT_OUT_CONFIRMATION]),
        (("phones",), OVER, "100000", [[ANN] * 100_001]),
        (("page_size",), WRONG, "", [-1, -(2**31)]),
        (("page_token",), WRONG, "", ["rubbish", "é", "=", "A" * 70_000, page_token("other", 1, 1)]),
        (("received_at",), WRONG, "Timestamp", [
            Timestamp(seconds=-62_135_596_801), Timestamp(seconds=253_402_300_800), Timestamp(seconds=-(2**63)),
            Timestamp(seconds=2**63 - 1), Timestamp(seconds=TEN, nanos=-1), Timestamp(seconds=TEN, nanos=10**9),
            Timestamp(seconds=TEN, nanos=-(2**31)),
        ]),
    ]  # fmt: skip
    return [
        pytest.param(
            Bad(request, path, reason, tells, value),
            id=f"{type(request).__name__}-{path}-{str(value)[:12].encode('unicode_escape').decode()}-{reason}-{number}",
        )
        for number, (fields, reason, tells, values) in enumerate(rules)
        for request in ASKED
        for path in paths_of(request)
        if any(name in fields for name in names_of(request, path))
        for value in values
    ]


def paths_of(request: Message) -> list[str]:
    """The paths of a request's fields, as errors name them."""
    if isinstance(request, consent.StreamFilterRequest):
        return [f"batch.{name}" for name in consent.BatchFilterRequest.DESCRIPTOR.fields_by_name]
    return list(request.DESCRIPTOR.fields_by_name)


def names_of(request: Message, path: str) -> set[str]:
    """A field, by the names that rules have for it."""
    name = path.removeprefix("batch.")
    extra = {
        consent.BatchFilterRequest: f"batch.{name}",
        consent.StreamFilterRequest: f"batch.{name}",
        history.GetConsentRequest: f"get.{name}",
        history.ListTimelineRequest: f"get.{name}",
    }
    return {name, extra.get(type(request), name)}


def changed(request: Message, path: str, value: Any) -> Message:
    """The request with another value."""
    copy = type(request)()
    copy.CopyFrom(request)
    *parents, name = path.split(".")
    target: Any = copy
    for parent in parents:
        target = getattr(target, parent)
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    elif isinstance(value, list):
        getattr(target, name)[:] = value
    else:
        setattr(target, name, value)
    return copy


@pytest.fixture
def store() -> Scripted:
    return Scripted()


@pytest.fixture
async def edge(store: Scripted) -> AsyncIterator[Edge]:
    """A server that knows of Ann's STOP."""
    async with open_edge(store) as opened:
        await opened.hear("STOP", "m1", received_at=Timestamp(seconds=TEN))
        yield opened


@pytest.fixture
async def real_edge(database_url: str, redis_url: str) -> AsyncIterator[Edge]:
    async with open_real_edge(database_url, redis_url) as opened:
        yield opened


@pytest.mark.parametrize("bad", bad_fields())
async def test_a_bad_field_is_named_and_changes_nothing(edge: Edge, store: Scripted, bad: Bad) -> None:
    before = await edge.known()
    asked = store.asked
    failed = await failure(edge.ask(changed(bad.request, bad.field, bad.value)))
    assert failed.what == (grpc.StatusCode.INVALID_ARGUMENT, bad.reason)
    (description,) = failed.fields.values()
    assert (list(failed.fields), bad.tells in description) == ([bad.field], True), description
    assert ANN.removeprefix("+") not in failed.everything
    assert store.asked == asked
    assert await edge.known() == before
    assert await edge.verdicts(ANN) == [consent_pb2.VERDICT_OPTED_OUT]


def marked(kind: Descriptor) -> Iterator[tuple[str, Message]]:
    """For each string in a message, and in the messages in it, a message with the mark there."""
    for field in kind.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            inner: list[tuple[str, Any]] = [("", MARK)]
        else:
            inner = [(f".{name}", value) for name, value in marked(field.message_type)] if field.message_type else []
        for name, value in inner:
            made = message_factory.GetMessageClass(kind)(**{field.name: [value] if field.is_repeated else value})
            yield field.name + name, made


def no_messages() -> list[Any]:
    """For each RPC bytes that are not its request: cut short, rubbish, or with a string that is not UTF-8."""
    found = []
    for rpc in RPCS:
        found += [pytest.param(rpc, data, id=f"{rpc.name}-{data[:4].hex()}") for data in (b"\x0a\x05ab", b"\xff" * 30)]
        for name, message in marked(rpc.input_type):
            for text in (b"\xff\xff\xff\xff", b"a\xed\xa0\x80", b"aa\xc0\x80", b"\xf4\x90\x80\x80", b"12\xe2\x82"):
                data = message.SerializeToString().replace(MARK.encode(), text)
                found.append(pytest.param(rpc, data, id=f"{rpc.name}-{name}-{text.hex()}"))
    return found


@pytest.mark.parametrize(("rpc", "data"), no_messages())
async def test_bytes_that_are_no_message_are_malformed(
    edge: Edge, store: Scripted, rpc: MethodDescriptor, data: bytes
) -> None:
    asked = store.asked
    failed = await failure(edge.send(rpc, data))
    # A stream that is not built yet is not read.
    expected = "UNIMPLEMENTED" if rpc.name == "ImportConsents" else "MALFORMED_MESSAGE"
    assert failed.what == (grpc.StatusCode[CODES[expected]], expected)
    assert store.asked == asked


async def test_a_message_over_grpcs_limit_is_refused_by_grpc_alone(edge: Edge, store: Scripted) -> None:
    before = await edge.known()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.hear("S" * (16 << 20), "m2")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await edge.known() == before


@pytest.mark.parametrize(
    "body",
    [
        "STOP" + " " * 16_380,
        "STOP" + "\u3000" * 5_460,
        "STOP\x00",
        "\x00" * 16_380 + "STOP",
        "STOP " + "\U0010ffff" * 9,
    ],
    ids=["16 KiB", "16 KiB of long spaces", "a NUL", "16 KiB of NULs", "the last character"],
)
async def test_what_is_just_within_the_limits_is_recorded(real_edge: Edge, body: str) -> None:
    ids = {"account_id": ID_128, "program_id": ID_128, "message_id": ID_128}
    spelled = BOB + " " * (64 - len(BOB))
    heard = await real_edge.hear(body, phone=spelled, to_phone="1" * 64, **ids)
    assert (heard.action, heard.consent.status) == (2, 3)
    state, timeline = await real_edge.known(BOB, ID_128, ID_128)
    assert state.consent == heard.consent
    assert [entry.body for entry in timeline.entries] == [body.replace("\x00", "\N{SYMBOL FOR NULL}")]
    assert await real_edge.verdicts(spelled, account_id=ID_128, program_id=ID_128) == [2]
    assert (await real_edge.hear(body, phone=spelled, **ids)).duplicate


@pytest.mark.parametrize("version", [2**63 - 1, 2**63, 2**200])
async def test_a_page_token_that_somebody_made_up_is_no_internal_error(real_edge: Edge, version: int) -> None:
    await real_edge.hear("STOP", "m1")
    token = page_token(ACCOUNT, int(ANN), version)
    request = history.ListTimelineRequest(account_id=ACCOUNT, phone=ANN, page_token=token)
    try:
        assert len((await real_edge.ask(request)).entries) == 1
    except grpc.aio.AioRpcError as error:
        assert told(error).what == (grpc.StatusCode.INVALID_ARGUMENT, WRONG)  # noqa: PT017  # either is right


async def test_a_hint_names_no_field_that_the_request_does_not_have(edge: Edge) -> None:
    failed = await failure(edge.ask(history.ListTimelineRequest(account_id=ACCOUNT, phone="2025550143")))
    assert "default_region" not in failed.everything
