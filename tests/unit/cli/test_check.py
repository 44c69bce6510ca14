"""`stopline check` and `stopline healthcheck`."""

import json
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2

from stopline_server.cli.check import check
from stopline_server.cli.failure import Exit
from stopline_server.cli.service import Question

from .conftest import OUT, Run, Service
from .test_commands import one_line

FREE = "+14155550101"
NOBODY = "127.0.0.1:1"


def test_all_sendable(service: Service, run: Run) -> None:
    result = run("check", "--account", "acme", FREE, "+14155550102")
    assert result.exit_code == Exit.OK
    assert result.stdout == f"{FREE}\tSENDABLE\tSEND\t\t\n+14155550102\tSENDABLE\tSEND\t\t\n"
    assert result.stderr == ""


def test_one_is_not(service: Service, run: Run) -> None:
    result = run("check", "--account", "acme", FREE, OUT, "12")
    assert result.exit_code == Exit.NOT_SENDABLE
    assert result.stdout.splitlines()[1:] == [
        f"{OUT}\tOPTED_OUT\tSKIPPED\tUnsubscribed from Text\t2023-11-14T22:13:20Z",
        "12\tINVALID_NUMBER\tSKIPPED\t\t",
    ]


def test_what_is_asked(service: Service, run: Run) -> None:
    run("check", "--account", "acme", "--context", "automation", "--region", "US", "--program", "p", FREE)
    (asked,) = service.asked
    assert (asked.account_id, asked.phone, asked.default_region, asked.program_id) == ("acme", FREE, "US", "p")
    assert asked.context == 4


def test_json(service: Service, run: Run) -> None:
    result = run("check", "--account", "acme", "--json", OUT, FREE)
    first, second = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == Exit.NOT_SENDABLE
    assert first == {
        "phone": OUT,
        "e164": OUT,
        "sendable": False,
        "verdict": "OPTED_OUT",
        "outcome": "SKIPPED",
        "label": "Unsubscribed from Text",
        "opted_out_at": "2023-11-14T22:13:20+00:00",
        "as_of": "v1.7",
    }
    assert (second["sendable"], second["opted_out_at"]) == (True, None)


def test_table_on_a_terminal(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service.label = "[bold]not\n[/markup]"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    asked = Question("acme", "direct", "", "")
    assert check(service.target, asked, [OUT, FREE], as_json=False) == Exit.NOT_SENDABLE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["phone", "verdict", "outcome", "label", "opted", "out", "at"]
    assert lines[1].split() == [OUT, "OPTED_OUT", "SKIPPED", "[bold]not", "[/markup]", "2023-11-14T22:13:20Z"]
    assert lines[2].split() == [FREE, "SENDABLE", "SEND"]


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.PERMISSION_DENIED])
def test_no_answer(service: Service, run: Run, code: grpc.StatusCode) -> None:
    service.fail_after_checks, service.code = 0, code
    line = one_line(run("check", "--account", "acme", FREE), Exit.UNANSWERED)
    assert f"{service.target} could not answer, do not send: {code.name}: broken on purpose" in line
    assert FREE not in line


def test_a_later_number_without_answer_leaves_none(service: Service, run: Run) -> None:
    service.fail_after_checks, service.code = 1, grpc.StatusCode.INTERNAL
    one_line(run("check", "--account", "acme", FREE, FREE), Exit.UNANSWERED)


def test_the_question_is_wrong(service: Service, run: Run) -> None:
    service.fail_after_checks, service.code = 0, grpc.StatusCode.INVALID_ARGUMENT
    assert "refuses the question" in one_line(run("check", "--account", "acme", FREE), Exit.USAGE)


def test_the_command_line_is_not_utf_8(service: Service, run: Run) -> None:
    assert "not UTF-8" in one_line(run("check", "--account", "acme", "caf\udce9"), Exit.USAGE)
    assert service.asked == []


def test_nobody_there(run: Run) -> None:
    line = one_line(run("check", "--account", "acme", "--target", NOBODY, FREE), Exit.UNANSWERED)
    assert "do not send: UNAVAILABLE" in line


def test_a_proxy_is_not_asked(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://{NOBODY}")
    assert run("check", "--account", "acme", FREE).exit_code == Exit.OK
    assert run("healthcheck").exit_code == Exit.OK


def test_healthy(service: Service, run: Run) -> None:
    result = run("healthcheck")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "SERVING\n", "")


def test_not_serving(service: Service, run: Run) -> None:
    service.say(health_pb2.HealthCheckResponse.NOT_SERVING)
    assert "says NOT_SERVING" in one_line(run("healthcheck"), 1)


def test_health_of_nobody(run: Run) -> None:
    assert f"{NOBODY} does not answer: UNAVAILABLE" in one_line(run("healthcheck", "--target", NOBODY), 1)


def test_health_takes_too_long(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with service.probe._lock:
        assert "DEADLINE_EXCEEDED" in one_line(run("healthcheck", "--timeout", "0.2"), 1)
