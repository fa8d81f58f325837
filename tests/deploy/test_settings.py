import stat
from pathlib import Path

import pytest

from api.credentials import id_of
from deploy.local.settings import StackError, prepare_settings, read_settings
from tests.deploy.stack import SETTINGS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; no setting is in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_env_file_is_created_from_its_example_with_new_secrets(folder: Path) -> None:
    (folder / ".env.example").write_text("# comment\nAPI_PORT=8100\nPOSTGRES_PASSWORD=\nUNKNOWN=1\n")
    settings = prepare_settings()
    assert (settings.api_port, settings.mlflow_port) == (8100, 5000)
    assert len(settings.postgres_password) == 32
    assert (
        f"# comment\nAPI_PORT=8100\nPOSTGRES_PASSWORD={settings.postgres_password}\n"
        in Path(".env").read_text()
    )
    assert id_of(settings.api_key), "a valid key of the API"
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    assert prepare_settings() == settings


def test_secrets_in_the_env_file_are_kept(folder: Path) -> None:
    (folder / ".env").write_text("POSTGRES_PASSWORD=existing\nAPI_KEY=existing too\n")
    settings = prepare_settings()
    assert (settings.postgres_password, settings.api_key) == ("existing", "existing too")


def test_an_external_database_needs_no_password(folder: Path) -> None:
    (folder / ".env").write_text("DATABASE_URL=postgresql+asyncpg://u@db/x\n")
    settings = prepare_settings()
    assert settings.api_database_url == "postgresql+asyncpg://u@db/x"
    assert not settings.embedded_database
    assert settings.postgres_password == ""


def test_the_password_is_quoted_in_the_url(folder: Path) -> None:
    (folder / ".env").write_text("POSTGRES_PASSWORD='p@ss/word'\n")
    assert "postgres:p%40ss%2Fword@127.0.0.1:5433/" in read_settings().api_database_url


def test_outside_the_project_folder_it_fails() -> None:
    with pytest.raises(StackError, match="run this in the project folder"):
        prepare_settings()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("API_PORT=http", "API_PORT: .* integer.*set it in .env"),
        ("MLFLOW_PORT=70000", "MLFLOW_PORT: .*65535"),
        ("BENTO_PORT=8000", "API_PORT and BENTO_PORT are both 8000"),
    ],
)
def test_an_invalid_value_is_named(folder: Path, line: str, message: str) -> None:
    (folder / ".env").write_text(f"{line}\n")
    with pytest.raises(StackError, match=message):
        read_settings()


def test_every_change_of_the_env_file_changes_the_digest(folder: Path) -> None:
    (folder / ".env").write_text("UNKNOWN=1\n")
    before = read_settings().digest()
    (folder / ".env").write_text("UNKNOWN=2\n")
    assert read_settings().digest() != before
