"""Settings from the environment and .env."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from api.settings import Settings, load

URL = "postgresql+asyncpg://ada:hush@db:5432/reviews"
DSN = URL.replace("+asyncpg", "")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the environment and the .env file of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_only_the_database_url_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    assert load().database_url == DSN
    assert load().bento_url == "http://127.0.0.1:3000"


def test_the_environment_overrides_the_file_which_may_contain_other_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text(
        f"DATABASE_URL={URL}\nAPI_BENTO_TIMEOUT_SECONDS=2.5\nBENTO_URL=\nMLFLOW_TRACKING_URI=sqlite:///x\n"
    )
    monkeypatch.setenv("API_BENTO_TIMEOUT_SECONDS", "3.5")
    settings = load()
    assert (settings.database_url, settings.api_bento_timeout_seconds) == (DSN, 3.5)
    assert settings.bento_url == "http://127.0.0.1:3000"


def test_a_unix_socket_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://postgres@/postgres?host=/some/dir")
    load()


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
def test_the_url_of_libpq_and_that_of_sqlalchemy_are_accepted(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://a da:p%25?#@db/reviews?sslmode=require")
    assert load().database_url == "postgresql://a da:p%25%3F%23@db/reviews?sslmode=require"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DATABASE_URL", "", "is not set: put DATABASE_URL=postgresql+asyncpg://"),
        ("DATABASE_URL", "mysql://ada:hush@db/reviews", "write it as postgresql+asyncpg://"),
        ("DATABASE_URL", f"{URL}?ssl=require", "has the parameter ssl; asyncpg knows"),
        ("DATABASE_URL", f"{URL}?sslmode=on", "has an unknown sslmode; choose from disable, allow"),
        ("DATABASE_URL", "sqlite:///reviews.db", "write it as postgresql+asyncpg://"),
        ("DATABASE_URL", "localhost", "is not a URL; write it as postgresql+asyncpg://"),
        ("DATABASE_URL", "postgresql+asyncpg://ada:hush@db:port/reviews", "is not a URL; write it as"),
        ("BENTO_URL", "127.0.0.1:3000", "pattern"),
        ("API_BENTO_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("API_BENTO_TIMEOUT_SECONDS", "soon", "number"),
        ("API_DATABASE_POOL_SIZE", "0", "greater than or equal to 1"),
        ("API_DATABASE_LOCK_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("DATABASE_DIRECT_URL", "sqlite:///reviews.db", "write it as postgresql+asyncpg://"),
    ],
)
def test_an_invalid_value_is_named_in_one_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load()
    message = str(stopped.value)
    assert message.startswith(f"{name} ")
    assert says in message
    assert "\n" not in message
    assert "hush" not in message


def test_pgbouncer_requires_a_direct_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    assert load().session_url == DSN
    monkeypatch.setenv("API_DATABASE_PGBOUNCER", "true")
    with pytest.raises(SystemExit, match=r"^DATABASE_DIRECT_URL is not set, and API_DATABASE_PGBOUNCER"):
        load()
    direct = DSN.replace("db:5432", "db:5433")
    monkeypatch.setenv("DATABASE_DIRECT_URL", direct)
    assert load().session_url == direct


def test_all_invalid_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_DATABASE_POOL_SIZE", "0")
    with pytest.raises(SystemExit) as stopped:
        load()
    assert [line.split()[0] for line in str(stopped.value).splitlines()] == [
        "DATABASE_URL",
        "API_DATABASE_POOL_SIZE",
    ]


def test_settings_are_frozen_and_hide_the_password() -> None:
    settings = Settings(_env_file=None, database_url=URL)
    assert "hush" not in repr(settings)
    changed: Any = settings
    with pytest.raises(ValidationError):
        changed.bento_url = "http://elsewhere"
