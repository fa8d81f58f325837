import configparser
import sys
from pathlib import Path

import pytest

from deploy.local.configuration import configuration
from deploy.local.launch import no_proxy
from deploy.local.services import services
from deploy.local.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Settings(var_dir=tmp_path / "100% var", postgres_password="pass-phrase")


def test_percent_signs_in_paths_are_escaped(settings: Settings) -> None:
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(configuration(settings, services(settings).values()))
    assert parser["supervisord"]["pidfile"] == f"{settings.var_dir}/run/supervisord.pid"
    names = ("postgres", "mlflow", "bento", "api", "worker")
    assert parser.sections()[-5:] == [f"program:{name}" for name in names]
    assert parser["program:api"]["stdout_logfile"] == f"{settings.var_dir}/log/api.log".replace("%", "%%")
    pauses = range(int(parser["program:api"]["startretries"]))
    assert sum(pauses) > 5 * 24 * 3600, "seconds until supervisor gives up"
    assert parser["program:api"]["command"] == f"{sys.executable} -m deploy.local.launch api"


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        ("", "", "127.0.0.1,localhost"),
        ("a.test", "b.test", "a.test,b.test,127.0.0.1,localhost"),
        ("*", "", "*"),
    ],
)
def test_loopback_is_excluded_from_proxies(
    monkeypatch: pytest.MonkeyPatch, upper: str, lower: str, expected: str
) -> None:
    monkeypatch.setenv("NO_PROXY", upper)
    monkeypatch.setenv("no_proxy", lower)
    assert no_proxy() == expected


def test_secrets_are_left_out(settings: Settings) -> None:
    assert "pass-phrase" not in configuration(settings, services(settings).values())


def test_an_external_database_replaces_postgres(settings: Settings) -> None:
    external = settings.model_copy(update={"database_url": "postgresql+asyncpg://u@db/x"})
    assert list(services(external)) == ["mlflow", "bento", "api", "worker"]
    assert services(external)["api"].environment["DATABASE_URL"] == "postgresql+asyncpg://u@db/x"
