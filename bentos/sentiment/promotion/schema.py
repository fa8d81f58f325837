"""The gate `schema`: the model's inputs and outputs are those that the service expects."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bentos.sentiment.champion import golden, registered
from bentos.sentiment.champion.loaded import engine_threads
from bentos.sentiment.engine import Engine
from bentos.sentiment.promotion.evaluated_version import EvaluatedVersion
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown
from bentos.sentiment.registry import MODEL
from bentos.sentiment.settings import Settings
from bentos.sentiment.windows import SPECIAL

GATE = "schema"
LABELS = {"negative", "positive"}
"""The labels of POST /classify; its clients, such as the API, accept no others."""
SIGNATURE = "string -> label: string, score: double"
CONTRACT = (
    f"{SIGNATURE}; labels negative, positive; max_tokens at least {SPECIAL + 1}; windows at least 1;"
    " answers in order; golden texts answered as registered"
)
LIFTS = "export it again with `make repro` and the current code, or use --force"


def judge(candidate: EvaluatedVersion, folder: Path, settings: Settings) -> Verdict:
    """Check the signature, then load and run the engine. `folder` holds the candidate's checked files."""
    try:
        found = signature(candidate)
    except Exception as error:
        says = (
            f"version {candidate.number} has no readable MLflow signature ({line(error)});"
            f" required: {SIGNATURE}"
        )
        return unknown(GATE, None, SIGNATURE, says, LIFTS)
    if found != SIGNATURE:
        says = f"the MLflow signature of version {candidate.number} is {found}; required: {SIGNATURE}"
        return refused(GATE, found, SIGNATURE, says, LIFTS)
    if wrong := next(objections(candidate, folder, settings), ""):
        says = f"the service cannot run version {candidate.number}: {wrong}; required: {CONTRACT}"
        return refused(GATE, wrong, CONTRACT, says, LIFTS)
    return passed(GATE, found, CONTRACT, f"version {candidate.number} matches the service")


def signature(candidate: EvaluatedVersion) -> str:
    """Return the logged model's signature, such as `string -> label: string`. Raises any exception."""
    import mlflow

    with tempfile.TemporaryDirectory(prefix="sentiment-") as temporary:
        uri = f"models:/{MODEL}/{candidate.number}/MLmodel"
        path = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=temporary)
        model = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    sides = (json.loads(model["signature"][side]) for side in ("inputs", "outputs"))
    return " -> ".join(", ".join(column(each) for each in side) for side in sides)


def column(spec: dict[str, Any]) -> str:
    return f"{spec['name']}: {spec['type']}" if spec.get("name") else str(spec["type"])


def objections(candidate: EvaluatedVersion, folder: Path, settings: Settings) -> Iterator[str]:
    """Yield the reasons why the service cannot run these files."""
    try:
        serving = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
        labels, max_tokens, windows = (serving[name] for name in ("labels", "max_tokens", "windows"))
        if not isinstance(labels, list) or len(labels) != len(LABELS) or set(labels) != LABELS:
            yield f"serving.json: labels are {labels!r}"
        for name, value, minimum in (("max_tokens", max_tokens, SPECIAL + 1), ("windows", windows, 1)):
            if type(value) is not int or value < minimum:
                yield f"serving.json: {name} is {value!r}"
        engine = Engine(folder, engine_threads(settings))
        yield from wrong_outputs(engine, max_tokens * windows)
        yield from golden.objections(engine, registered.golden(candidate.version.tags))
    except Exception as error:  # OpenVINO, the tokenizer or JSON would raise it in serving too
        yield f"{type(error).__name__}: {line(error)}"


def wrong_outputs(engine: Engine, words: int) -> Iterator[str]:
    """Run the engine on a short text and on one that fills every window."""
    outputs = engine.probabilities(["Fine.", "good " * words])
    if outputs.shape != (2, len(engine.labels)) or not (abs(outputs.sum(axis=1) - 1) < 0.001).all():
        yield f"two texts got probabilities {outputs.tolist()} for labels {engine.labels}"


def line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
