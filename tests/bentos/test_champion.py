"""Which version is served in every state of the registry and of the local store."""

import contextlib
import json
import logging
import resource
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from benchmarks.processes import free_port
from bentos.sentiment.champion import files, store
from bentos.sentiment.champion.loaded import LoadedModel, load_at_start
from bentos.sentiment.champion.watcher import ChampionWatcher
from bentos.sentiment.engine import Engine
from bentos.sentiment.known_words import KNOWN_WORDS
from bentos.sentiment.registry import NoChampionError, RegistryError
from bentos.sentiment.settings import Settings
from tests.bentos.conftest import Registry, copy
from tests.bentos.registration import register
from tests.bentos.reviews import REVIEWS


def tamper(registry: Registry, version: str, file: str = "model.bin") -> Path:
    """Flip the last byte of a file of a registered version."""
    source = urlsplit(registry.client.get_model_version("sentiment", version).source or "")
    path = Path(source.path) / "serving" / file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return path


def test_every_file_of_the_champion_is_fetched(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    register(registry.client, serving[0])
    registry.promote(serving[1])
    fetched = files.fetch(settings)
    assert fetched.version == "2"
    for file in (*store.FILES, KNOWN_WORDS):
        assert (fetched.folder / file).read_bytes() == (serving[1] / file).read_bytes()
    assert files.fetched(settings) == fetched


def test_a_promotion_and_a_rollback_are_followed(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    first = files.fetch(settings)
    registry.promote(serving[1])
    assert files.fetch(settings).version == "2"
    registry.client.set_registered_model_alias("sentiment", "champion", "1")
    assert files.fetch(settings) == first
    registry.disappear()
    assert files.fetch(settings) == first, "the last champion, not the newest download"


def test_a_stored_version_is_not_downloaded_again(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    version = registry.promote(serving[0])
    first = files.fetch(settings)
    tamper(registry, version).unlink()
    assert files.fetch(settings) == first


@pytest.mark.parametrize("gone", ["database", "server"])
def test_with_mlflow_down_the_last_champion_is_served(
    settings: Settings,
    registry: Registry,
    serving: list[Path],
    gone: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if gone == "server":  # an address that does not answer
        settings = settings.model_copy(update={"tracking_uri": f"http://u:secret@127.0.0.1:{free_port()}"})
    else:
        registry.disappear()
    stored = store.add(serving[0], "7", "ab" * 32, {}, settings.tracking_uri)
    store.mark_champion(stored, settings.tracking_uri)
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    started = time.monotonic()
    assert files.fetch(settings).version == "7"
    assert time.monotonic() - started < 15
    assert "Serving version 7, the last champion, from the local store" in caplog.text
    assert "secret" not in caplog.text


def test_with_mlflow_down_and_an_empty_store_the_error_has_a_remedy(
    settings: Settings, registry: Registry
) -> None:
    registry.disappear()
    with pytest.raises(RegistryError, match="make repro"):
        files.fetch(settings)
    assert not (registry.folder / "mlflow.db").exists(), "MLflow would create an empty one"


def test_a_registry_without_champion_is_an_error_even_with_one_stored(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    files.fetch(settings)
    registry.client.delete_registered_model_alias("sentiment", "champion")
    with pytest.raises(NoChampionError, match="make repro promote"):
        files.fetch(settings)


def test_a_registry_without_the_model_is_the_same_error(settings: Settings, registry: Registry) -> None:
    registry.client.delete_registered_model("sentiment")
    with pytest.raises(NoChampionError, match="make repro promote"):
        files.fetch(settings)


def test_tampered_weights_are_rejected(settings: Settings, registry: Registry, serving: list[Path]) -> None:
    version = registry.promote(serving[0])
    tamper(registry, version)
    with pytest.raises(RegistryError, match="version 1 is rejected: the sha256"):
        files.fetch(settings)
    assert not list((registry.folder / "bentoml" / "models").rglob("model.bin"))


def swap_labels(registry: Registry, version: str) -> None:
    source = urlsplit(registry.client.get_model_version("sentiment", version).source or "")
    path = Path(source.path) / "serving" / "serving.json"
    serving = json.loads(path.read_text())
    path.write_text(json.dumps(serving | {"labels": serving["labels"][::-1]}))


def test_swapped_labels_are_rejected(settings: Settings, registry: Registry, serving: list[Path]) -> None:
    """The weights are those that were registered, but every answer would be the opposite."""
    swap_labels(registry, registry.promote(serving[0]))
    with pytest.raises(RegistryError, match="version 1 is rejected: the sha256 of its folder serving"):
        files.fetch(settings)


def test_of_an_old_version_only_the_weights_are_checked(
    settings: Settings,
    registry: Registry,
    serving: list[Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An earlier release registered it, without a hash of every file."""
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    version = registry.promote(serving[0])
    registry.client.delete_model_version_tag("sentiment", version, "serving_sha256")
    assert files.fetch(settings).version == version
    assert "version 1 has no tag serving_sha256, so only its weights are checked" in caplog.text


def test_a_version_that_answers_otherwise_than_registered_is_not_loaded(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    text, found = golden_text(serving[0])
    register(registry.client, serving[0], tags={"golden": json.dumps({text: found + 0.1})})
    register(registry.client, serving[0], tags={"golden": json.dumps({text: 1 - found})})
    registry.client.set_registered_model_alias("sentiment", "champion", "1")
    LoadedModel.load(files.fetch(settings), settings)
    assert load_at_start(settings).stored.version == "1"
    registry.client.set_registered_model_alias("sentiment", "champion", "2")
    stored = files.fetch(settings)
    assert stored == files.fetched(settings)
    with pytest.raises(RegistryError, match="it answers otherwise than when it was registered"):
        LoadedModel.load(stored, settings)
    assert load_at_start(settings).stored.version == "1", "the last that could be loaded"


def golden_text(serving: Path) -> tuple[str, float]:
    """Return a text and its probability of being positive, far from 0.5."""
    engine = Engine(serving)
    positive = engine.probabilities(REVIEWS)[:, engine.labels.index("positive")]
    row = int(np.abs(positive - 0.5).argmax())
    assert abs(positive[row] - 0.5) > 0.2
    return REVIEWS[row], float(positive[row])


def test_the_old_champion_is_served_when_the_new_one_is_damaged(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    first = files.fetch(settings)
    tamper(registry, registry.promote(serving[1]))
    assert files.fetch(settings) == first == files.fetched(settings)


def test_a_version_without_checksum_is_rejected(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    version = registry.promote(serving[0])
    registry.client.delete_model_version_tag("sentiment", version, "weights_sha256")
    with pytest.raises(RegistryError, match="no tag weights_sha256"):
        files.fetch(settings)


def test_a_version_with_a_missing_file_is_rejected(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    tamper(registry, registry.promote(serving[0]), "tokenizer.json").unlink()
    with pytest.raises(RegistryError, match=r"no serving/tokenizer\.json"):
        files.fetch(settings)


@pytest.mark.parametrize("damage", ["cut", "no file", "no yaml"])
def test_an_incomplete_version_is_never_served(
    settings: Settings, registry: Registry, serving: list[Path], damage: str
) -> None:
    """As after a kill: it is fetched again if MLflow is up, and is an error otherwise."""
    registry.promote(serving[0])
    stored = files.fetch(settings)

    def break_it() -> None:
        if damage == "cut":
            (stored.folder / "model.bin").write_bytes((stored.folder / "model.bin").read_bytes()[:-1])
        else:
            (stored.folder / {"no file": "tokenizer.json", "no yaml": "model.yaml"}[damage]).unlink()

    break_it()
    assert files.fetch(settings) == stored
    assert (stored.folder / "model.bin").read_bytes() == (serving[0] / "model.bin").read_bytes()
    break_it()
    registry.disappear()
    with pytest.raises(RegistryError):
        files.fetch(settings)
    with pytest.raises(RegistryError, match="no champion"):
        files.fetched(settings)


@contextlib.contextmanager
def limited(kind: int, limit: int) -> Iterator[None]:
    """Lower a resource limit of this process."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def no_file_can_be_opened() -> contextlib.AbstractContextManager[None]:
    return limited(resource.RLIMIT_NOFILE, 3)


def no_file_can_grow() -> contextlib.AbstractContextManager[None]:
    """Let every write of this process fail, as on a full disk."""
    return limited(resource.RLIMIT_FSIZE, 0)


def test_a_version_that_cannot_be_read_now_is_not_removed(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    stored = files.fetch(settings)
    with store.locked(), no_file_can_be_opened(), pytest.raises(OSError, match="Too many open files"):
        store.find(stored.tag)
    with no_file_can_be_opened(), pytest.raises(RegistryError, match="Too many open files"):
        files.fetched(settings)
    registry.disappear()
    assert files.fetch(settings) == stored == files.fetched(settings)


def test_a_version_that_is_being_written_is_not_removed(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    """The lock is held while a version is written; whoever looks for the last champion waits for it."""
    registry.promote(serving[0])
    stored = files.fetch(settings)
    weights = stored.folder / "model.bin"
    content = weights.read_bytes()
    with ThreadPoolExecutor(1) as pool:
        with store.locked():
            weights.write_bytes(content[:100])
            found = pool.submit(files.fetched, settings)
            time.sleep(0.2)  # it could have removed the version meanwhile
            weights.write_bytes(content)
        assert found.result() == stored


def test_the_last_champion_is_served_when_a_new_one_cannot_be_recorded(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    first = files.fetch(settings)
    registry.promote(serving[1])
    files.current(settings)
    with no_file_can_grow():
        assert files.fetch(settings) == first
    assert files.fetch(settings).version == "2"


async def test_a_swap_that_cannot_be_recorded_does_not_happen(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    first = files.fetch(settings)
    registry.promote(serving[1])
    new = LoadedModel.load(files.current(settings), settings)
    watcher = ChampionWatcher(settings, LoadedModel.load(first, settings))
    with no_file_can_grow(), pytest.raises(RegistryError, match="File too large"):
        await watcher._swap(new)
    assert watcher.current.stored == first == files.fetched(settings)
    await watcher._swap(new)
    assert watcher.current.stored == new.stored == files.fetched(settings)


async def test_the_old_model_is_not_freed_on_the_event_loop(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    registry.promote(serving[0])
    stored = files.fetch(settings)
    watcher = ChampionWatcher(settings, LoadedModel.load(stored, settings))
    threads: list[int] = []
    weakref.finalize(watcher.current.engine, lambda: threads.append(threading.get_ident()))
    await watcher._swap(LoadedModel.load(stored, settings))
    assert threads
    assert threads != [threading.get_ident()]


def stored_versions(registry: Registry) -> set[str]:
    folders = (registry.folder / "bentoml" / "models" / "sentiment").iterdir()
    return {folder.name.partition("-")[0] for folder in folders if folder.is_dir()}


def test_old_versions_are_removed_but_not_the_champion_the_previous_or_the_last_few(
    settings: Settings, registry: Registry, serving: list[Path]
) -> None:
    for _ in range(4):
        registry.promote(serving[0])
        files.fetch(settings)
    registry.client.set_registered_model_alias("sentiment", "champion", "3")
    store.mark_served(files.fetch(settings), settings.tracking_uri)  # version 4 is `previous` now
    for _ in range(store.KEPT + 2):  # stored, but refused by the workers
        registry.promote(serving[1])
        files.current(settings)
    assert stored_versions(registry) == {"3", "4", "7", "8", "9"}
    registry.disappear()
    assert files.fetch(settings).version == "3"


def test_a_version_in_use_is_not_removed(settings: Settings, registry: Registry, serving: list[Path]) -> None:
    """Such as one that another worker serves or loads, or that `promote` measures."""

    def promote_some() -> None:
        for _ in range(store.KEPT + 1):
            registry.promote(serving[0])
            files.fetch(settings)

    registry.promote(serving[0])
    used = files.fetch(settings)
    promote_some()
    assert stored_versions(registry) == {"1", "3", "4", "5"}
    copied = deepcopy(used)
    del used
    promote_some()
    assert "1" in stored_versions(registry), "a copy is a use of its own"
    del copied
    promote_some()
    assert stored_versions(registry) == {"11", "12", "13"}


def test_a_version_that_cannot_be_removed_is_no_reason_to_refuse_a_champion(
    settings: Settings, registry: Registry, serving: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(store, "prune", fail)
    registry.promote(serving[0])
    assert files.fetch(settings).version == "1"


def test_registries_that_share_a_store_do_not_mix(
    settings: Settings, registry: Registry, serving: list[Path], empty_database: Path, tmp_path: Path
) -> None:
    """Their versions have the same number and different weights, and each has its own champion."""
    (tmp_path / "other").mkdir()
    other = copy(empty_database, tmp_path / "other")
    other_settings = settings.model_copy(update={"tracking_uri": other.uri})
    registry.promote(serving[0])
    model = files.fetch(settings)
    with pytest.raises(RegistryError):
        files.fetched(other_settings)
    other.promote(serving[1])
    other_model = files.fetch(other_settings)
    assert (model.version, other_model.version) == ("1", "1")
    assert (other_model.folder / "model.bin").read_bytes() == (serving[1] / "model.bin").read_bytes()
    assert files.fetched(settings) == model
