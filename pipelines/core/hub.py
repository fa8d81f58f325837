"""DistilBERT folders in transformers' format: local, or a Hugging Face hub model at a pinned commit."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, snapshot_download

from pipelines.core.errors import PipelineError

_FILES = ["config.json", "model.safetensors", "tokenizer*", "vocab.txt", "special_tokens_map.json"]


@contextmanager
def distilbert_folder(base: str, commits: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folder of the DistilBERT that `base` names, downloading a hub model if necessary.

    `base` is a folder, a hub model pinned in `commits`, or NAME@COMMIT. Raises PipelineError if the model
    is not found, is not a DistilBERT, or fails to load in the body of the `with` statement.
    """
    folder = Path(base) if Path(base).is_dir() else download(base, commits)
    try:
        found = json.loads((folder / "config.json").read_text()).get("model_type")
        if found != "distilbert":
            raise PipelineError(
                f"train.base: {base} is of type {found}; only distilbert models are supported"
            )
        yield folder
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"train.base: {base} cannot be loaded: {str(error).splitlines()[0]}"
            " A model folder needs config.json, model.safetensors and tokenizer.json."
        ) from None


def download(base: str, commits: Mapping[str, str]) -> Path:
    """Return the folder of a hub model at its pinned commit, from the hub's cache if possible.

    Raises PipelineError if no commit is pinned, or if the model is neither cached nor downloadable.
    """
    name, _, commit = base.partition("@")
    revision = commit or commits.get(name)
    if revision is None:
        raise PipelineError(
            f"train.base: {base} is not a folder, and a hub model needs a commit: "
            f"write {name}@COMMIT, or use one of {', '.join(['minilm', *commits])}"
        )
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PipelineError(
            f"train.base: {name} at {revision} is not available from the Hugging Face hub ({reason}) "
            "Check the name, the network and HF_HUB_OFFLINE; or use a folder, or minilm, which is packaged"
        ) from None


def go_offline() -> None:
    """Make requests to the hub fail without being sent, in this process.

    The hub's client reads HF_HUB_OFFLINE when it is imported, which is too early for a stage to set it.
    """
    constants.HF_HUB_OFFLINE = True
