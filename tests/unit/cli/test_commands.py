"""The command line as a whole: help, mistyped commands, and what is loaded for what."""

import subprocess
import sys

import pytest
from typer.testing import Result

from .conftest import Run


def one_line(result: Result, status: int) -> str:
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("stopline: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("command", ["serve", "migrate", "healthcheck", "check", "filter"])
def test_help(run: Run, command: str) -> None:
    assert command in run("--help").stdout
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"stopline {command}" in result.stdout.replace("root", "stopline")


@pytest.mark.parametrize("command", ["check", "filter"])
def test_help_tells_the_exit_statuses(run: Run, command: str) -> None:
    text = " ".join(run(command, "--help").stdout.split())
    assert "3 the service could not answer: do not send" in text


def test_without_a_command(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands" in result.stdout


def test_version(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("stopline ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["+14155550100"], "No such command '+…00'; see `"),
        (["14155550100"], "No such command '…00'"),
        (["check", "+14155550100"], "Missing option '--account'"),
        (["check", "--account", "a"], "Missing argument 'PHONE...'"),
        (["check", "--account", "a", "-14155550100"], "No such option"),
        (["check", "--account", "a", "--context", "loud", "+14155550100"], "'loud' is not one of 'direct', 'bulk'"),
        (["filter", "a.csv", "+14155550100", "--account", "a"], "unexpected extra argument"),
        (["healthcheck", "--timeout", "0"], "--timeout"),
    ],
)
def test_mistyped(run: Run, args: list[str], says: str) -> None:
    line = one_line(run(*args), 2)
    assert says in line
    assert "4155550100" not in line


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import stopline_server.cli.serve, stopline_server.supervisor",
        "from stopline_server.cli.commands import app\ntry: app(['--help'])\nexcept SystemExit: pass",
        # All the way to the supervisor, which an address that is not of this machine ends.
        "from stopline_server.cli.commands import app\n"
        "try: app(['serve', '--listen', '192.0.2.1:1'])\nexcept SystemExit: pass",
    ],
    ids=["imports", "help", "serve"],
)
def test_the_supervisor_and_help_load_no_grpc(code: str) -> None:
    loaded = loaded_after(code)
    assert "typer" in loaded or "stopline_server" in loaded
    assert not loaded & {"grpc", "stopline", "sqlalchemy", "asyncpg", "redis", "uvloop"}


def test_module_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stopline_server", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("stopline ")
