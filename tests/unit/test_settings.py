"""Settings: where they come from, which of two wins, and what is said of a wrong one."""

from pathlib import Path

import pytest

from stopline_server.settings import ENV_PREFIX, Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    monkeypatch.delenv("STOPLINE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def wrong(flags: dict[str, object], config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, config)
    return str(caught.value)


def test_the_defaults_are_usable() -> None:
    settings = load_settings({})
    assert (settings.listen, str(settings.data_dir), settings.workers) == ("127.0.0.1:50051", ".stopline", 1)
    assert (settings.database_url, settings.redis_url) == ("", "")


def test_flags_win_over_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text("workers = 2\nmax_id_bytes = 64\nmax_phone_chars = 32\n")
    monkeypatch.setenv("STOPLINE_WORKERS", "3")
    monkeypatch.setenv("STOPLINE_MAX_ID_BYTES", "80")
    settings = load_settings({"workers": "4", "max_id_bytes": None}, config)
    assert (settings.workers, settings.max_id_bytes, settings.max_phone_chars) == (4, 80, 32)


def test_the_environment_may_name_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text('listen = "127.0.0.1:1"')
    monkeypatch.setenv("STOPLINE_CONFIG", str(config))
    assert load_settings({}).listen == "127.0.0.1:1"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text("workers = 2")
    monkeypatch.setenv("STOPLINE_WORKERS", "")
    assert load_settings({}, config).workers == 2


def test_a_dotenv_of_the_folder_is_no_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STOPLINE_WORKERS=9")
    assert load_settings({}).workers == 1


def test_each_wrong_setting_gets_a_line_with_its_name() -> None:
    lines = wrong({"workers": "many", "listen": "nowhere", "redis_timeout_ms": 0}).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["listen", "workers", "redis_timeout_ms"]
    assert lines[0] == "listen (STOPLINE_LISTEN): write HOST:PORT, as in 127.0.0.1:50051 or [::1]:50051"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/x",
        "db.internal/stopline",
        "postgresql://u:secret@h:port/x",
        "postgresql://u:secret@h:99999/x",
        "postgresql://u:sec/ret@h/x",
        "postgresql://[secret/x",
        "postgresql+asyncpg://u:secret@h/x",
    ],
)
def test_a_wrong_database_url_is_not_repeated(url: str) -> None:
    told = wrong({"database_url": url})
    assert told.startswith("database_url (STOPLINE_DATABASE_URL): no URL of this kind: write postgresql://")
    assert "secret" not in told
    assert "\n" not in told


@pytest.mark.parametrize("url", ["http://:secret@h", "redis://:secret@h:port/0", "localhost:6379"])
def test_a_wrong_redis_url_is_not_repeated(url: str) -> None:
    told = wrong({"redis_url": url})
    assert told.startswith("redis_url (STOPLINE_REDIS_URL): no URL of this kind: write redis://")
    assert "secret" not in told


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:p%2Fw@[::1]:5432/x", "postgres://h/x", "postgresql://u@/x?host=/run/postgresql&port=5432"],
)
def test_database_urls(url: str) -> None:
    assert load_settings({"database_url": url}).database_url == url


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://u:p@h", "unix:///run/valkey.sock?db=1"])
def test_redis_urls(url: str) -> None:
    assert load_settings({"redis_url": url}).redis_url == url


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("nonsense = 1", "no such setting: nonsense"),
        ("log_level = 3", "log_level (STOPLINE_LOG_LEVEL): "),
        ("listen = 50051", "listen (STOPLINE_LISTEN): "),
        ("workers = ", "is not TOML"),
        ("[workers]\na = 1", "workers (STOPLINE_WORKERS): "),
    ],
)
def test_wrong_files(tmp_path: Path, content: str, told: str) -> None:
    config = tmp_path / "a.toml"
    config.write_text(content)
    error = wrong({}, config)
    assert told in error
    assert "\n" not in error


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    assert "cannot read the settings file" in wrong({}, tmp_path / "absent.toml")
    (tmp_path / "a.toml").write_bytes(b"\xff")
    assert "is not TOML" in wrong({}, tmp_path / "a.toml")


@pytest.mark.parametrize(("given", "level"), [("debug", "DEBUG"), ("Warning", "WARNING")])
def test_log_levels_in_any_case(given: str, level: str) -> None:
    assert load_settings({"log_level": given}).log_level == level


def test_every_setting_has_a_default_a_description_and_a_bound() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name
        if isinstance(field.default, int | float):
            assert field.metadata, f"{name} is a number without a bound"
