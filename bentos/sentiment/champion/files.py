"""The champion's files: downloaded from the registry, checked, and kept in the local store."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bentos.sentiment import cuda, registry
from bentos.sentiment.champion import registered, store
from bentos.sentiment.champion.store import StoredModel
from bentos.sentiment.registry import NoChampionError, RegistryError
from bentos.sentiment.registry_rest import RestClient, is_server
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger("bentoml.sentiment")


def fetch(settings: Settings) -> StoredModel:
    """Store the registry's champion and mark it as the champion. Raises RegistryError.

    If MLflow is unreachable, or its champion is damaged or cannot be stored, the last champion is returned.
    If MLflow answers that no version is champion, NoChampionError is raised.
    """
    try:
        model = current(settings)
        store.mark_champion(model, settings.tracking_uri)
    except NoChampionError:
        raise
    except RegistryError as error:
        return last_champion(settings, error)
    return model


def last_champion(settings: Settings, error: RegistryError) -> StoredModel:
    """Return the last champion from the local store, and log why. Raises the error if there is none."""
    last = store.last_champion(settings.tracking_uri)
    if last is None:
        raise error
    logger.warning("%s. Serving version %s, the last champion, from the local store", error, last.version)
    return last


def current(settings: Settings) -> StoredModel:
    """Return the registry's current champion, checked and stored. Raises RegistryError."""
    with store.locked():
        if is_server(settings):
            with RestClient(settings) as client:
                champion = client.champion()
            if champion.sha256 and (model := store.find(champion.tag)):
                return model
        return _store(registry.champion(settings), settings)


def fetched(settings: Settings) -> StoredModel:
    """Return the champion stored by `fetch`, without asking the registry. Raises RegistryError."""
    model = store.last_champion(settings.tracking_uri)
    if model is None:
        raise RegistryError("the local store holds no champion: start with `bentoml serve`, which fetches it")
    return model


@contextlib.contextmanager
def serving_folder(version: "ModelVersion", settings: Settings) -> Iterator[Path]:
    """Provide the checked serving folder of any version: the stored one, or a temporary download.

    Raises RegistryError.
    """
    with store.locked():
        model = store.find(_tag(version))
    if model:
        yield model.folder
    else:
        with _downloaded(version, settings) as folder:
            yield folder


def _store(version: "ModelVersion", settings: Settings) -> StoredModel:
    if model := store.find(_tag(version)):
        return model
    with _downloaded(version, settings) as folder:
        model = store.add(
            folder,
            str(version.version),
            registered.identity(version.tags),
            registered.golden(version.tags),
            settings.tracking_uri,
        )
    try:
        store.prune()
    except OSError as error:  # the new version is stored all the same
        logger.warning("old versions in the local store cannot be removed: %s", error)
    return model


def _tag(version: "ModelVersion") -> str:
    """Return the version's tag in the store. Raises RegistryError if its files cannot be checked."""
    if not version.tags.get(registered.WEIGHTS):
        raise RegistryError(
            f"version {version.version} has no tag weights_sha256, so its weights cannot be checked:"
            " register it again with `make repro`"
        )
    return store.tag(str(version.version), registered.identity(version.tags))


@contextlib.contextmanager
def _downloaded(version: "ModelVersion", settings: Settings) -> Iterator[Path]:
    """Download the files into a temporary folder and compare them with the registered hashes."""
    with tempfile.TemporaryDirectory(prefix="sentiment-") as temporary:
        folder = registry.download(version, settings, Path(temporary))
        missing = [name for name in store.FILES if not (folder / name).is_file()]
        if missing:
            raise RegistryError(
                f"version {version.version} has no serving/{missing[0]}: register it again with `make repro`"
            )
        trained = folder / "model"
        _check(version, registered.WEIGHTS, store.sha256(folder / "model.bin"), "model.bin")
        _check_all(version, registered.SERVED, folder, but=trained)
        if trained.is_dir():
            weights = store.sha256(trained / cuda.WEIGHTS)
            _check(version, registered.TRAINED_WEIGHTS, weights, cuda.WEIGHTS)
            _check_all(version, registered.TRAINED, trained)
        yield folder


def _check_all(version: "ModelVersion", tag: str, folder: Path, but: Path | None = None) -> None:
    """Compare every file of the folder with the registered hash, if this version has one."""
    if tag in version.tags:
        _check(version, tag, store.folder_sha256(folder, but), f"folder {folder.name}")
    else:
        logger.warning(
            "version %s has no tag %s, so only its weights are checked: register it again with `make repro`",
            version.version,
            tag,
        )


def _check(version: "ModelVersion", tag: str, actual: str, what: str) -> None:
    expected = version.tags.get(tag, "")
    if actual != expected:
        raise RegistryError(
            f"version {version.version} is rejected: the sha256 of its {what} is {actual[:12]}, but"
            f" {expected[:12]} was registered: see `python -m bentos.sentiment.promote -h`"
        )
