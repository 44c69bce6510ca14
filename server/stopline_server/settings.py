"""All settings: names, units, defaults, and how they are checked. README's table is made from this module.

Flags win over environment variables (`STOPLINE_…`), and those over a TOML file (`--config` or `STOPLINE_CONFIG`).
"""

from __future__ import annotations

import os
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from stopline_server.listen import parse_listen

ENV_PREFIX = "STOPLINE_"


class SettingsError(Exception):
    """The settings cannot be used; each line of the message names one setting and says what is wrong with it."""


class MigrateOnStart(StrEnum):
    """When `serve` brings the database's schema to its own by itself."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class KeywordScope(StrEnum):
    """What STOP and START mean where the inbound text carries a program."""

    ACCOUNT = "account"
    PROGRAM = "program"


def _stripped(value: object) -> object:
    # An empty environment variable is what a compose file leaves where nothing was set.
    return value.strip() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _require_url(value: str, schemes: tuple[str, ...], example: str) -> str:
    """Return a store's URL if it can be read. It is not repeated in the error: it may hold a password."""
    try:
        parts = urlsplit(value)
        readable = parts.scheme in schemes and parts.port != 0
    except ValueError:
        readable = False
    if not readable:
        raise ValueError(f"no URL of this kind: write {example}, with what is special in a password percent-encoded")
    return value


Text = Annotated[str, BeforeValidator(_stripped)]


class Settings(BaseSettings):
    """The settings of a server."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    listen: Text = Field("127.0.0.1:50051", description="address to serve on, `HOST:PORT`; port 0 takes a free one")
    data_dir: Path = Field(Path(".stopline"), description="folder of the embedded servers' data")
    database_url: Text = Field(
        "", description="`postgresql://…` of the primary; empty: an embedded PostgreSQL in the data folder"
    )
    redis_url: Text = Field(
        "",
        description="`redis://…`, `rediss://…` or `unix://…`; empty: an embedded Valkey in the data folder",
    )
    workers: int = Field(1, ge=1, le=64, description="worker processes on the one port")
    migrate_on_start: MigrateOnStart = Field(
        MigrateOnStart.AUTO,
        description="`auto`: an empty database or an embedded one is brought to this server's schema; `always`: any "
        "older one too; `never`: only `stopline migrate` does",
    )
    keyword_scope: KeywordScope = Field(
        KeywordScope.ACCOUNT,
        description="what STOP and START mean in a text that carries a program: the `account` or that `program`; "
        "STOP ALL always means the account",
    )
    max_batch_phones: int = Field(100_000, ge=1, le=1_000_000, description="phones in a BatchFilter")
    max_chunk_phones: int = Field(100_000, ge=1, le=1_000_000, description="phones in a StreamFilter chunk")
    max_body_bytes: int = Field(16_384, ge=1, le=1 << 20, description="bytes of an inbound body, as UTF-8")
    max_id_bytes: int = Field(128, ge=16, le=512, description="bytes of an account, program, message or other id")
    max_phone_chars: int = Field(64, ge=16, le=250, description="characters of a phone as given")
    max_page_size: int = Field(1_000, ge=1, le=10_000, description="entries on a page of a list")
    max_message_bytes: int = Field(
        16 << 20, ge=1 << 20, le=1 << 30, description="bytes of a request or response on the wire"
    )
    database_pool_size: int = Field(
        10, ge=2, le=100, description="connections to Postgres a worker, for look-ups; 3 more are kept for all else"
    )
    database_timeout_s: float = Field(
        3.0, gt=0, le=60, description="seconds: the bound on a connect, a wait for a connection, and a statement"
    )
    redis_timeout_ms: int = Field(
        200, ge=1, le=5_000, description="milliseconds to wait for Redis before Postgres is asked"
    )
    shutdown_grace_s: float = Field(10.0, ge=0, le=600, description="seconds that calls in progress get to finish")
    log_level: Annotated[str, BeforeValidator(_upper)] = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="`debug`, `info`, `warning` or `error`"
    )

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags and environment only: a `.env` in whatever folder the server was started in is no setting of it."""
        return init_settings, env_settings

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        parse_listen(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        example = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        return value and _require_url(value, ("postgresql", "postgres"), example)

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        example = "redis://HOST:PORT/0, rediss://… or unix:///PATH"
        return value and _require_url(value, ("redis", "rediss", "unix"), example)


def load_settings(flags: dict[str, Any], config: Path | None = None) -> Settings:
    """The settings from flags, environment and file.

    Args:
        flags: Names and values given on the command line; None where a flag was not given.
        config: The TOML file; `STOPLINE_CONFIG` where None.

    Raises:
        SettingsError: A value or a name is wrong.
    """
    if config is None and (named := os.environ.get(f"{ENV_PREFIX}CONFIG")):
        config = Path(named)
    given = {name: value for name, value in flags.items() if value is not None}
    file = _read_file(config) if config else {}
    # The file is the weakest: it gives only what neither flag nor environment does.
    set_by_env = {name for name in Settings.model_fields if os.environ.get(f"{ENV_PREFIX}{name.upper()}")}
    unknown = sorted(set(file) - set(Settings.model_fields))
    if unknown:
        raise SettingsError(f"{config}: no such setting: {', '.join(unknown)}")
    given = {**{name: value for name, value in file.items() if name not in set_by_env}, **given}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None


def _read_file(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {config}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config} is not TOML: {error}") from None


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0])
    return f"{name} ({ENV_PREFIX}{name.upper()}): {problem['msg'].removeprefix('Value error, ')}"
