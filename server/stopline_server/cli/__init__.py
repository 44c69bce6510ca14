"""The command line, `stopline`.

Commands are declared in `commands`, and each loads what it needs when it runs: `--help` answers at once, and `serve`
stays free of grpc, which its supervisor must not import.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line, and exit with its status."""
    # Here, so that importing a part of this package does not load typer.
    from stopline_server.cli.commands import app  # noqa: PLC0415

    app()
