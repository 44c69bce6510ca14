"""A worker process: one event loop that serves calls until its supervisor or a signal ends it.

Started by `supervisor`, never by hand: settings come as one JSON line on standard input, whose end means that the
supervisor is gone; reports go to standard output, a JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import uvloop

from stopline_server.app import App
from stopline_server.errors import SchemaError
from stopline_server.logs import configure_logs
from stopline_server.settings import Settings


def _report(**report: object) -> None:
    # One write a line: the supervisor reads lines.
    os.write(sys.stdout.fileno(), json.dumps(report).encode() + b"\n")


async def _serve(settings: Settings, *, embedded: bool) -> None:
    app = App(settings, embedded=embedded)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), _on_input, stop)
    try:
        await app.run(stop, on_ready=lambda: _report(event="ready"))
    finally:
        loop.remove_reader(sys.stdin.fileno())


def _on_input(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):  # the supervisor is gone
        stop.set()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def main() -> int:
    """Run the worker; the exit status."""
    payload = json.loads(sys.stdin.buffer.readline())
    settings = Settings(**payload["settings"])
    configure_logs(settings.log_level)
    try:
        uvloop.run(_serve(settings, embedded=payload["embedded"]))
    except SchemaError as error:
        _report(failed=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
