"""How promotions ended, asked over HTTP by the Bento: `promote` is over before anybody could ask it."""

from dataclasses import dataclass

from bentos.sentiment.alias import Alias
from bentos.sentiment.promotion.history import HISTORY, PENDING

PATH = "/api/2.0/mlflow/model-versions/search"
MOST = 1000
"""More than the history keeps."""


@dataclass(frozen=True, slots=True)
class Ended:
    """`at` in seconds since 1970."""

    number: int
    outcome: str
    at: float


class Tally:
    """The history on an MLflow server. Asked again, it is read again only where there is something new."""

    def __init__(self, alias: Alias) -> None:
        self._alias = alias
        self._newest: list[Ended] | None = None

    def ask(self) -> list[Ended] | None:
        """What is over; None where nothing has changed since. Raises RegistryError."""
        newest = self._read(1)
        if newest == self._newest:
            return None
        everything = self._read(MOST)
        self._newest = newest
        return [one for one in everything if one.outcome != PENDING]

    def _read(self, most: int) -> list[Ended]:
        """The last first."""
        words = {"filter": f"name = '{HISTORY}'", "order_by": "version_number DESC", "max_results": str(most)}
        found = []
        for version in self._alias.get(PATH, words).get("model_versions", []):
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
            if "outcome" in tags:  # else it was removed while MLflow read it
                at = int(version["creation_timestamp"]) / 1000
                found.append(Ended(int(version["version"]), tags["outcome"], at))
        return found
