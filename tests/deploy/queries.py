"""The queries of the Prometheus rules and the Grafana dashboard, and the metric names in them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
OPERATIONS = ROOT / "docs" / "how-to" / "operations.md"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "movie-reviews.json"
HOST_METRIC = re.compile("node_|backup_")
"""The metrics of the node exporter, which is not part of the local stack."""
KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries() -> Iterator[str]:
    """Yield every query of the rules and the dashboard."""
    for rule in rules():
        yield rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def metric_names(query: str) -> set[str]:
    """Strip labels, ranges, numbers and functions from a query; return the remaining names."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|without|on|ignoring) *\([^)]*\)", " ", query)
    names = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\w|:| *\()", bare)
    return set(names) - KEYWORDS
