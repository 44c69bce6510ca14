"""`stopline serve`: settings, the supervisor, and what a person sees when it is ready. Imports no grpc."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stopline_server.cli.failure import Exit, Failure
from stopline_server.embedded import EmbeddedError
from stopline_server.listen import Address, ListenError
from stopline_server.settings import Settings, SettingsError, load_settings
from stopline_server.supervisor import ServeError, Supervisor

# From the range that is reserved for fiction.
_EXAMPLE = "+14155550100"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound


def serve(flags: dict[str, Any], config: Path | None) -> None:
    """Serve until SIGINT or SIGTERM; a second one does not wait for calls in progress.

    Args:
        flags: Settings given on the command line; None where one was not.
        config: The settings file, if one was named.

    Raises:
        Failure: The settings are wrong, or the service cannot start or go on.
    """
    settings = settings_from(flags, config)
    try:
        Supervisor(settings, _tell_ready).run()
    except (ServeError, ListenError, EmbeddedError) as error:
        raise Failure(str(error), Exit.FAILED) from None


def settings_from(flags: dict[str, Any], config: Path | None) -> Settings:
    """Give the settings, or end the command with what is wrong with them."""
    try:
        return load_settings(flags, config)
    except SettingsError as error:
        raise Failure(str(error), Exit.USAGE) from None


def _tell_ready(address: Address, settings: Settings) -> None:
    sys.stderr.write(banner(address, settings))
    sys.stderr.flush()
    # The one line that programs wait for; last, so that whoever reads it has the banner before it.
    sys.stdout.write(f"stopline ready on {address}\n")
    sys.stdout.flush()


def banner(address: Address, settings: Settings) -> str:
    """What a person is shown: where the service is, where its data is, and two lines to paste."""
    target = str(Address(_WILDCARDS.get(address.host, address.host), address.port))
    question = f'{{"account_id":"demo","phone":"{_EXAMPLE}"}}'
    code = f"import stopline; print(stopline.Client('{target}').is_sendable('demo', '{_EXAMPLE}').verdict.name)"
    return (
        f"Stopline serves on {address}\n"
        f"  database  {_store('PostgreSQL', settings.database_url, settings.data_dir)}\n"
        f"  cache     {_store('Valkey', settings.redis_url, settings.data_dir)}\n"
        "Try:\n"
        f"  grpcurl -plaintext -d '{question}' {target} stopline.v1.ConsentService/IsSendable\n"
        f'  python -c "{code}"\n'
    )


def _store(kind: str, url: str, data_dir: Path) -> str:
    if not url:
        return f"embedded {kind} in {data_dir.resolve()}"
    place = host_of(url)
    return f"outside, {place}" if place else "outside"


def host_of(url: str) -> str:
    """The host and port, or the socket, of a store's URL, without user and password; "" where that is not sure."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if "@" in parts.path + parts.query + parts.fragment:
        # A password with an unescaped `/`, `?` or `#`: what looks like the host may be a piece of it.
        return ""
    if not host:
        return parse_qs(parts.query).get("host", [""])[0] or (parts.path if parts.scheme == "unix" else "")
    return f"{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
