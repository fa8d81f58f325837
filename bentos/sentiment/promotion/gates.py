"""All that a version must pass before it is served."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bentos.sentiment import champion as files
from bentos.sentiment.promotion import accuracy
from bentos.sentiment.promotion.contender import Contender, contender
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown
from bentos.sentiment.registry import RegistryError
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

AGAIN = "register it again with `make repro`"


def judge(
    client: "MlflowClient", version: "ModelVersion", served: "ModelVersion | None", settings: Settings
) -> list[Verdict]:
    """Every gate's verdict on `version`, `served` being champion; one alone where its tags are no use.

    Takes some seconds: it downloads and runs both models. Raises MlflowException, RegistryError.
    """
    candidate = contender(client, version)
    first = tags(candidate)
    if first.stops:
        return [first]
    champion = contender(client, served) if served else None
    return [
        first,
        accuracy.judge(candidate, champion, settings.promote_max_accuracy_drop),
        behaviour(candidate),
        int8(candidate, settings.promote_max_accuracy_loss),
        *_of_files(candidate, champion, settings),
    ]


def tags(candidate: Contender) -> Verdict:
    """Without these a version does not come from the pipeline, and the Bento would refuse it: no --force."""
    found = candidate.version.tags
    for tag, missing in (
        ("weights_sha256", not found.get("weights_sha256")),
        ("accuracy", candidate.accuracy is None),
    ):
        if missing:
            what = f"its tag {tag} is {found[tag]!r}" if tag in found else f"it has no tag {tag}"
            return unknown("tags", found.get(tag), tag, f"version {candidate.number}: {what}", AGAIN)
    return passed("tags", "weights_sha256, accuracy", None, "they are there")


def can_be_forced(stopped: Sequence[Verdict]) -> bool:
    return all(one.gate != "tags" for one in stopped)


def behaviour(candidate: Contender) -> Verdict:
    """The tag that `evaluate` sets: `passed`, or `failed:` and which tests."""
    found = candidate.run_tags.get("behaviour")
    if found is None:
        says = f"version {candidate.number} was never tested, and behavioural tests must have passed"
        return unknown("behaviour", None, "passed", says, f"{AGAIN}, or --force")
    says = f"version {candidate.number}: {found}; required: passed"
    if found != "passed":
        lifts = "train another, or see evaluate.behaviour in params.yaml, or --force"
        return refused("behaviour", found, "passed", says, lifts)
    return passed("behaviour", found, "passed", says)


def int8(candidate: Contender, limit: float) -> Verdict:
    """What the served form has lost against the trained one."""
    names = ("accuracy", "reference_accuracy", "accuracy_loss")
    served, trained, loss = (candidate.metric(name) for name in names)
    if served is None or trained is None or loss is None:
        says = (
            f"the run of version {candidate.number} does not say what its served form lost; limit {limit:g}"
        )
        return unknown("int8", None, limit, says, f"{AGAIN}, or --force")
    says = (
        f"the served form of version {candidate.number} has accuracy {served:.4f}, the trained one"
        f" {trained:.4f}: a loss of {loss:.4f}, limit {limit:g}"
    )
    if loss > limit + 1e-9:
        lifts = (
            "set export.precision to fp32 or calibrate on more reviews in params.yaml, or raise"
            " SENTIMENT_PROMOTE_MAX_ACCURACY_LOSS, or --force"
        )
        return refused("int8", loss, limit, says, lifts)
    return passed("int8", loss, limit, says)


def _of_files(candidate: Contender, champion: Contender | None, settings: Settings) -> Iterator[Verdict]:
    # Imported here: OpenVINO takes a second, and --status or --rollback need none.
    from bentos.sentiment.promotion import contract, speed

    try:
        with files.opened(candidate.version, settings) as folder:
            schema = contract.judge(candidate, folder, settings)
            yield schema
            if not schema.stops:
                yield from speed.judge(candidate, folder, champion, settings)
    except RegistryError as error:
        yield unknown("schema", str(error), "files as registered", str(error), f"{AGAIN}, or --force")
