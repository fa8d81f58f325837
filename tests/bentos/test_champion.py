"""What is served in every state of the registry and of the local store."""

import logging
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.serving.processes import free_port
from bentos.sentiment import champion, store
from bentos.sentiment.registry import NoChampionError, RegistryError
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import Registry, copy
from tests.bentos.model import register


def tamper(registry: Registry, version: str, file: str = "model.bin") -> Path:
    """Flip the last byte of a file of a registered version."""
    source = urlsplit(registry.client.get_model_version("sentiment", version).source or "")
    path = Path(source.path) / "serving" / file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return path


def test_the_champion_comes_whole(settings: Settings, registry: Registry, serving: list[Path]) -> None:
    register(registry.client, serving[0])
    registry.promote(serving[1])
    fetched = champion.fetch(settings)
    assert fetched.version == "2"
    for file in store.FILES:
        assert (fetched.folder / file).read_bytes() == (serving[1] / file).read_bytes()
    assert champion.load(settings) == fetched


def test_a_promotion_and_a_rollback_are_followed(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    first = champion.fetch(settings)
    registry.promote(serving[1])
    assert champion.fetch(settings).version == "2"
    registry.client.set_registered_model_alias("sentiment", "champion", "1")
    assert champion.fetch(settings) == first
    registry.disappear()
    assert champion.fetch(settings) == first, "the last champion, not the newest download"


def test_a_kept_version_is_not_downloaded_again(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    version = registry.promote(serving[0])
    first = champion.fetch(settings)
    tamper(registry, version).unlink()
    assert champion.fetch(settings) == first


@pytest.mark.parametrize("gone", ["database", "server"])
def test_with_mlflow_down_the_last_champion_is_served(
    settings: Settings,
    registry: Registry,
    serving: list[Path],
    gone: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if gone == "server":  # of an address that answers nothing, and was the registry once
        settings = settings.model_copy(update={"tracking_uri": f"http://u:secret@127.0.0.1:{free_port()}"})
    else:
        registry.disappear()
    store.mark_champion(store.keep(serving[0], "7", settings.tracking_uri), settings.tracking_uri)
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    started = time.monotonic()
    assert champion.fetch(settings).version == "7"
    assert time.monotonic() - started < 15
    assert "Serving version 7, the last champion, from the local store" in caplog.text
    assert "secret" not in caplog.text


def test_with_mlflow_down_and_nothing_kept_there_is_a_way_out(settings: Settings, registry: Registry) -> None:
    registry.disappear()
    with pytest.raises(RegistryError, match="make repro"):
        champion.fetch(settings)
    assert not (registry.folder / "mlflow.db").exists(), "MLflow would make an empty one"


def test_a_registry_without_champion_is_an_error_even_with_one_kept(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    champion.fetch(settings)
    registry.client.delete_registered_model_alias("sentiment", "champion")
    with pytest.raises(NoChampionError, match="make repro promote"):
        champion.fetch(settings)


def test_a_registry_without_the_model_is_the_same_error(settings: Settings, registry: Registry) -> None:
    registry.client.delete_registered_model("sentiment")
    with pytest.raises(NoChampionError, match="make repro promote"):
        champion.fetch(settings)


def test_tampered_weights_are_refused(settings: Settings, registry: Registry, serving: list[Path]) -> None:
    version = registry.promote(serving[0])
    tamper(registry, version)
    with pytest.raises(RegistryError, match="version 1 is refused: the sha256"):
        champion.fetch(settings)
    assert not list((registry.folder / "bentoml" / "models").rglob("model.bin"))


def test_the_old_champion_goes_on_when_the_new_one_is_damaged(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    first = champion.fetch(settings)
    tamper(registry, registry.promote(serving[1]))
    assert champion.fetch(settings) == first == champion.load(settings)


def test_a_version_without_checksum_is_refused(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    version = registry.promote(serving[0])
    registry.client.delete_model_version_tag("sentiment", version, "weights_sha256")
    with pytest.raises(RegistryError, match="no tag weights_sha256"):
        champion.fetch(settings)


def test_a_version_with_a_file_missing_is_refused(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    tamper(registry, registry.promote(serving[0]), "tokenizer.json").unlink()
    with pytest.raises(RegistryError, match=r"no serving/tokenizer\.json"):
        champion.fetch(settings)


@pytest.mark.parametrize("damage", ["cut", "no file", "no yaml"])
def test_a_half_written_version_is_never_served(
    settings: Settings, registry: Registry, serving: list[Path], damage: str
) -> None:
    """What a kill leaves: it is fetched again while MLflow is there, and is an error when it is not."""
    registry.promote(serving[0])
    kept = champion.fetch(settings)

    def break_it() -> None:
        if damage == "cut":
            (kept.folder / "model.bin").write_bytes((kept.folder / "model.bin").read_bytes()[:-1])
        else:
            (kept.folder / {"no file": "tokenizer.json", "no yaml": "model.yaml"}[damage]).unlink()

    break_it()
    assert champion.fetch(settings) == kept
    assert (kept.folder / "model.bin").read_bytes() == (serving[0] / "model.bin").read_bytes()
    break_it()
    registry.disappear()
    with pytest.raises(RegistryError):
        champion.fetch(settings)
    with pytest.raises(RegistryError, match="no champion"):
        champion.load(settings)


def test_registries_that_share_a_store_do_not_mix(
    settings: Settings, registry: Registry, serving: list[Path], empty_database: Path, tmp_path: Path
) -> None:
    """The same version number, other weights; and what one registry promoted the other never served."""
    (tmp_path / "other").mkdir()
    other = copy(empty_database, tmp_path / "other")
    other_settings = settings.model_copy(update={"tracking_uri": other.uri})
    registry.promote(serving[0])
    ours = champion.fetch(settings)
    with pytest.raises(RegistryError):
        champion.load(other_settings)
    other.promote(serving[1])
    theirs = champion.fetch(other_settings)
    assert (ours.version, theirs.version) == ("1", "1")
    assert (theirs.folder / "model.bin").read_bytes() == (serving[1] / "model.bin").read_bytes()
    assert champion.load(settings) == ours
