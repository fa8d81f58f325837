"""What `python -m bentos.sentiment.promote` can be asked for. Each raises PromotionError, MlflowException."""

from dataclasses import replace
from typing import TYPE_CHECKING

from bentos.sentiment.promotion import aliases, gates, history
from bentos.sentiment.promotion.aliases import Versions, aliased, number
from bentos.sentiment.promotion.errors import PromotionError
from bentos.sentiment.promotion.history import Plan
from bentos.sentiment.promotion.report import (
    Report,
    aliases_json,
    aliases_table,
    change_table,
    gates_json,
    gates_table,
    history_table,
    refusal,
)
from bentos.sentiment.promotion.verdict import Outcome, Verdict
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def status(client: "MlflowClient") -> Report:
    now = aliased(client)
    return Report("shown", lines=aliases_table(now), found={"aliases": aliases_json(now)})


def history_of(client: "MlflowClient", count: int) -> Report:
    """The last `count` entries, the newest first."""
    entries = history.entries(client)[:count]
    lines = history_table(entries) if entries else ["nothing was promoted yet, or refused"]
    return Report("shown", lines=lines, found={"history": [one.as_json() for one in entries]})


def promote(
    client: "MlflowClient",
    candidate: "ModelVersion",
    reason: str,
    dry_run: bool,
    force: bool,
    settings: Settings,
) -> Report:
    """Judge the candidate, outside the lock as that takes time, and make it the champion if it passes."""
    before = aliased(client)
    champion = before.get("champion")
    if number(champion) == number(candidate):
        return unchanged(before, number(candidate))
    verdicts = gates.judge(client, candidate, champion, settings)
    stopped = tuple(one for one in verdicts if one.stops)
    plan = Plan(number(champion), number(candidate), reason, stopped, force)
    found = told(plan, dry_run) | gates_json(verdicts, force)
    if stopped and not (force and gates.can_be_forced(stopped)):
        return refused(client, replace(plan, forced=False), verdicts, found | {"forced": []}, dry_run)
    past = [f"forced past {refusal(one)}" for one in stopped]
    if dry_run:
        return Report("would_promote", lines=gates_table(verdicts), errors=past, found=found)
    change = aliases.promote(client, plan, settings)
    lines = [*gates_table(verdicts), "", *change_table(change.before, change.after)]
    return Report("promoted", lines=lines, errors=past, found=found | changed(change))


def refused(
    client: "MlflowClient", plan: Plan, verdicts: list[Verdict], found: dict[str, object], dry_run: bool
) -> Report:
    """5 where a gate refuses, 6 where one only cannot judge."""
    code = 5 if any(one.outcome == Outcome.REFUSED for one in plan.stopped) else 6
    if not dry_run:
        found = found | {"entry": history.add(client, plan, history.REFUSED).number}
        history.prune(client)
    lines = gates_table(verdicts) if dry_run else []
    return Report("refused", code, lines, [refusal(one) for one in plan.stopped], found)


def roll_back(client: "MlflowClient", reason: str, dry_run: bool, settings: Settings) -> Report:
    """Swap champion and previous. That one has been champion before: nothing is judged."""
    before = aliased(client)
    champion, previous = rollback_of(before)
    plan = Plan(number(champion), number(previous), reason)
    found = told(plan, dry_run)
    if dry_run:
        after = before | {"champion": previous, "previous": champion}
        return Report("would_roll_back", lines=change_table(before, after), found=found)
    change = aliases.roll_back(client, plan, settings)
    lines = change_table(change.before, change.after)
    return Report("rolled_back", lines=lines, found=found | changed(change))


def rollback_of(before: Versions) -> tuple["ModelVersion", "ModelVersion"]:
    """Champion and previous, where the Bento would take the previous one."""
    champion, previous = before.get("champion"), before.get("previous")
    if champion is None or previous is None:
        raise PromotionError(
            4, "there is no previous champion to roll back to: see --history, and promote a --version"
        )
    if number(champion) == number(previous):
        raise PromotionError(
            4,
            f"version {number(champion)} is both champion and previous, as a promotion or rollback that was"
            " interrupted leaves it: see --history, and promote a --version",
        )
    if "weights_sha256" not in previous.tags:
        raise PromotionError(
            6,
            f"the previous champion, version {number(previous)}, has no tag weights_sha256: the Bento would"
            " refuse it; promote another --version",
        )
    return champion, previous


def unchanged(before: Versions, version: str) -> Report:
    line = f"version {version} is champion already; nothing changes"
    return Report("unchanged", lines=[line], found={"to": version, "aliases": aliases_json(before)})


def told(plan: Plan, dry_run: bool) -> dict[str, object]:
    return {"from": plan.before or None, "to": plan.after, "reason": plan.reason, "dry_run": dry_run}


def changed(change: aliases.Change) -> dict[str, object]:
    return {"entry": change.entry, "aliases": aliases_json(change.after)}
