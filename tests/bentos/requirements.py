"""Regenerate bentos/sentiment/requirements.txt: python -m tests.bentos.requirements."""

import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "bentos" / "sentiment" / "requirements.txt"
HEADER = "# The extra `bentos` of pyproject.toml and all it needs, at the versions of constraints.txt.\n"


def text() -> str:
    """Return the expected content: every distribution that the extra needs on Linux, pinned."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["bentos"]
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if "==" in line:
            pins[canonicalize_name(line.partition("==")[0])] = line
    return HEADER + "".join(f"{pins[name]}\n" for name in sorted(closure(extra)))


def closure(requirements: list[str]) -> set[NormalizedName]:
    """Return the names of the requirements and of their dependencies, as installed here."""
    seen: set[tuple[NormalizedName, str]] = set()
    waiting = [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, parent_extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": parent_extra}):
            continue
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key not in seen:
                seen.add(key)
                waiting += [(Requirement(line), extra) for line in requires(requirement.name) or []]
    return {name for name, _ in seen}


if __name__ == "__main__":
    REQUIREMENTS.write_text(text())
