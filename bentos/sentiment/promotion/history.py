"""The history of promotions, refusals and rollbacks, with their authors and reasons.

Entries are versions of the registered model `sentiment-promotions`, each linked to the version it is about.
MLflow numbers versions one by one in a transaction. Unlike a list in a tag, entries cannot overwrite each
other, and all clients see them in the same order, on which the lock is built (`lock`).
"""

import getpass
import json
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bentos.sentiment.promotion.verdict import Verdict
from bentos.sentiment.registry import MODEL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

HISTORY = f"{MODEL}-promotions"
DESCRIPTION = (
    f"The history of promotions of '{MODEL}', including refused ones: one version per entry, written by"
    " `python -m bentos.sentiment.promote` and shown by its --history. It also serves as the lock."
)
KEPT = 300
"""Number of promotions and rollbacks kept, one or two kilobytes each. The oldest are removed."""
KEPT_REFUSED = 100
"""Number of refusals kept. Counted separately, so that a frequently refused job displaces no promotion."""
MAX_SAYS_CHARS = 400
PENDING, REFUSED, INTERRUPTED = "pending", "refused", "interrupted"

# MLflow tries three times to number a version, which may fail with many concurrent clients.
_TRIES = 10
_BUSY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class Entry:
    """`outcome` is promoted, rolled_back or refused; pending while in progress; interrupted if never ended.

    `gates` are the verdicts that stopped the promotion or were forced, `forced` the gates overridden.
    """

    number: int
    at: datetime
    outcome: str
    by: str
    before: str
    after: str
    reason: str
    forced: list[str]
    gates: list[dict[str, object]]
    lease_seconds: float

    def as_json(self) -> dict[str, object]:
        found = asdict(self) | {"at": self.at.isoformat(timespec="milliseconds")}
        found["from"], found["to"] = found.pop("before"), found.pop("after")
        del found["lease_seconds"]
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """A promotion or rollback to be made, as recorded in the history."""

    before: str
    after: str
    reason: str
    stopped: tuple[Verdict, ...] = ()
    """Verdicts that stop the promotion, unless `forced`."""
    forced: bool = False

    def tags(self) -> dict[str, str]:
        gates = [asdict(one) | {"says": one.says[:MAX_SAYS_CHARS]} for one in self.stopped]
        return {
            "by": who(),
            "from": self.before,
            "to": self.after,
            "reason": self.reason,
            "forced": ",".join(one.gate for one in self.stopped) if self.forced else "",
            "gates": json.dumps(gates),
        }


def who() -> str:
    """Return user@host; the user is LOGNAME or the system's name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def add(client: "MlflowClient", plan: Plan, outcome: str, lease_seconds: float = 0) -> Entry:
    """Write an entry, whose number is unique. Raises MlflowException."""
    from mlflow.exceptions import MlflowException

    tags = plan.tags() | {"outcome": outcome, "lease_seconds": f"{lease_seconds:g}"}
    ensure(client)
    for attempt in range(_TRIES):
        try:
            return entry(client.create_model_version(HISTORY, f"models:/{MODEL}/{plan.after}", tags=tags))
        except MlflowException as error:
            if attempt == _TRIES - 1 or error.error_code not in _BUSY:
                raise
    raise AssertionError("the last attempt returns or raises")


def ensure(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(HISTORY)
    except MlflowException as missing:
        if missing.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        try:
            client.create_registered_model(HISTORY, description=DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def end(client: "MlflowClient", number: int, outcome: str) -> None:
    client.set_model_version_tag(HISTORY, str(number), "outcome", outcome)


def remove(client: "MlflowClient", number: int) -> None:
    client.delete_model_version(HISTORY, str(number))


def pending(client: "MlflowClient") -> list[Entry]:
    """Return the entries in progress or interrupted, oldest first."""
    found = client.search_model_versions(f"name = '{HISTORY}' and tags.outcome = '{PENDING}'")
    return sorted((one for one in readable(found) if one.outcome == PENDING), key=lambda one: one.number)


def entries(client: "MlflowClient") -> list[Entry]:
    """Return all entries, newest first."""
    found = client.search_model_versions(f"name = '{HISTORY}'", order_by=["version_number DESC"])
    return [ended(one) for one in readable(found)]


def readable(found: Iterable["ModelVersion"]) -> Iterator[Entry]:
    """Skip entries removed while MLflow read them: it reads the versions first, and then their tags."""
    return (entry(version) for version in found if "outcome" in version.tags)


def ended(one: Entry) -> Entry:
    """Mark a pending entry as interrupted after its lease: its process was killed or lost MLflow."""
    age = (datetime.now(UTC) - one.at).total_seconds()
    if one.outcome != PENDING or age <= one.lease_seconds:
        return one
    return Entry(**(asdict(one) | {"at": one.at, "outcome": INTERRUPTED}))


def prune(client: "MlflowClient") -> None:
    """Remove the oldest entries. The newest one stays, so that MLflow assigns no number twice."""
    found = [one for one in entries(client) if one.outcome != PENDING]
    refusals = [one for one in found if one.outcome == REFUSED]
    changes = [one for one in found if one.outcome != REFUSED]
    _remove([*refusals[KEPT_REFUSED:], *changes[KEPT:]], client)


def _remove(old: Iterable[Entry], client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    for one in old:
        try:
            remove(client, one.number)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # removed by another process
                raise


def entry(version: "ModelVersion") -> Entry:
    tags = version.tags
    return Entry(
        number=int(version.version),
        at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        outcome=tags["outcome"],
        by=tags["by"],
        before=tags["from"],
        after=tags["to"],
        reason=tags["reason"],
        forced=[gate for gate in tags["forced"].split(",") if gate],
        gates=json.loads(tags["gates"]),
        lease_seconds=float(tags["lease_seconds"]),
    )
