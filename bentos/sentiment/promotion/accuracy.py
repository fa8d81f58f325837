"""The gate `accuracy`: the candidate must be at least as accurate as the champion."""

from bentos.sentiment.promotion.evaluated_version import EvaluatedVersion
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown

GATE = "accuracy"
SIGNIFICANCE = 0.05
"""A difference with a p-value at or above this level can be explained by chance."""
DATA_TAGS = ("data_md5", "split_sha256")


def judge(candidate: EvaluatedVersion, champion: EvaluatedVersion | None, allowed: float) -> Verdict:
    """Compare the accuracies; the candidate's may be `allowed` below the champion's."""
    new = candidate.accuracy
    assert new is not None, "the gate `tags` is checked first"  # noqa: S101
    if champion is None:
        return passed(
            GATE, new, None, f"version {candidate.number} has {figure(candidate)}; there is no champion"
        )
    if champion.accuracy is None:
        return unknown(
            GATE,
            new,
            None,
            f"version {candidate.number} has {figure(candidate)}, but the champion, version"
            f" {champion.number}, has no accuracy to compare with",
            "register the champion again with `make repro`, or use --force",
        )
    if have_same_reviews(candidate, champion):
        return _on_same_reviews(candidate, champion, new, champion.accuracy, allowed)
    return _on_other_reviews(candidate, champion, allowed)


def have_same_reviews(candidate: EvaluatedVersion, champion: EvaluatedVersion) -> bool:
    tags, champion_tags = candidate.version.tags, champion.version.tags
    return all(tag in tags and tags[tag] == champion_tags.get(tag) for tag in DATA_TAGS)


def _on_same_reviews(
    candidate: EvaluatedVersion, champion: EvaluatedVersion, new: float, old: float, allowed: float
) -> Verdict:
    says = (
        f"version {candidate.number} has {figure(candidate)}, {_relation(new, old)} {figure(champion)} of"
        f" the champion, version {champion.number}, on the same reviews{comparison(candidate, champion)}"
    )
    if old - new <= allowed + 1e-9:
        return passed(GATE, new, old, says)
    lifts = (
        f"train a better model, or allow a drop of {old - new:.4f} with SENTIMENT_PROMOTE_MAX_ACCURACY_DROP"
        f" (now {allowed:g}), or use --force"
    )
    return refused(GATE, new, old, says, lifts)


def _on_other_reviews(candidate: EvaluatedVersion, champion: EvaluatedVersion, allowed: float) -> Verdict:
    """Use the comparison by `evaluate`, which also ran the champion on the candidate's reviews."""
    new, old = candidate.accuracy, champion.accuracy
    data, champion_data = (
        {tag: one.version.tags.get(tag, "unknown")[:12] for tag in DATA_TAGS} for one in (candidate, champion)
    )
    tags = " and ".join(f"{tag} {data[tag]}, the champion's {champion_data[tag]}" for tag in DATA_TAGS)
    not_comparable = (
        f"accuracy {new:.4f} of version {candidate.number} and {old:.4f} of the champion, version"
        f" {champion.number}, are not comparable: they were measured on different reviews ({tags})"
    )
    difference = candidate.metric("champion_difference")
    if difference is None or candidate.verdicts.get("champion_version") != champion.number:
        lifts = "evaluate it against this champion (`dvc repro --force evaluate`), or use --force"
        says = f"{not_comparable}, and its run was not compared with this champion"
        return unknown(GATE, new, old, says, lifts)
    says = f"{not_comparable}; both on the candidate's reviews{comparison(candidate, champion)}"
    if -difference <= allowed + 1e-9:
        return passed(GATE, new, old, says)
    caveat = "the champion may have been trained on some of them, which favours it"
    lifts = (
        f"train with the champion's params on the candidate's data and compare with that ({caveat}), or allow"
        f" a drop of {-difference:.4f} with SENTIMENT_PROMOTE_MAX_ACCURACY_DROP (now {allowed:g}), or use"
        " --force"
    )
    return refused(GATE, new, old, says, lifts)


def figure(version: EvaluatedVersion) -> str:
    """Format the accuracy, with its confidence interval if `evaluate` logged one."""
    low, high = (version.metric(f"accuracy_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" (95 %: {low:.4f} to {high:.4f})"
    return f"accuracy {version.accuracy:.4f}{interval}"


def comparison(candidate: EvaluatedVersion, champion: EvaluatedVersion) -> str:
    """Format the paired comparison by `evaluate`, or return "" if it used another champion."""
    names = ("champion_difference", "champion_difference_low", "champion_difference_high", "mcnemar_p")
    difference, low, high, p = (candidate.metric(name) for name in names)
    compared = candidate.verdicts.get("champion_version") == champion.number
    if not compared or difference is None or low is None or high is None or p is None:
        return ""
    chance = "chance could explain it" if p >= SIGNIFICANCE else "chance is unlikely to explain it"
    return (
        f": {100 * difference:+.2f} points (95 %: {100 * low:+.2f} to {100 * high:+.2f}; p={p:.2g}, {chance})"
    )


def _relation(new: float, old: float) -> str:
    return "below" if new < old else "above" if new > old else "the same as"
