"""One promotion at a time, on however many machines: tickets, as MLflow has no lock and no compare-and-swap.

A ticket is a pending entry of the history. MLflow's database numbers them one by one: whoever has one sees
every lower number that will ever be. The lowest that has not ended has the turn. A ticket is good for its
lease only: who holds it changes nothing after that, and nobody waits for it any longer, so a process that was
killed needs no taking over. Ages are told by the clock of whoever stamps entries, the MLflow server, alone.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bentos.sentiment.promotion import history
from bentos.sentiment.promotion.errors import PromotionError
from bentos.sentiment.promotion.history import Entry, Plan
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Ticket:
    """Both moments are this process's monotonic clock: `good_until` is counted from before MLflow stamped the
    entry, `stamped` is after it, so that each errs on the safe side."""

    entry: Entry
    good_until: float
    stamped: float

    def check(self) -> None:
        """Call it before each change. Raises PromotionError when the turn may end before it is made."""
        if time.monotonic() > self.good_until:
            raise PromotionError(
                7, "MLflow is so slow that the turn to promote has run out: see --status, and try again"
            )


def lease_seconds(settings: Settings) -> float:
    """Half of it is for the request that is on its way when the other half is over: it is tried twice."""
    return 4.0 * settings.registry_timeout_seconds


def turn(client: "MlflowClient", plan: Plan, settings: Settings) -> Ticket:
    """Enter the plan as pending and wait for the turn; the caller ends the entry.

    Waits for longer than a killed process can keep others waiting, and raises PromotionError after that.
    """
    patience = time.monotonic() + 2 * lease_seconds(settings)
    while True:
        ticket = take(client, plan, settings)
        try:
            if wait(client, ticket, patience):
                return ticket
        except (PromotionError, KeyboardInterrupt):
            history.remove(client, ticket.entry.number)
            raise
        history.remove(client, ticket.entry.number)  # too old to be of use: again, at the end of the queue


def take(client: "MlflowClient", plan: Plan, settings: Settings) -> Ticket:
    lease = lease_seconds(settings)
    asked = time.monotonic()
    entry = history.add(client, plan, history.PENDING, lease)
    return Ticket(entry, asked + lease / 2, time.monotonic())


def wait(client: "MlflowClient", ticket: Ticket, patience: float) -> bool:
    """Whether the turn came while the ticket was good for what is to be done. Raises PromotionError once
    patience is over."""
    good_until = ticket.good_until
    while first := ahead(client, ticket):
        if time.monotonic() > patience:
            raise PromotionError(
                7,
                f"{first.by} has been promoting version {first.after} since {first.at:%H:%M:%S} UTC: try"
                f" again; if that process is dead, nobody waits for it after {first.lease_seconds:g} seconds",
            )
        if time.monotonic() > ticket.good_until:
            return False
        # A turn that comes late in a ticket's time would run out amid the changes; a new ticket has all.
        good_until = (ticket.stamped + ticket.good_until) / 2
        time.sleep(POLL_SECONDS)
    return time.monotonic() <= good_until


def ahead(client: "MlflowClient", ticket: Ticket) -> Entry | None:
    """Whose turn it is before this ticket's."""
    mine = ticket.entry
    for other in history.pending(client):
        if other.number >= mine.number:
            return None
        age = (mine.at - other.at).total_seconds() + time.monotonic() - ticket.stamped
        if age <= other.lease_seconds:
            return other
    return None
