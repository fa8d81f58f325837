"""docker-compose.yml as a file: properties that can be checked without Docker."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from api.settings import Settings as ApiSettings
from benchmarks.processes import free_port
from bentos.sentiment.settings import Settings as BentoSettings
from deploy import env
from deploy.backup.compose import Compose
from deploy.local.services import responds
from tests.deploy.stack import wait_for
from tests.project import variables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONE_SHOT = {"migrate", "train"}
"""Services that run to completion."""

BUILT = {name: service for name, service in SERVICES.items() if "build" in service}
SECRETS = set(env.CONTAINERS)
HUB_COMMITS = re.compile(r"^(\$\{[A-Z_]+:-)?[a-z/-]+:v?[0-9][\w.-]*\}?$")


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_sandboxed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert HUB_COMMITS.match(service["image"])
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_long_running_services_have_a_health_check_and_restart(name: str) -> None:
    service = SERVICES[name]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_one_shot_services_do_not_restart(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_have_a_condition(name: str) -> None:
    for other, dependency in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert dependency == {"condition": expected}


@pytest.mark.parametrize("name", BUILT)
def test_built_images_run_unprivileged_and_contain_no_settings(name: str) -> None:
    dockerfile = (ROOT / BUILT[name]["build"]["dockerfile"]).read_text()
    stages = re.findall(r"^FROM (\S+)", dockerfile, flags=re.MULTILINE)
    assert stages == ["${PYTHON_IMAGE}"] * 2
    assert dockerfile.startswith("#")
    assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm\n" in dockerfile
    final = dockerfile.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", final, flags=re.MULTILINE) == ["app"]
    assert "ARG" not in final, "it would be recorded in the image's history"
    assert all(not value for name, value in re.findall(r"^ARG (PIP_\w+)(=.*)?$", dockerfile, re.MULTILINE))


def test_dependencies_are_installed_before_code_is_copied() -> None:
    """A code change then does not invalidate the layer with the dependencies."""
    for service in BUILT.values():
        dependencies = (ROOT / service["build"]["dockerfile"]).read_text().split("pip --python")[0]
        copied = " ".join(re.findall(r"^COPY (.+) \S+$", dependencies, flags=re.MULTILINE)).split()
        assert set(copied) <= {"pyproject.toml", "constraints.txt", "bentos/sentiment/requirements.txt"}


def test_the_train_image_has_pip_and_a_git_author() -> None:
    """The pipeline downloads wheels with pip, and `dvc exp run` creates commits, which need an author."""
    dockerfile = (ROOT / BUILT["train"]["build"]["dockerfile"]).read_text()
    assert "python -m venv /venv" in dockerfile
    assert all(f"git config --system user.{name} " in dockerfile for name in ("name", "email"))


@pytest.mark.process
def test_a_second_training_in_the_same_volume_is_rejected(tmp_path: Path) -> None:
    script = (ROOT / "deploy/docker/train").read_text().replace("/workspace", str(tmp_path))
    (tmp_path / "code-of-the-other").touch()
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    refused = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    os.close(other)
    assert refused.returncode == 1
    assert "another training is running" in refused.stderr
    assert (tmp_path / "code-of-the-other").exists()


def test_secrets_are_required_and_have_no_default() -> None:
    for line in TEXT.splitlines():
        if re.search(r"PASSWORD|API_KEY:|TOKEN:|SECRET_KEY:", line):
            assert re.search(r"\$\{[A-Z_]+:\?is not set\. Run make secrets\}", line), line
    assert set(re.findall(r"\$\{([A-Z_]+):\?", TEXT)) == SECRETS


def test_env_example_lists_every_variable() -> None:
    listed = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)", TEXT)) | inherited(*SERVICES)
    assert used <= listed


def test_every_setting_reaches_its_process() -> None:
    unused = {"DATABASE_DIRECT_URL", "API_DATABASE_PGBOUNCER"}  # the stack has no pgbouncer
    wanted = variables(ApiSettings) - unused
    for name in ("api", "worker", "migrate"):
        assert wanted <= SERVICES[name]["environment"].keys()
    bento = variables(BentoSettings)
    login = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert bento | login == set(SERVICES["bento"]["environment"])
    promotion = {name for name in bento if "_PROMOTE_" in name or "_REGISTRY_" in name}
    assert promotion | login | {"MLFLOW_TRACKING_URI"} == set(SERVICES["train"]["environment"])


def inherited(*names: str) -> set[str]:
    """Variables that containers inherit from the environment or .env, if set."""
    environments = (SERVICES[name].get("environment", {}) for name in names)
    return {variable for found in environments for variable, value in found.items() if value is None}


def test_mlflow_allows_the_host_names_of_its_clients() -> None:
    hosts = SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for name in ("bento", "train"):
        assert SERVICES[name]["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://") in hosts
    (port,) = SERVICES["mlflow"]["ports"]
    assert port == "127.0.0.1:${MLFLOW_PORT:-5000}:5000"
    assert "127.0.0.1:${MLFLOW_PORT:-5000}" in hosts


@pytest.mark.process
@pytest.mark.skipif(not find_spec("flask_wtf"), reason="needs Flask-WTF: make install")
def test_mlflow_requires_the_password(tmp_path: Path) -> None:
    """The command and the accounts of the image, with another port and other folders."""
    command = (ROOT / "deploy/docker/mlflow.Dockerfile").read_text().partition("CMD ")[2]
    accounts = (ROOT / "deploy/docker/mlflow-auth.ini").read_text().replace("/tmp", str(tmp_path))  # noqa: S108
    (tmp_path / "auth.ini").write_text(accounts)
    port = free_port()
    changed = {"0.0.0.0": "127.0.0.1", "5000": str(port), "/var/lib/mlflow": str(tmp_path / "artifacts")}  # noqa: S104
    words = [changed.get(w, w) for w in json.loads(command.partition("]")[0].replace("\\\n", "") + "]")]
    environment = os.environ | {
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": "a long password",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "s",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", *words], env=environment, cwd=tmp_path) as process:
        try:
            wait_for(lambda: responds(f"{url}/health"))
            for path in ("registered-models/search", "experiments/search?max_results=1"):
                answers = [
                    httpx.get(f"{url}/api/2.0/mlflow/{path}", auth=auth).status_code
                    for auth in (None, ("admin", "wrong password"), ("admin", "a long password"))
                ]
                assert answers == [401, 401, 200]
            alias = {"name": "sentiment", "alias": "champion", "version": "1"}
            refused = httpx.post(f"{url}/api/2.0/mlflow/registered-models/alias", json=alias)
            assert refused.status_code == 401
        finally:
            process.terminate()


def test_image_tags_match_the_project_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"].rpartition(":")[2] for service in BUILT.values()} == {version}


def test_ports_are_published_on_loopback_only() -> None:
    assert all(port.startswith("127.0.0.1:") for one in SERVICES.values() for port in one.get("ports", []))


@pytest.mark.process
def test_dockerignore_excludes_no_tracked_file() -> None:
    """Otherwise the checkout in the train image would look modified and its runs would be tagged dirty.

    Only results/ does not count: the stages write it.
    """
    patterns = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert ".env" in patterns
    listed = ["git", "ls-files", "-z", "--", ":!results"]
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
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
def test_the_command_to_empty_the_stack_includes_every_profile_with_volumes() -> None:
    with_volumes = [service for service in SERVICES.values() if "volumes" in service]
    profiles = {profile for service in with_volumes for profile in service.get("profiles", [])}
    kept = {"observability"}  # its metrics stay valid
    assert profiles - kept == set(re.findall(r"--profile (\w+)", Compose().empty_command()))
