"""Model folders as transformers saves them: a local one, or a pinned commit of a Hugging Face hub model."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import snapshot_download

from pipelines.core.errors import PipelineError

_FILES = ["config.json", "model.safetensors", "tokenizer*", "vocab.txt", "special_tokens_map.json"]


@contextmanager
def distilbert_folder(base: str, commits: Mapping[str, str]) -> Iterator[Path]:
    """The folder of the DistilBERT that `base` names: a folder, or a hub model, downloaded if necessary.

    `commits` pins hub models by name; any other is named NAME@COMMIT. Raises PipelineError if the model
    cannot be found, is not a DistilBERT, or cannot be loaded in the body of the `with` statement.
    """
    folder = Path(base) if Path(base).is_dir() else download(base, commits)
    try:
        found = json.loads((folder / "config.json").read_text()).get("model_type")
        if found != "distilbert":
            raise PipelineError(f"train.base: {base} is a {found}: only a distilbert can be fine-tuned here")
        yield folder
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"train.base: {base} cannot be loaded: {str(error).splitlines()[0]}"
            " A model folder holds config.json, model.safetensors and tokenizer.json"
        ) from None


def download(base: str, commits: Mapping[str, str]) -> Path:
    """The folder of a hub model at its pinned commit, from the hub's cache if it is there.

    Raises PipelineError if no commit is pinned, or if the model is neither cached nor available.
    """
    name, _, commit = base.partition("@")
    revision = commit or commits.get(name)
    if revision is None:
        raise PipelineError(
            f"train.base: {base} is not a folder, and a hub model needs a commit: "
            f"write {name}@COMMIT (pinned already: {', '.join(commits)}), or minilm, which is packaged"
        )
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PipelineError(
            f"train.base: {name} at {revision} is not available from the Hugging Face hub ({reason}) "
            "Check the name, the network and HF_HUB_OFFLINE; or name a folder, or minilm, which is packaged"
        ) from None
