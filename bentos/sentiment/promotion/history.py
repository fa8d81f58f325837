"""What was promoted, refused and rolled back, by whom and why: versions of the registered model
`sentiment-promotions`, each a link to the version it is about.

MLflow numbers the versions of a model one by one in a transaction, so entries never overwrite each other, as
a list in a tag would, and their order is the same for everybody: the lock is built on that (`lock`).
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
    f"The promotions of '{MODEL}', refused ones included: each version is one, written by"
    " `python -m bentos.sentiment.promote` and shown by its --history. It keeps two from promoting at once."
)
KEPT = 300
"""Changes of the champion that are kept; the oldest goes first. They are a kilobyte or two each."""
KEPT_REFUSED = 100
"""Counted apart, so that a job which is refused every minute pushes no promotion out."""
LONGEST_SAYS = 400
PENDING, REFUSED, INTERRUPTED = "pending", "refused", "interrupted"

# MLflow tries three times to number a version; with many at once that may not do.
_TRIES = 10
_BUSY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class Entry:
    """`outcome` is promoted, rolled_back or refused; pending under way, interrupted where that never ended.

    `forced` names the gates that --force went past, `gates` are those that stopped or were forced.
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
    """What somebody sets out to do, as the history keeps it."""

    before: str
    after: str
    reason: str
    stopped: tuple[Verdict, ...] = ()
    """The gates that refused, or were forced."""
    forced: bool = False

    def tags(self) -> dict[str, str]:
        gates = [asdict(one) | {"says": one.says[:LONGEST_SAYS]} for one in self.stopped]
        return {
            "by": who(),
            "from": self.before,
            "to": self.after,
            "reason": self.reason,
            "forced": ",".join(one.gate for one in self.stopped) if self.forced else "",
            "gates": json.dumps(gates),
        }


def who() -> str:
    """The user, as the system or LOGNAME names them, and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def add(client: "MlflowClient", plan: Plan, outcome: str, lease_seconds: float = 0) -> Entry:
    """Write an entry; nobody else gets its number. Raises MlflowException."""
    from mlflow.exceptions import MlflowException

    tags = plan.tags() | {"outcome": outcome, "lease_seconds": f"{lease_seconds:g}"}
    ensure(client)
    for attempt in range(_TRIES):
        try:
            return entry(client.create_model_version(HISTORY, f"models:/{MODEL}/{plan.after}", tags=tags))
        except MlflowException as error:
            if attempt == _TRIES - 1 or error.error_code not in _BUSY:
                raise
    raise AssertionError("the last try returns or raises")


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
    """What is under way or was interrupted, the first first."""
    found = client.search_model_versions(f"name = '{HISTORY}' and tags.outcome = '{PENDING}'")
    return sorted((one for one in readable(found) if one.outcome == PENDING), key=lambda one: one.number)


def entries(client: "MlflowClient") -> list[Entry]:
    """All that is kept, the newest first."""
    found = client.search_model_versions(f"name = '{HISTORY}'", order_by=["version_number DESC"])
    return [ended(one) for one in readable(found)]


def readable(found: Iterable["ModelVersion"]) -> Iterator[Entry]:
    """Without those removed while MLflow read them: it asks for versions first, and then for tags."""
    return (entry(version) for version in found if "outcome" in version.tags)


def ended(one: Entry) -> Entry:
    """A pending entry past its lease will never end: its process was killed, or lost MLflow."""
    age = (datetime.now(UTC) - one.at).total_seconds()
    if one.outcome != PENDING or age <= one.lease_seconds:
        return one
    return Entry(**(asdict(one) | {"at": one.at, "outcome": INTERRUPTED}))


def prune(client: "MlflowClient") -> None:
    """Remove the oldest past what is kept. The newest number stays, so that no number comes twice."""
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
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # another has done it
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
