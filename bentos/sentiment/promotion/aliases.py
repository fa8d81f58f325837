"""The aliases `champion`, `previous` and `challenger`, and the changes a promotion or rollback makes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bentos.sentiment import registry
from bentos.sentiment.promotion import history, lock
from bentos.sentiment.promotion.errors import PromotionError
from bentos.sentiment.promotion.history import Plan
from bentos.sentiment.promotion.lock import Ticket
from bentos.sentiment.registry import MODEL
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIASES = ("champion", "previous", "challenger")

Versions = dict[str, "ModelVersion"]
"""Versions by alias."""


@dataclass(frozen=True, slots=True)
class Change:
    """The aliases before and after a change, and the number of its history entry."""

    before: Versions
    after: Versions
    entry: int


def aliased(client: "MlflowClient") -> Versions:
    """Return the version of each alias. Raises PromotionError if no model is registered."""
    try:
        aliases = client.get_registered_model(MODEL).aliases
    except Exception as error:
        if registry.is_absent(error):
            raise PromotionError(
                4, f"no model '{MODEL}' is registered: train one with `make repro`"
            ) from error
        raise
    return {alias: client.get_model_version(MODEL, version) for alias, version in aliases.items()}


def find(client: "MlflowClient", alias: str | None, number: str) -> "ModelVersion":
    """Return the version with the alias, or with the number if `alias` is empty. Raises PromotionError."""
    try:
        if alias:
            return client.get_model_version_by_alias(MODEL, alias)
        return client.get_model_version(MODEL, number)
    except Exception as error:
        if not registry.is_absent(error):
            raise
    if alias:
        raise PromotionError(
            4,
            f"--alias {alias}: no version has this alias: see --status, or register one with `make repro`",
        )
    numbers = sorted(int(version.version) for version in client.search_model_versions(f"name = '{MODEL}'"))
    known = f"versions are {numbers[0]} to {numbers[-1]}" if numbers else "register one with `make repro`"
    raise PromotionError(4, f"--version {number}: no such version: {known}")


def promote(client: "MlflowClient", plan: Plan, settings: Settings) -> Change:
    """Make `plan.after` the champion, and the old champion `previous`. Raises PromotionError."""
    ticket, before = begin(client, plan, settings)
    # `previous` first: if interrupted in between, the champion is unchanged and the command can be repeated.
    if plan.before:
        set_alias(client, "previous", plan.before, ticket)
    set_alias(client, "champion", plan.after, ticket)
    return finish(client, plan, "promoted", before, ticket)


def roll_back(client: "MlflowClient", plan: Plan, settings: Settings) -> Change:
    """Swap champion and previous. Raises PromotionError."""
    ticket, before = begin(client, plan, settings)
    # `champion` first: it decides what is served, and the history still names the other version.
    set_alias(client, "champion", plan.after, ticket)
    set_alias(client, "previous", plan.before, ticket)
    return finish(client, plan, "rolled_back", before, ticket)


def begin(client: "MlflowClient", plan: Plan, settings: Settings) -> tuple[Ticket, Versions]:
    """Acquire the lock, and check that the champion is still the one that the plan replaces."""
    ticket = lock.acquire(client, plan, settings)
    before = aliased(client)
    champion = number(before.get("champion"))
    if champion != plan.before:
        history.remove(client, ticket.entry.number)
        raise PromotionError(
            8,
            f"the champion changed from version {plan.before or 'none'} to version {champion or 'none'} while"
            " this command ran: nothing was promoted; see --history, and try again",
        )
    return ticket, before


def set_alias(client: "MlflowClient", alias: str, version: str, ticket: Ticket) -> None:
    ticket.check()
    client.set_registered_model_alias(MODEL, alias, version)


def finish(client: "MlflowClient", plan: Plan, outcome: str, before: Versions, ticket: Ticket) -> Change:
    """Tag the version with the reason, and end the entry, which releases the lock."""
    for tag, value in (("promotion_reason", plan.reason or "none given"), ("promoted_by", history.who())):
        client.set_model_version_tag(MODEL, plan.after, tag, value)
    after = aliased(client)
    history.end(client, ticket.entry.number, outcome)
    history.prune(client)
    return Change(before, after, ticket.entry.number)


def number(version: "ModelVersion | None") -> str:
    return str(version.version) if version else ""
