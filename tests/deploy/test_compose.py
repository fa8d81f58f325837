"""docker-compose.yml as text: what can be promised without Docker."""

import fcntl
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import Settings as ApiSettings
from bentos.sentiment.settings import Settings as BentoSettings
from deploy import env
from deploy.backup.compose import Compose
from tests.project import variables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONCE = {"migrate", "train"}
"""They run to their end and serve nobody."""

OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SECRETS = set(env.CONTAINERS)
HUB_COMMITS = re.compile(r"^(\$\{[A-Z_]+:-)?[a-z/-]+:v?[0-9][\w.-]*\}?$")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert HUB_COMMITS.match(service["image"])
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONCE))
def test_what_serves_says_whether_it_does_and_is_started_again(name: str) -> None:
    service = SERVICES[name]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_runs_once_is_not_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_waits_for_a_service_without_a_condition(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert how == {"condition": expected}


@pytest.mark.parametrize("name", OURS)
def test_an_image_of_ours_runs_as_nobody_special_and_holds_no_setting(name: str) -> None:
    dockerfile = (ROOT / OURS[name]["build"]["dockerfile"]).read_text()
    stages = re.findall(r"^FROM (\S+)", dockerfile, flags=re.MULTILINE)
    assert stages == ["${PYTHON_IMAGE}"] * 2
    assert dockerfile.startswith("#")
    assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm\n" in dockerfile
    final = dockerfile.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", final, flags=re.MULTILINE) == ["app"]
    assert "ARG" not in final, "it would be in the image's history"
    assert all(not value for name, value in re.findall(r"^ARG (PIP_\w+)(=.*)?$", dockerfile, re.MULTILINE))


def test_dependencies_come_before_code() -> None:
    """So a change of the code leaves the layer with them as it is."""
    for service in OURS.values():
        dependencies = (ROOT / service["build"]["dockerfile"]).read_text().split("pip --python")[0]
        copied = " ".join(re.findall(r"^COPY (.+) \S+$", dependencies, flags=re.MULTILINE)).split()
        assert set(copied) <= {"pyproject.toml", "constraints.txt", "bentos/sentiment/requirements.txt"}


def test_the_train_image_has_what_the_pipeline_asks_for() -> None:
    """pip gets the wheels with the data, and `dvc exp run` makes commits, which have an author."""
    dockerfile = (ROOT / OURS["train"]["build"]["dockerfile"]).read_text()
    assert "python -m venv /venv" in dockerfile
    assert all(f"git config --system user.{name} " in dockerfile for name in ("name", "email"))


def test_a_training_leaves_another_one_in_the_same_volume_alone(tmp_path: Path) -> None:
    script = (ROOT / "deploy/docker/train").read_text().replace("/workspace", str(tmp_path))
    (tmp_path / "code-of-the-other").touch()
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    refused = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    os.close(other)
    assert refused.returncode == 1
    assert "another training is under way" in refused.stderr
    assert (tmp_path / "code-of-the-other").exists()


def test_no_secret_is_written_down_and_each_is_required() -> None:
    for line in TEXT.splitlines():
        if re.search(r"PASSWORD|API_KEY:", line):
            assert re.search(r"\$\{[A-Z_]+:\?is not set\. Run make secrets\}", line), line
    assert set(re.findall(r"\$\{([A-Z_]+):\?", TEXT)) == SECRETS


def test_every_variable_is_in_the_example_environment() -> None:
    listed = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)", TEXT)) | passed_on(*SERVICES)
    assert used <= listed


def test_every_setting_reaches_the_process_that_reads_it() -> None:
    elsewhere = {"DATABASE_DIRECT_URL", "API_DATABASE_PGBOUNCER"}  # there is no pgbouncer here
    wanted = variables(ApiSettings) - elsewhere
    for name in ("api", "worker", "migrate"):
        assert wanted <= SERVICES[name]["environment"].keys()
    bento = variables(BentoSettings)
    assert bento == set(SERVICES["bento"]["environment"])
    promotion = {name for name in bento if "_PROMOTE_" in name or "_REGISTRY_" in name}
    assert promotion | {"MLFLOW_TRACKING_URI"} == set(SERVICES["train"]["environment"])


def passed_on(*names: str) -> set[str]:
    """Variables that containers get as the environment has them, or not at all."""
    environments = (SERVICES[name].get("environment", {}) for name in names)
    return {variable for found in environments for variable, value in found.items() if value is None}


def test_mlflow_takes_the_hosts_by_which_it_is_reached() -> None:
    hosts = SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for name in ("bento", "train"):
        assert SERVICES[name]["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://") in hosts
    (port,) = SERVICES["mlflow"]["ports"]
    assert port == "127.0.0.1:${MLFLOW_PORT:-5000}:5000"
    assert "127.0.0.1:${MLFLOW_PORT:-5000}" in hosts


def test_images_have_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"].rpartition(":")[2] for service in OURS.values()} == {version}


def test_only_loopback_is_published() -> None:
    assert all(port.startswith("127.0.0.1:") for one in SERVICES.values() for port in one.get("ports", []))


def test_what_the_train_image_leaves_out_git_leaves_out_too() -> None:
    """Else the commit that a run is tagged with would look changed."""
    patterns = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert ".env" in patterns
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in tracked.stdout.split("\0"):
        for pattern in patterns:
            name = pattern.removeprefix("**/")
            assert not Path(path).match(name), (path, pattern)
            assert not path.startswith(f"{name}/"), (path, pattern)


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose: apt-get install it")
def test_docker_compose_refuses_to_start_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(TEXT)
    words = ["docker-compose", "config", "--quiet"]
    bare = {"PATH": "/usr/bin:/bin"}
    refused = subprocess.run(words, cwd=tmp_path, env=bare, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "Run make secrets" in refused.stderr
    given = bare | dict.fromkeys(SECRETS, "s")
    assert subprocess.run(words, cwd=tmp_path, env=given, capture_output=True).returncode == 0


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose: apt-get install it")
def test_the_way_to_an_empty_stack_takes_the_volumes_of_every_profile() -> None:
    keeping = [service for service in SERVICES.values() if "volumes" in service]
    profiles = {profile for service in keeping for profile in service.get("profiles", [])}
    watching = {"observability"}  # what was measured stays true
    assert profiles - watching == set(re.findall(r"--profile (\w+)", Compose().way_to_empty()))
