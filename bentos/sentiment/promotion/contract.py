"""The gate `schema`: what goes into the model and comes out of it is what the service expects."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bentos.sentiment.engine import Engine
from bentos.sentiment.promotion.contender import Contender
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown
from bentos.sentiment.registry import MODEL
from bentos.sentiment.served import threads
from bentos.sentiment.settings import Settings
from bentos.sentiment.windows import SPECIAL

GATE = "schema"
LABELS = {"negative", "positive"}
"""What POST /classify may answer; clients and the review API know no other."""
SIGNATURE = "string -> label: string, score: double"
CONTRACT = (
    f"{SIGNATURE}; labels negative, positive; max_tokens above {SPECIAL}; windows from 1; answers in order"
)
LIFTS = "export it with `make repro` from code of this version, or --force"


def judge(candidate: Contender, folder: Path, settings: Settings) -> Verdict:
    """`folder` holds the candidate's files, checked. The engine is asked, as it will be when it serves."""
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
    if wrong := next(objections(folder, settings), ""):
        says = f"the service cannot run version {candidate.number}: {wrong}; required: {CONTRACT}"
        return refused(GATE, wrong, CONTRACT, says, LIFTS)
    return passed(GATE, found, CONTRACT, f"version {candidate.number} takes and gives what the service does")


def signature(candidate: Contender) -> str:
    """Of the logged model, as `string -> label: string, score: double`. Raises anything."""
    import mlflow

    with tempfile.TemporaryDirectory(prefix="sentiment-") as aside:
        uri = f"models:/{MODEL}/{candidate.number}/MLmodel"
        path = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=aside)
        model = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    sides = (json.loads(model["signature"][side]) for side in ("inputs", "outputs"))
    return " -> ".join(", ".join(column(each) for each in side) for side in sides)


def column(spec: dict[str, Any]) -> str:
    return f"{spec['name']}: {spec['type']}" if spec.get("name") else str(spec["type"])


def objections(folder: Path, settings: Settings) -> Iterator[str]:
    """Why the service cannot run these files."""
    try:
        serving = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
        labels, max_tokens, windows = (serving[name] for name in ("labels", "max_tokens", "windows"))
        if not isinstance(labels, list) or len(labels) != len(LABELS) or set(labels) != LABELS:
            yield f"serving.json: labels are {labels!r}"
        for name, value, least in (("max_tokens", max_tokens, SPECIAL + 1), ("windows", windows, 1)):
            if type(value) is not int or value < least:
                yield f"serving.json: {name} is {value!r}"
        yield from answers(Engine(folder, threads(settings)), max_tokens * windows)
    except Exception as error:  # whatever OpenVINO, the tokenizer or JSON raise would be raised in serving
        yield f"{type(error).__name__}: {line(error)}"


def answers(engine: Engine, words: int) -> Iterator[str]:
    """What is wrong with the answers to a short text and to one that fills every window."""
    given = engine.probabilities(["Fine.", "good " * words])
    if given.shape != (2, len(engine.labels)) or not (abs(given.sum(axis=1) - 1) < 0.001).all():
        yield f"two texts got probabilities {given.tolist()} for labels {engine.labels}"


def line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
