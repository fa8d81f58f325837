"""The gate `accuracy`: no champion makes way for one that measures worse."""

from bentos.sentiment.promotion.contender import Contender
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown

GATE = "accuracy"
COMMON_CHANCE = 0.05
"""A difference that chance alone would make more often than this is one that it can explain."""
SAME = ("data_md5", "split_sha256")


def judge(candidate: Contender, champion: Contender | None, allowed: float) -> Verdict:
    """`allowed` is the accuracy that the candidate may lack of the champion's."""
    new = candidate.accuracy
    assert new is not None, "the gate `tags` comes first"  # noqa: S101
    if champion is None:
        return passed(
            GATE, new, None, f"version {candidate.number} has {figure(candidate)}; nobody is champion"
        )
    if champion.accuracy is None:
        return unknown(
            GATE,
            new,
            None,
            f"version {candidate.number} has {figure(candidate)}, and the champion, version"
            f" {champion.number}, has no accuracy to compare with",
            "register the champion's run again with `make repro`, or --force",
        )
    if on_the_same_reviews(candidate, champion):
        return _same(candidate, champion, new, champion.accuracy, allowed)
    return _other(candidate, champion, allowed)


def on_the_same_reviews(candidate: Contender, champion: Contender) -> bool:
    mine, theirs = candidate.version.tags, champion.version.tags
    return all(tag in mine and mine[tag] == theirs.get(tag) for tag in SAME)


def _same(candidate: Contender, champion: Contender, new: float, old: float, allowed: float) -> Verdict:
    says = (
        f"version {candidate.number} has {figure(candidate)}, {_word(new, old)} {figure(champion)} of the"
        f" champion, version {champion.number}, on the same reviews{difference(candidate, champion)}"
    )
    if old - new <= allowed + 1e-9:
        return passed(GATE, new, old, says)
    lifts = (
        f"train a better one, or allow a drop of {old - new:.4f} with SENTIMENT_PROMOTE_MAX_ACCURACY_DROP"
        f" (now {allowed:g}), or --force"
    )
    return refused(GATE, new, old, says, lifts)


def _other(candidate: Contender, champion: Contender, allowed: float) -> Verdict:
    """What `evaluate` found when it asked the champion too about the candidate's reviews."""
    new, old = candidate.accuracy, champion.accuracy
    mine, theirs = (
        {tag: one.version.tags.get(tag, "unknown")[:12] for tag in SAME} for one in (candidate, champion)
    )
    apart = " and ".join(f"{tag} {mine[tag]}, the champion's {theirs[tag]}" for tag in SAME)
    cannot = (
        f"accuracy {new:.4f} of version {candidate.number} and {old:.4f} of the champion, version"
        f" {champion.number}, do not compare: they were measured on different reviews ({apart})"
    )
    ahead = candidate.metric("champion_difference")
    if ahead is None or candidate.run_tags.get("champion_version") != champion.number:
        again = "evaluate it beside this champion (`dvc repro --force evaluate`), or --force"
        return unknown(GATE, new, old, f"{cannot}, and its run was not compared with this champion", again)
    says = f"{cannot}; both on the candidate's reviews{difference(candidate, champion)}"
    if -ahead <= allowed + 1e-9:
        return passed(GATE, new, old, says)
    known = "the champion may have been trained on some of them, which flatters it"
    lifts = (
        f"train the champion's params on the candidate's data and compare with that ({known}), or allow a"
        f" drop of {-ahead:.4f} with SENTIMENT_PROMOTE_MAX_ACCURACY_DROP (now {allowed:g}), or --force"
    )
    return refused(GATE, new, old, says, lifts)


def figure(contender: Contender) -> str:
    """With its interval, where `evaluate` has given one."""
    low, high = (contender.metric(f"accuracy_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" (95 %: {low:.4f} to {high:.4f})"
    return f"accuracy {contender.accuracy:.4f}{interval}"


def difference(candidate: Contender, champion: Contender) -> str:
    """What `evaluate` told of the two by every single review, if it was this champion; else nothing."""
    names = ("champion_difference", "champion_difference_low", "champion_difference_high", "mcnemar_p")
    ahead, low, high, p = (candidate.metric(name) for name in names)
    compared = candidate.run_tags.get("champion_version") == champion.number
    if not compared or ahead is None or low is None or high is None or p is None:
        return ""
    chance = "chance could explain it" if p >= COMMON_CHANCE else "more than chance explains"
    return f": {100 * ahead:+.2f} points (95 %: {100 * low:+.2f} to {100 * high:+.2f}; p={p:.2g}, {chance})"


def _word(new: float, old: float) -> str:
    return "below" if new < old else "above" if new > old else "the same as"
