"""What README says is what happens: its session is run word for word, and its tables are made of the code."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.served import serving

from stopline.v1 import admin_service_pb2, consent_service_pb2, timeline_service_pb2
from stopline_server.rpc.admin_service import AdminService
from stopline_server.rpc.consent_service import ConsentService
from stopline_server.rpc.timeline_service import TimelineService

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text()
ADDRESS = "127.0.0.1:50051"
STAND_IN = [sys.executable, str(Path(__file__).with_name("grpcurl.py"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(console: str) -> list[tuple[str, str]]:
    """The command lines of a console block, each with what README shows of its output."""
    parts = re.split(r"^\$ (.*)\n", console, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def as_shown(shown: Any, got: Any) -> Any:
    """What was got, with `…` where README leaves a value open."""
    if shown == "…" and isinstance(got, str) and got:
        return "…"
    if isinstance(shown, dict) and isinstance(got, dict):
        return {name: as_shown(shown.get(name), value) for name, value in got.items()}
    return got


def grpcurls() -> list[list[str]]:
    """The stand-in always, and the real one where the machine has it."""
    real = shutil.which("grpcurl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return [STAND_IN, *([[real]] if real else [])]


@pytest.mark.parametrize("grpcurl", grpcurls(), ids=lambda command: Path(command[-1]).name)
def test_the_first_session(tmp_path: Path, grpcurl: list[str]) -> None:
    session, shell = blocks("console")
    (python,) = blocks("python")
    assert len(commands(session)) == 2
    with serving(tmp_path) as served:
        for line, shown in commands(session):
            words = shlex.split(line.replace(ADDRESS, served.target))
            assert words[0] == "grpcurl"
            expected = json.loads(shown)
            assert as_shown(expected, json.loads(run([*grpcurl, *words[1:]], tmp_path))) == expected
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(python.replace(ADDRESS, served.target), {})
        assert said.getvalue().splitlines() == re.findall(r"^ *# (.*)$", python, re.MULTILINE)
        (tmp_path / "list.csv").write_text("name,phone\nAnn,(415) 555-0100\nBob,rubbish\n")
        stopline = [sys.executable, "-m", "stopline_server"]
        for line, shown in commands(shell):
            words = shlex.split(line)
            assert words[0] == "stopline"
            assert run([*stopline, *words[1:], "--target", served.target], tmp_path) == shown
    assert (tmp_path / "list.sendable.csv").read_text() == "name,phone\nAnn,(415) 555-0100\n"
    assert "Bob,rubbish,INVALID_NUMBER," in (tmp_path / "list.skipped.csv").read_text()


def test_the_two_commands_are_in_the_makefile() -> None:
    (start,) = blocks("sh")
    targets = re.findall(r"^make (\w+)", start, re.MULTILINE)
    assert targets == ["serve", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=TOP, check=True, capture_output=True)


def test_the_lines_to_paste_work(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        lines = [line.strip() for line in served.told().splitlines()]
        grpcurl = next(shlex.split(line) for line in lines if line.startswith("grpcurl "))
        assert json.loads(run([*STAND_IN, *grpcurl[1:]], tmp_path))["verdict"] == "VERDICT_SENDABLE"
        python = next(shlex.split(line) for line in lines if line.startswith("python "))
        assert run([sys.executable, *python[1:]], tmp_path) == "SENDABLE\n"


def test_the_settings_table_is_fresh() -> None:
    subprocess.run([sys.executable, "docs/settings.py", "--check"], cwd=TOP, check=True)


def test_the_list_of_what_is_not_built() -> None:
    listed = re.search(r"<!-- unimplemented:begin -->\n(.*)<!-- unimplemented:end -->", README, re.DOTALL)
    assert listed
    told = {
        service: re.findall(r"`(\w+)`", names)
        for service, names in re.findall(r"^\* `(\w+)`: (.*)$", listed[1], re.MULTILINE)
    }
    services = [
        (consent_service_pb2, ConsentService),
        (timeline_service_pb2, TimelineService),
        (admin_service_pb2, AdminService),
    ]
    missing = {
        service.__name__: [rpc.name for rpc in proto.DESCRIPTOR.services_by_name[service.__name__].methods
                           if not hasattr(service, rpc.name)]
        for proto, service in services
    }  # fmt: skip
    assert told == {name: rpcs for name, rpcs in missing.items() if rpcs}


def test_links_lead_somewhere() -> None:
    pages = [TOP / "README.md", *(TOP / "docs").rglob("*.md"), TOP / "CHANGELOG.md", TOP / "client/python/README.md"]
    for page in pages:
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
