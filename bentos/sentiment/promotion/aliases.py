"""Who is champion, previous and challenger, and how that changes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bentos.sentiment import registry
from bentos.sentiment.promotion import history
from bentos.sentiment.promotion.errors import PromotionError
from bentos.sentiment.promotion.history import Plan
from bentos.sentiment.promotion.lock import Ticket, turn
from bentos.sentiment.registry import MODEL
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIASES = ("champion", "previous", "challenger")

Versions = dict[str, "ModelVersion"]
"""The version under each alias that is set."""


@dataclass(frozen=True, slots=True)
class Change:
    """The aliases before and after, and the number of its entry in the history."""

    before: Versions
    after: Versions
    entry: int


def aliased(client: "MlflowClient") -> Versions:
    """Raises PromotionError where no model is registered."""
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
    """The version under the alias, or without one of the number. Raises PromotionError for none."""
    try:
        if alias:
            return client.get_model_version_by_alias(MODEL, alias)
        return client.get_model_version(MODEL, number)
    except Exception as error:
        if not registry.is_absent(error):
            raise
    if alias:
        raise PromotionError(
            4, f"--alias {alias}: no version has it: see --status, or register one with `make repro`"
        )
    numbers = sorted(int(version.version) for version in client.search_model_versions(f"name = '{MODEL}'"))
    known = f"{numbers[0]} to {numbers[-1]} are there" if numbers else "register one with `make repro`"
    raise PromotionError(4, f"--version {number}: there is no such version: {known}")


def promote(client: "MlflowClient", plan: Plan, settings: Settings) -> Change:
    """Make `plan.after` the champion, and the champion until now the previous. Raises PromotionError."""
    ticket, before = begin(client, plan, settings)
    # In this order: between the two the champion is still the old one, and running again ends well.
    if plan.before:
        move(client, "previous", plan.before, ticket)
    move(client, "champion", plan.after, ticket)
    return finish(client, plan, "promoted", before, ticket)


def roll_back(client: "MlflowClient", plan: Plan, settings: Settings) -> Change:
    """Swap champion and previous. Raises PromotionError."""
    ticket, before = begin(client, plan, settings)
    # In this order: what is served comes first, and the history knows the other.
    move(client, "champion", plan.after, ticket)
    move(client, "previous", plan.before, ticket)
    return finish(client, plan, "rolled_back", before, ticket)


def begin(client: "MlflowClient", plan: Plan, settings: Settings) -> tuple[Ticket, Versions]:
    """Wait for the turn; then the champion must be who it was when the plan was made."""
    ticket = turn(client, plan, settings)
    before = aliased(client)
    champion = number(before.get("champion"))
    if champion != plan.before:
        history.remove(client, ticket.entry.number)
        raise PromotionError(
            8,
            f"version {champion or 'none'} is champion now, and was {plan.before or 'none'} when this began:"
            " somebody was faster, see --history; nothing was changed",
        )
    return ticket, before


def move(client: "MlflowClient", alias: str, version: str, ticket: Ticket) -> None:
    ticket.check()
    client.set_registered_model_alias(MODEL, alias, version)


def finish(client: "MlflowClient", plan: Plan, outcome: str, before: Versions, ticket: Ticket) -> Change:
    """Record the reason on the version, and end the entry: the next in turn begins."""
    for tag, value in (("promotion_reason", plan.reason or "none given"), ("promoted_by", history.who())):
        client.set_model_version_tag(MODEL, plan.after, tag, value)
    after = aliased(client)
    history.end(client, ticket.entry.number, outcome)
    history.prune(client)
    return Change(before, after, ticket.entry.number)


def number(version: "ModelVersion | None") -> str:
    return str(version.version) if version else ""
