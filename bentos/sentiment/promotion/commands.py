"""What `python -m bentos.sentiment.promote` can be asked for. Each raises PromotionError, MlflowException."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bentos.sentiment.promotion import aliases, gates, history
from bentos.sentiment.promotion.aliases import Versions, number
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


class Asked(NamedTuple):
    """How somebody wants it done, and why."""

    reason: str
    dry_run: bool
    force: bool


def status(now: Versions) -> Report:
    return Report("shown", lines=aliases_table(now), found={"aliases": aliases_json(now)})


def history_of(client: "MlflowClient", count: int) -> Report:
    """The last `count` entries, the newest first."""
    entries = history.entries(client)[:count]
    lines = history_table(entries) if entries else ["nothing was promoted yet, or refused"]
    return Report("shown", lines=lines, found={"history": [one.as_json() for one in entries]})


def promote(
    client: "MlflowClient", now: Versions, candidate: "ModelVersion", asked: Asked, settings: Settings
) -> Report:
    """Judge the candidate, outside the lock as that takes time, and make it the champion if it passes."""
    champion = now.get("champion")
    if number(champion) == number(candidate):
        return unchanged(now, number(candidate))
    verdicts = gates.judge(client, candidate, champion, settings)
    stopped = tuple(one for one in verdicts if one.stops)
    plan = Plan(number(champion), number(candidate), asked.reason, stopped, asked.force)
    found = told(plan, asked.dry_run) | gates_json(verdicts, asked.force)
    if stopped and not (asked.force and gates.can_be_forced(stopped)):
        return refused(client, replace(plan, forced=False), verdicts, found | {"forced": []}, asked.dry_run)
    past = [f"forced past {refusal(one)}" for one in stopped]
    if asked.dry_run:
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


def roll_back(client: "MlflowClient", now: Versions, asked: Asked, settings: Settings) -> Report:
    """Swap champion and previous. That one has been champion before: nothing is judged."""
    champion, previous = rollback_of(now)
    plan = Plan(number(champion), number(previous), asked.reason)
    found = told(plan, asked.dry_run)
    if asked.dry_run:
        after = now | {"champion": previous, "previous": champion}
        return Report("would_roll_back", lines=change_table(now, after), found=found)
    change = aliases.roll_back(client, plan, settings)
    lines = change_table(change.before, change.after)
    return Report("rolled_back", lines=lines, found=found | changed(change))


def rollback_of(now: Versions) -> tuple["ModelVersion", "ModelVersion"]:
    """Champion and previous, where the Bento would take the previous one."""
    champion, previous = now.get("champion"), now.get("previous")
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


def unchanged(now: Versions, version: str) -> Report:
    line = f"version {version} is champion already; nothing changes"
    return Report("unchanged", lines=[line], found={"to": version, "aliases": aliases_json(now)})


def told(plan: Plan, dry_run: bool) -> dict[str, object]:
    return {"from": plan.before or None, "to": plan.after, "reason": plan.reason, "dry_run": dry_run}


def changed(change: aliases.Change) -> dict[str, object]:
    return {"entry": change.entry, "aliases": aliases_json(change.after)}
