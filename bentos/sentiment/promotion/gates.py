"""The gates that a version must pass before it is served."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bentos.sentiment.champion import files
from bentos.sentiment.promotion import accuracy
from bentos.sentiment.promotion.evaluated_version import EvaluatedVersion, evaluated
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown
from bentos.sentiment.registry import RegistryError
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

REGISTER_AGAIN = "register it again with `make repro`"


def judge(
    client: "MlflowClient", version: "ModelVersion", current: "ModelVersion | None", settings: Settings
) -> list[Verdict]:
    """Return the verdicts on `version`, compared with the `current` champion.

    If the gate `tags` fails, its verdict is the only one. Takes some seconds, as both models are downloaded
    and run. Raises MlflowException, RegistryError.
    """
    candidate = evaluated(client, version)
    first = tags(candidate)
    if first.stops:
        return [first]
    champion = evaluated(client, current) if current else None
    return [
        first,
        accuracy.judge(candidate, champion, settings.promote_max_accuracy_drop),
        behaviour(candidate),
        int8(candidate, settings.promote_max_accuracy_loss),
        *_on_files(candidate, champion, settings),
    ]


def tags(candidate: EvaluatedVersion) -> Verdict:
    """Require the tags that the Bento needs. --force does not override this gate."""
    found = candidate.version.tags
    for tag, missing in (
        ("weights_sha256", not found.get("weights_sha256")),
        ("accuracy", candidate.accuracy is None),
    ):
        if missing:
            what = f"tag {tag} is {found[tag]!r}" if tag in found else f"no tag {tag}"
            return unknown("tags", found.get(tag), tag, f"version {candidate.number}: {what}", REGISTER_AGAIN)
    return passed("tags", "weights_sha256, accuracy", None, "present")


def can_be_forced(stopped: Sequence[Verdict]) -> bool:
    return all(one.gate != "tags" for one in stopped)


def behaviour(candidate: EvaluatedVersion) -> Verdict:
    """Check the run's tag `behaviour`: `passed`, or `failed:` and the failed tests."""
    found = candidate.verdicts.get("behaviour")
    if found is None:
        says = f"version {candidate.number} has no result of the behavioural tests; required: passed"
        return unknown("behaviour", None, "passed", says, f"{REGISTER_AGAIN}, or use --force")
    says = f"version {candidate.number}: {found}; required: passed"
    if found != "passed":
        lifts = "train another model, or see evaluate.behaviour in params.yaml, or use --force"
        return refused("behaviour", found, "passed", says, lifts)
    return passed("behaviour", found, "passed", says)


def int8(candidate: EvaluatedVersion, limit: float) -> Verdict:
    """Limit the accuracy lost by exporting the trained form to the served form, with VNNI and without."""
    names = ("accuracy", "reference_accuracy", "accuracy_loss")
    served, trained, loss = (candidate.metric(name) for name in names)
    if served is None or trained is None or loss is None:
        says = (
            f"the run of version {candidate.number} has no accuracy loss of the served form; limit {limit:g}"
        )
        return unknown("int8", None, limit, says, f"{REGISTER_AGAIN}, or use --force")
    where = ""
    # Versions of earlier releases lack this metric.
    if (without_vnni := candidate.metric("accuracy_loss_without_vnni")) is not None and without_vnni > loss:
        served, loss, where = trained - without_vnni, without_vnni, " on a processor without VNNI"
    says = (
        f"the served form of version {candidate.number} has accuracy {served:.4f}{where}, the trained one"
        f" {trained:.4f}: a loss of {loss:.4f}, limit {limit:g}"
    )
    if loss > limit + 1e-9:
        lifts = (
            "set export.precision to fp32 in params.yaml, or calibrate on more reviews, or raise"
            " SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS, or use --force"
        )
        return refused("int8", loss, limit, says, lifts)
    return passed("int8", loss, limit, says)


def _on_files(
    candidate: EvaluatedVersion, champion: EvaluatedVersion | None, settings: Settings
) -> Iterator[Verdict]:
    # Imported here because OpenVINO takes a second to import, and --status and --rollback do not need it.
    from bentos.sentiment.promotion import latency_and_size, schema

    try:
        with files.serving_folder(candidate.version, settings) as folder:
            verdict = schema.judge(candidate, folder, settings)
            yield verdict
            if not verdict.stops:
                yield from latency_and_size.judge(candidate, folder, champion, settings)
    except RegistryError as error:
        yield unknown(
            "schema", str(error), "files as registered", str(error), f"{REGISTER_AGAIN}, or use --force"
        )
