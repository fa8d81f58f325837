"""The result of a command, as text or as one JSON object."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from bentos.sentiment.promotion.aliases import ALIASES, Versions
from bentos.sentiment.promotion.evaluated_version import accuracy
from bentos.sentiment.promotion.history import Entry
from bentos.sentiment.promotion.verdict import Verdict

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

Cells = Sequence[str]


@dataclass(frozen=True, slots=True)
class Report:
    """`lines` are printed to stdout, `errors` to stderr; `found` are further keys of --json."""

    outcome: str
    exit_code: int = 0
    lines: Sequence[str] = ()
    errors: Sequence[str] = ()
    found: Mapping[str, object] = field(default_factory=dict)

    def show(self, as_json: bool) -> None:
        if as_json:
            base = {"outcome": self.outcome, "exit_code": self.exit_code, "errors": list(self.errors)}
            print(json.dumps(base | dict(self.found), ensure_ascii=False))
            return
        for line in self.lines:
            print(line)
        for error in self.errors:
            print(f"promote: {error}", file=sys.stderr)


def gates_json(verdicts: Sequence[Verdict], forced: bool) -> dict[str, object]:
    stopped = [one.gate for one in verdicts if one.stops]
    return {"gates": [asdict(one) for one in verdicts], "forced": stopped if forced else []}


def refusal(verdict: Verdict) -> str:
    """Format a refusal in one line: gate, figures, and how to pass."""
    return f"{verdict.gate}: {verdict.says}. To lift it: {verdict.lifts}"


def gates_table(verdicts: Sequence[Verdict]) -> list[str]:
    return table(["gate", "verdict", "why"], [[one.gate, one.outcome, one.says] for one in verdicts])


def aliases_json(versions: Versions) -> dict[str, object]:
    return {
        alias: {"version": str(version.version), "accuracy": accuracy(version)}
        for alias, version in versions.items()
    }


def aliases_table(versions: Versions) -> list[str]:
    return table(["alias", "version"], [[alias, shown(versions.get(alias))] for alias in ALIASES])


def change_table(before: Versions, after: Versions) -> list[str]:
    rows = [[alias, shown(before.get(alias)), shown(after.get(alias))] for alias in ALIASES]
    return table(["alias", "before", "after"], rows)


def shown(version: "ModelVersion | None") -> str:
    if version is None:
        return "-"
    value = accuracy(version)
    return f"{version.version} (accuracy {'unknown' if value is None else f'{value:.4f}'})"


def history_table(entries: Sequence[Entry]) -> list[str]:
    return table(["when", "who", "what", "from", "to", "gates", "why"], [row(one) for one in entries])


def row(one: Entry) -> Cells:
    stopped = ", ".join(str(gate["gate"]) for gate in one.gates)
    gates = f"overridden: {stopped}" if one.forced else stopped
    when = f"{one.at:%Y-%m-%d %H:%M:%S}Z"
    return [when, one.by, one.outcome, one.before or "-", one.after, gates or "-", one.reason or "-"]


def table(header: Cells, rows: Sequence[Cells]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (header, *rows)
    ]
