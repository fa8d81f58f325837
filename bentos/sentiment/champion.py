"""The champion of the registry, brought into the local store.

`python -m bentos.sentiment.champion` does it once and prints what it is called there: MLflow's client takes
seconds to import and 150 MB, so a server that runs leaves the fetching to a process of its own.
"""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bentos.sentiment import cuda, registry, store
from bentos.sentiment.alias import Alias, is_server
from bentos.sentiment.registry import NoChampionError, RegistryError
from bentos.sentiment.settings import Settings
from bentos.sentiment.store import LocalModel

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger("bentoml.sentiment")


def fetch(settings: Settings) -> LocalModel:
    """Ask the registry, and remember its champion. Raises RegistryError.

    When MLflow is down or its champion is damaged, the last champion goes on; when MLflow answers that
    there is none, nothing does.
    """
    try:
        model = newest(settings)
    except NoChampionError:
        raise
    except RegistryError as error:
        last = store.last_champion(settings.tracking_uri)
        if last is None:
            raise
        logger.warning("%s. Serving version %s, the last champion, from the local store", error, last.version)
        return last
    store.mark_champion(model, settings.tracking_uri)
    return model


def newest(settings: Settings) -> LocalModel:
    """The champion that the registry names now, checked and kept in the store. Raises RegistryError."""
    with store.locked():
        if is_server(settings):
            with Alias(settings) as alias:
                candidate = alias.ask()
            if candidate.weights_sha256 and (model := store.find(candidate.tag)):
                return model
        return _from_registry(registry.champion(settings), settings)


def load(settings: Settings) -> LocalModel:
    """What `fetch` remembered, without asking the registry. Raises RegistryError."""
    model = store.last_champion(settings.tracking_uri)
    if model is None:
        raise RegistryError("the local store holds no champion: start with `bentoml serve`, which fetches it")
    return model


@contextlib.contextmanager
def opened(version: "ModelVersion", settings: Settings) -> Iterator[Path]:
    """The checked serving folder of any version, kept in the store or only for now. Raises RegistryError."""
    with store.locked():
        kept = store.find(store.tag(str(version.version), _expected(version)))
    if kept:
        yield kept.folder
    else:
        with _downloaded(version, settings) as folder:
            yield folder


def _from_registry(version: "ModelVersion", settings: Settings) -> LocalModel:
    if kept := store.find(store.tag(str(version.version), _expected(version))):
        return kept
    with _downloaded(version, settings) as folder:
        return store.keep(folder, str(version.version), settings.tracking_uri)


def _expected(version: "ModelVersion") -> str:
    expected: str = version.tags.get("weights_sha256", "")
    if not expected:
        raise RegistryError(
            f"version {version.version} has no tag weights_sha256, so its weights cannot be checked:"
            " register it again with `make repro`"
        )
    return expected


@contextlib.contextmanager
def _downloaded(version: "ModelVersion", settings: Settings) -> Iterator[Path]:
    """The files as they were registered, in a folder that goes in the end."""
    with tempfile.TemporaryDirectory(prefix="sentiment-") as aside:
        folder = registry.download(version, settings, Path(aside))
        missing = [name for name in store.FILES if not (folder / name).is_file()]
        if missing:
            raise RegistryError(
                f"version {version.version} has no serving/{missing[0]}: register it again with `make repro`"
            )
        _check(version, folder / "model.bin", _expected(version))
        if (trained := folder / "model").is_dir():
            _check(version, trained / cuda.WEIGHTS, version.tags.get("trained_sha256", ""))
        yield folder


def _check(version: "ModelVersion", weights: Path, expected: str) -> None:
    if (actual := store.sha256(weights)) != expected:
        raise RegistryError(
            f"version {version.version} is refused: the sha256 of its {weights.name} is {actual[:12]}, and"
            f" {expected[:12]} was registered: see `python -m bentos.sentiment.promote -h`"
        )


def main() -> int:
    os.nice(5)  # the server that waits for it has requests to answer
    try:
        print(newest(Settings()).tag)
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
