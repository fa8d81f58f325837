"""The promotion history over MLflow's REST API, read by the Bento for its metrics."""

from dataclasses import dataclass

from bentos.sentiment.promotion.history import HISTORY, PENDING
from bentos.sentiment.registry_rest import RestClient

PATH = "/api/2.0/mlflow/model-versions/search"
MAX_ENTRIES = 1000
"""More than the history keeps."""


@dataclass(frozen=True, slots=True)
class RestEntry:
    """An entry of the history; `at` is its Unix time in seconds."""

    number: int
    outcome: str
    at: float


class RestHistory:
    """The history on an MLflow server. It is read in full only if its newest entry has changed."""

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._newest: list[RestEntry] | None = None

    def finished(self) -> list[RestEntry] | None:
        """Return the entries that are not pending, or None if nothing has changed. Raises RegistryError."""
        newest = self._read(1)
        if newest == self._newest:
            return None
        entries = self._read(MAX_ENTRIES)
        self._newest = newest
        return [one for one in entries if one.outcome != PENDING]

    def _read(self, limit: int) -> list[RestEntry]:
        """Return up to `limit` entries, newest first."""
        params = {
            "filter": f"name = '{HISTORY}'",
            "order_by": "version_number DESC",
            "max_results": str(limit),
        }
        entries = []
        for version in self._client.get(PATH, params).get("model_versions", []):
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
            if "outcome" in tags:  # missing if the entry was removed while MLflow read it
                at = int(version["creation_timestamp"]) / 1000
                entries.append(RestEntry(int(version["version"]), tags["outcome"], at))
        return entries
