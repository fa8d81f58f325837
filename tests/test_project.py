"""Promises of the project's own files."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
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


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
WITHOUT_EFFECT_ON_WEIGHTS = {"pretrain": "masked_lm", "train": "fine_tuning"}
"""Training stages: outside of this folder of theirs nothing may decide what is learnt."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_package_it_imports(stage: str) -> None:
    """Else a change there would not run the stage again."""
    entry = WITHOUT_EFFECT_ON_WEIGHTS.get(stage)
    folder = f"{stage}/{entry}" if entry else stage
    imported = packages(folder) - {"core"} - ({"lineage"} if stage != "register" else set())
    deps = {dep.removeprefix("pipelines/") for dep in STAGES[stage]["deps"] if dep.startswith("pipelines/")}
    assert deps == imported | {folder}


@pytest.mark.parametrize(("stage", "entry"), WITHOUT_EFFECT_ON_WEIGHTS.items())
def test_a_checkpoint_is_found_by_the_code_that_dvc_tracks(stage: str, entry: str) -> None:
    code = f"CODE = (modeling, {entry})"
    assert code in (ROOT / "pipelines" / stage / "__main__.py").read_text()
    assert {"pipelines/modeling", f"pipelines/{stage}/{entry}"} < set(STAGES[stage]["deps"])


def packages(folder: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """Other packages of pipelines that the modules in a folder import, directly or through one another."""
    source = "\n".join(path.read_text() for path in (ROOT / "pipelines" / folder).rglob("*.py"))
    direct = set(re.findall(r"^from pipelines\.(\w+)", source, flags=re.MULTILINE))
    direct -= {folder.partition("/")[0], *seen}
    return direct.union(*(packages(name, seen | direct | {folder}) for name in direct))
