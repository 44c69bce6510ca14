"""The commands and their options. What a command does is in a module of its own, loaded when it runs."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stopline_server.cli.failure import Exit, report


class Commands(TyperGroup):
    """The commands, each of which ends with one line on standard error where it fails."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run one, and exit with its status."""
        options["standalone_mode"] = False
        try:
            status = super().main(*args, **options)
        except typer.TyperException as error:
            report(error)
            status = error.exit_code
        except typer.Abort:
            status = Exit.STOPPED
        sys.exit(status or 0)


class SendContext(StrEnum):
    """The place that a text is sent from."""

    DIRECT = "direct"
    BULK = "bulk"
    SEQUENCE = "sequence"
    AUTOMATION = "automation"


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    # A traceback that shows variables shows phone numbers and passwords.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Stopline: who said STOP, and whether a text may be sent.",
)

Target = Annotated[
    str, typer.Option("--target", envvar="STOPLINE_TARGET", metavar="HOST:PORT", help="The service to ask.")
]
Account = Annotated[str, typer.Option("--account", metavar="ID", help="The account whose consents count.")]
Region = Annotated[
    str,
    typer.Option("--region", metavar="US", help="Where numbers without a country code are from. (default: nowhere)"),
]
Program = Annotated[str, typer.Option("--program", metavar="ID", help="The program of the account that sends.")]
Where = Annotated[SendContext, typer.Option("--context", help="What sends: it decides outcome and label.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A TOML file of settings, weaker than flags and environment."),
]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="Data of the embedded servers. (default: .stopline)")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="postgresql://… of the primary. Others on this machine can read a flag: a password belongs into the "
        "environment or the file. (default: an embedded PostgreSQL)",
    ),
]
DEFAULT_TARGET = "127.0.0.1:50051"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  # rarely asked for

        typer.echo(f"stopline {version('stopline-server')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _stopline(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(Exit.USAGE)


@app.command()
def serve(
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where to serve; port 0 takes a free one. (default: 127.0.0.1:50051)"),
    ] = None,
    data_dir: DataDir = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Worker processes on the one port. (default: 1)")
    ] = None,
    config: Config = None,
    database_url: DatabaseUrl = None,
    redis_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="redis://…, rediss://… or unix://…; as above. (default: an embedded Valkey)"),
    ] = None,
    migrate_on_start: Annotated[
        str | None,
        typer.Option(
            metavar="auto|always|never",
            help="Bring the database's schema to this server's: of an empty or embedded database, always, or never. "
            "(default: auto)",
        ),
    ] = None,
    keyword_scope: Annotated[
        str | None,
        typer.Option(
            metavar="account|program",
            help="What STOP and START mean in a text that carries a program. (default: account)",
        ),
    ] = None,
    shutdown_grace_s: Annotated[
        str | None,
        typer.Option(metavar="S", help="Seconds that calls in progress get to finish. (default: 10)"),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="debug|info|warning|error", help="The least that is logged. (default: info)")
    ] = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; "ready" and the address on standard output say when.

    Every setting has an environment variable, STOPLINE_ and its name, and a key in the file of --config. Flags win
    over the environment, and that over the file.
    """
    from stopline_server.cli.serve import serve as run  # noqa: PLC0415  # settings and servers

    flags = {
        "listen": listen, "data_dir": data_dir, "workers": workers, "database_url": database_url,
        "redis_url": redis_url, "migrate_on_start": migrate_on_start, "keyword_scope": keyword_scope,
        "shutdown_grace_s": shutdown_grace_s, "log_level": log_level,
    }  # fmt: skip
    run(flags, config)


@app.command()
def migrate(
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 unless the schema is current.")
    ] = False,
) -> None:
    """Bring the database to this server's schema, and print its revision."""
    from stopline_server.cli.migrate import migrate as run  # noqa: PLC0415  # the database's libraries

    run({"database_url": database_url, "data_dir": data_dir}, config, check=check)


@app.command()
def healthcheck(
    target: Target = DEFAULT_TARGET,
    timeout: Annotated[float, typer.Option(metavar="S", min=0.01, help="Seconds to wait for the answer.")] = 3.0,
) -> None:
    """Exit 0 if the service says that it is serving, 1 otherwise."""
    from stopline_server.cli.health import healthcheck as run  # noqa: PLC0415  # grpc

    run(target, timeout)


@app.command()
def check(
    phones: Annotated[list[str], typer.Argument(metavar="PHONE...", help="The numbers; E.164 without --region.")],
    account: Account,
    context: Where = SendContext.DIRECT,
    region: Region = "",
    program: Program = "",
    target: Target = DEFAULT_TARGET,
    json: Json = False,
) -> None:
    """May these numbers be texted?

    Exit status: 0 all may; 1 at least one may not; 2 the command line is wrong; 3 the service could not answer: do
    not send.
    """
    from stopline_server.cli.check import check as run  # noqa: PLC0415  # grpc
    from stopline_server.cli.service import Question  # noqa: PLC0415  # grpc

    raise typer.Exit(run(target, Question(account, context.value, region, program), phones, as_json=json))


@app.command(name="filter")
def filter_(
    source: Annotated[Path, typer.Argument(metavar="LIST.csv", help="The list: CSV in UTF-8.")],
    account: Account,
    context: Where = SendContext.BULK,
    region: Region = "",
    program: Program = "",
    phone_column: Annotated[
        str | None,
        typer.Option(metavar="NAME|N", help="The column of phones, by name or by number from 1. (default: found)"),
    ] = None,
    sendable: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows that may be texted. (default: LIST.sendable.csv)")
    ] = None,
    skipped: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The others, with verdict and reason. (default: LIST.skipped.csv)"),
    ] = None,
    skip_duplicates: Annotated[
        bool,
        typer.Option("--skip-duplicates/--keep-duplicates", help="Whether a number's later rows are skipped."),
    ] = False,
    target: Target = DEFAULT_TARGET,
    json: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the two files if they exist.")] = False,
) -> None:
    """Split a list into the rows that may be texted and the rows that may not.

    Both files appear at the end and whole, or not at all. Exit status: 0 done, whatever the verdicts; 2 the command
    line or a file is wrong; 3 the service could not answer: do not send.
    """
    from stopline_server.cli.filter import Job  # noqa: PLC0415  # grpc
    from stopline_server.cli.filter import filter_list as run  # noqa: PLC0415  # grpc
    from stopline_server.cli.service import Question  # noqa: PLC0415  # grpc

    job = Job(source, phone_column, sendable, skipped, skip_duplicates=skip_duplicates, force=force)
    run(target, Question(account, context.value, region, program), job, as_json=json)
