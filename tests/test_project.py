"""Consistency of pyproject.toml, constraints.txt, .env.example and dvc.yaml with the code."""

import re
import subprocess
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
INSTALLED = ("pipelines", "bentos", "mlflow", "api", "local", "dev")  # `peers` has a separate environment


@pytest.mark.parametrize(
    ("extra", "heavy"),
    [
        ("api", {"bentoml", "mlflow", "mlflow-skinny", "openvino", "torch", "transformers"}),
        ("bentos", {"mlflow", "pandas", "torch", "transformers"}),
    ],
)
def test_an_extra_installs_nothing_heavy(extra: str, heavy: set[str]) -> None:
    assert not closure(EXTRAS[extra]) & heavy


def test_every_requirement_is_pinned_to_a_version() -> None:
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
    # uvicorn reads FORWARDED_ALLOW_IPS itself.
    assert set(listed) == names | compose | {"FORWARDED_ALLOW_IPS"}
    assert len(listed) == len(set(listed))


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
IN_GIT = [
    name
    for stage in STAGES.values()
    for kind in ("outs", "metrics", "plots")
    for output in stage.get(kind, [])
    if isinstance(output, dict)
    for name, options in output.items()
    if options.get("cache") is False
]
TRAINING_FOLDERS = {"pretrain": "masked_lm", "train": "fine_tuning"}
"""The folder of each training stage that computes the weights. Its other code must not affect them."""


@pytest.mark.process
@pytest.mark.parametrize("name", IN_GIT)
def test_git_takes_the_results_that_dvc_does_not_cache(name: str) -> None:
    """Otherwise a fresh clone lacks them after `dvc pull`, and `dvc repro` runs the stage again."""
    assert subprocess.run(["git", "check-ignore", "--no-index", "--quiet", name], cwd=ROOT).returncode == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_package_it_imports(stage: str) -> None:
    """Otherwise `dvc repro` would not rerun the stage after a change to that package."""
    training_folder = TRAINING_FOLDERS.get(stage)
    folder = f"{stage}/{training_folder}" if training_folder else stage
    imported = packages(folder) - {"core"} - ({"lineage"} if stage != "register" else set())
    deps = {dep.removeprefix("pipelines/") for dep in STAGES[stage]["deps"] if dep.startswith("pipelines/")}
    assert deps == imported | {folder}


@pytest.mark.parametrize(("stage", "folder"), TRAINING_FOLDERS.items())
def test_checkpoints_depend_on_the_code_that_dvc_tracks(stage: str, folder: str) -> None:
    """A training resumes only from checkpoints of the same code."""
    source = (ROOT / "pipelines" / stage / "__main__.py").read_text()
    (code,) = re.findall(r"^CODE = \((.*)\)$", source, flags=re.MULTILINE)
    own = f"{stage}/{folder}"
    tracked = {dep for dep in STAGES[stage]["deps"] if dep.startswith("pipelines/")}
    assert {f"pipelines/{own if name == folder else name}" for name in code.split(", ")} == tracked


def packages(folder: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """Return the other packages of pipelines that the modules in a folder import, directly or indirectly."""
    source = "\n".join(path.read_text() for path in (ROOT / "pipelines" / folder).rglob("*.py"))
    direct = set(re.findall(r"^from pipelines\.(\w+)", source, flags=re.MULTILINE))
    direct -= {folder.partition("/")[0], *seen}
    return direct.union(*(packages(name, seen | direct | {folder}) for name in direct))
