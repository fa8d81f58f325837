"""The commands of `python -m bentos.sentiment.promote`. They raise PromotionError and MlflowException."""

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


class Options(NamedTuple):
    """Options of --alias, --version and --rollback."""

    reason: str
    dry_run: bool
    force: bool


def status(now: Versions) -> Report:
    return Report("shown", lines=aliases_table(now), found={"aliases": aliases_json(now)})


def history_of(client: "MlflowClient", count: int) -> Report:
    """Show the last `count` entries, newest first."""
    entries = history.entries(client)[:count]
    lines = history_table(entries) if entries else ["nothing has been promoted or refused yet"]
    return Report("shown", lines=lines, found={"history": [one.as_json() for one in entries]})


def promote(
    client: "MlflowClient", now: Versions, candidate: "ModelVersion", options: Options, settings: Settings
) -> Report:
    """Judge the candidate and, if it passes, promote it. Judging takes time, so it precedes the lock."""
    champion = now.get("champion")
    if number(champion) == number(candidate):
        return unchanged(now, number(candidate))
    verdicts = gates.judge(client, candidate, champion, settings)
    stopped = tuple(one for one in verdicts if one.stops)
    plan = Plan(number(champion), number(candidate), options.reason, stopped, options.force)
    found = plan_json(plan, options.dry_run) | gates_json(verdicts, options.force)
    if stopped and not (options.force and gates.can_be_forced(stopped)):
        return refused(client, replace(plan, forced=False), verdicts, found | {"forced": []}, options.dry_run)
    overridden = [f"overridden: {refusal(one)}" for one in stopped]
    if options.dry_run:
        return Report("would_promote", lines=gates_table(verdicts), errors=overridden, found=found)
    change = aliases.promote(client, plan, settings)
    lines = [*gates_table(verdicts), "", *change_table(change.before, change.after)]
    return Report("promoted", lines=lines, errors=overridden, found=found | change_json(change))


def refused(
    client: "MlflowClient", plan: Plan, verdicts: list[Verdict], found: dict[str, object], dry_run: bool
) -> Report:
    """Report exit code 5 if a gate refuses, 6 if gates only cannot judge."""
    code = 5 if any(one.outcome == Outcome.REFUSED for one in plan.stopped) else 6
    if not dry_run:
        found = found | {"entry": history.add(client, plan, history.REFUSED).number}
        history.prune(client)
    lines = gates_table(verdicts) if dry_run else []
    return Report("refused", code, lines, [refusal(one) for one in plan.stopped], found)


def roll_back(client: "MlflowClient", now: Versions, options: Options, settings: Settings) -> Report:
    """Swap champion and previous. No gate applies, as the previous version has been champion before."""
    champion, previous = rollback_versions(now)
    plan = Plan(number(champion), number(previous), options.reason)
    found = plan_json(plan, options.dry_run)
    if options.dry_run:
        after = now | {"champion": previous, "previous": champion}
        return Report("would_roll_back", lines=change_table(now, after), found=found)
    change = aliases.roll_back(client, plan, settings)
    lines = change_table(change.before, change.after)
    return Report("rolled_back", lines=lines, found=found | change_json(change))


def rollback_versions(now: Versions) -> tuple["ModelVersion", "ModelVersion"]:
    """Return champion and previous. Raises PromotionError if the Bento would reject the previous one."""
    champion, previous = now.get("champion"), now.get("previous")
    if champion is None or previous is None:
        raise PromotionError(
            4, "there is no previous champion to roll back to: see --history, or promote with --version"
        )
    if number(champion) == number(previous):
        raise PromotionError(
            4,
            f"version {number(champion)} is both champion and previous, after an interrupted promotion or"
            " rollback: see --history, and promote with --version",
        )
    if "weights_sha256" not in previous.tags:
        raise PromotionError(
            6,
            f"the previous champion, version {number(previous)}, has no tag weights_sha256, so the Bento"
            " would reject it: promote another version with --version",
        )
    return champion, previous


def unchanged(now: Versions, version: str) -> Report:
    line = f"version {version} is already champion: nothing changed"
    return Report("unchanged", lines=[line], found={"to": version, "aliases": aliases_json(now)})


def plan_json(plan: Plan, dry_run: bool) -> dict[str, object]:
    return {"from": plan.before or None, "to": plan.after, "reason": plan.reason, "dry_run": dry_run}


def change_json(change: aliases.Change) -> dict[str, object]:
    return {"entry": change.entry, "aliases": aliases_json(change.after)}
