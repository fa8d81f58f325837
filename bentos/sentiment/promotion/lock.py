"""One promotion at a time, from any machine: a ticket lock, as MLflow has no lock and no compare-and-swap.

A ticket is a pending entry of the history. MLflow's database numbers entries one by one, so the owner of a
ticket sees every lower number that will ever exist. The lowest pending ticket holds the lock. A ticket is
valid for its lease: after that its owner changes nothing and the others ignore it, so the lock of a killed
process needs no cleanup. Ages are measured by one clock, that of the MLflow server, which timestamps entries.
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
    """An entry in the queue for the lock, with two times of this process's monotonic clock.

    `expires` counts from before MLflow created the entry and `created` is after it, so both err on the safe
    side.
    """

    entry: Entry
    expires: float
    created: float

    def check(self) -> None:
        """Call before each change. Raises PromotionError if the lease may end before the change is made."""
        if time.monotonic() > self.expires:
            raise PromotionError(
                7, "the lock expired because MLflow is too slow: see --status, and try again"
            )


def lease_seconds(settings: Settings) -> float:
    """Return the lease. A change may start in its first half; the second covers its request and one retry."""
    return 4.0 * settings.registry_timeout_seconds


def acquire(client: "MlflowClient", plan: Plan, settings: Settings) -> Ticket:
    """Enter the plan as pending and wait for the lock. The caller releases it by ending the entry.

    Raises PromotionError after a timeout that is longer than a killed process can block the lock.
    """
    deadline = time.monotonic() + 2 * lease_seconds(settings)
    while True:
        ticket = take_ticket(client, plan, settings)
        try:
            if wait(client, ticket, deadline):
                return ticket
        except (PromotionError, KeyboardInterrupt):
            history.remove(client, ticket.entry.number)
            raise
        history.remove(client, ticket.entry.number)  # expired: queue again at the end


def take_ticket(client: "MlflowClient", plan: Plan, settings: Settings) -> Ticket:
    lease = lease_seconds(settings)
    requested = time.monotonic()
    entry = history.add(client, plan, history.PENDING, lease)
    return Ticket(entry, requested + lease / 2, time.monotonic())


def wait(client: "MlflowClient", ticket: Ticket, deadline: float) -> bool:
    """Wait for the lock; return False if the ticket expires first. Raises PromotionError after `deadline`."""
    expires = ticket.expires
    while first := holder(client, ticket):
        if time.monotonic() > deadline:
            raise PromotionError(
                7,
                f"{first.by} has held the lock since {first.at:%H:%M:%S} UTC to promote version"
                f" {first.after}: try again; if that process is dead, its lock expires after"
                f" {first.lease_seconds:g} seconds",
            )
        if time.monotonic() > ticket.expires:
            return False
        # A lock obtained late would expire between the changes; a new ticket has its whole lease.
        expires = (ticket.created + ticket.expires) / 2
        time.sleep(POLL_SECONDS)
    return time.monotonic() <= expires


def holder(client: "MlflowClient", ticket: Ticket) -> Entry | None:
    """Return the entry that holds the lock, or None if this ticket does."""
    own = ticket.entry
    for other in history.pending(client):
        if other.number >= own.number:
            return None
        age = (own.at - other.at).total_seconds() + time.monotonic() - ticket.created
        if age <= other.lease_seconds:
            return other
    return None
