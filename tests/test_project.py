"""Promises of the project's own files."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from api.settings import Settings as ApiSettings
from bentos.sentiment.settings import Settings as BentoSettings
from deploy.local.settings import Settings as LocalSettings
from tests.bentos.requirements import closure
from tests.project import variables

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


INSTALLED = ("pipelines", "bentos", "mlflow", "api", "local", "dev")  # `peers` has an environment of its own


@pytest.mark.parametrize(
    ("extra", "heavy"),
    [
        ("api", {"bentoml", "mlflow", "mlflow-skinny", "openvino", "torch", "transformers"}),
        ("bentos", {"mlflow", "pandas", "torch", "transformers"}),
    ],
)
def test_an_extra_pulls_in_nothing_heavy(extra: str, heavy: set[str]) -> None:
    assert not closure(EXTRAS[extra]) & heavy


def test_every_requirement_is_pinned_by_number_alone() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+(\.post\d+)?", line) for line in lines)
    pinned = {line.partition("==")[0].lower().replace("_", "-").replace(".", "-") for line in lines}
    named = {
        Requirement(line).name.lower().replace("_", "-") for extra in INSTALLED for line in EXTRAS[extra]
    }
    assert named <= pinned


def test_the_example_environment_lists_every_setting() -> None:
    names = variables(ApiSettings) | variables(LocalSettings) | variables(BentoSettings)
    listed = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    # uvicorn's own name; what the API reads itself is above.
    assert set(listed) == names | compose | {"FORWARDED_ALLOW_IPS"}
    assert len(listed) == len(set(listed))


def test_every_module_a_stage_imports_is_among_its_deps() -> None:
    """Else a change of it would not run the stage again."""
    stages = re.split(r"^  (\w+):$", (ROOT / "dvc.yaml").read_text(), flags=re.MULTILINE)[1:]
    for stage, text in zip(stages[::2], stages[1::2], strict=True):
        for module in imported(stage, seen=set()) | {stage}:
            assert f"- pipelines/{module}.py" in text, (stage, module)


def imported(module: str, seen: set[str]) -> set[str]:
    """Modules of pipelines that `module` imports, and those that they do."""
    source = (ROOT / "pipelines" / f"{module}.py").read_text()
    names = re.findall(r"^from pipelines\.(\w+)", source, flags=re.MULTILINE)
    for line in re.findall(r"^from pipelines import (.+)$", source, flags=re.MULTILINE):
        names += [word.split()[0] for word in line.split(",")]
    for name in names:
        if name not in seen:
            seen.add(name)
            imported(name, seen)
    return seen
