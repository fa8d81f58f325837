"""Tags by which the service checks that it runs a version as it was registered.

`serving_sha256` and `model_sha256` cover every file of the served and of the trained form: labels in another
order or another tokenizer change answers as much as other weights do. `golden` has the probabilities that the
served form gives a few texts, so that a version which runs differently elsewhere is noticed too.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import LoggedModel

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256
from pipelines.served_form.classifier import Classifier

FORMS = {"serving": "serving_sha256", "model": "model_sha256"}
"""The tag of each folder of a logged model."""
GOLDEN = "golden"
TAGS = (*FORMS.values(), GOLDEN)

TEXTS = (
    "An excellent film: moving, funny and beautifully acted.",
    "A terrible film: boring, badly acted and far too long.",
    "I loved every minute of it, and so did everyone I saw it with.",
    "I hated every minute of it. Do not waste your time or your money.",
)
"""Plain texts: their probabilities are far from 0.5, so that they differ little between processors."""


def evidence(model: LoggedModel) -> dict[str, str]:
    """Return the tags of a model, from its files as they were logged. Raises PipelineError without them."""
    with TemporaryDirectory(prefix="register-") as temporary:
        folder = Path(mlflow.artifacts.download_artifacts(model.artifact_location, dst_path=temporary))
        serving = folder / "serving"
        if not serving.is_dir():
            raise PipelineError(f"model {model.model_id} has no serving/: run `dvc repro --force export`")
        hashes = {
            tag: folder_sha256(folder / form) for form, tag in FORMS.items() if (folder / form).is_dir()
        }
        return hashes | {GOLDEN: json.dumps(golden(serving, TEXTS))}


def folder_sha256(folder: Path) -> str:
    """Return the sha256 of the lines that `sha256sum` prints for the folder's files, sorted by path."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = "".join(f"{sha256(folder / file)}  {file}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def golden(serving: Path, texts: Sequence[str]) -> dict[str, float]:
    """Return each text's probability of being positive."""
    probabilities = Classifier(serving).probabilities(texts)
    return {text: round(float(found), 4) for text, found in zip(texts, probabilities, strict=True)}
