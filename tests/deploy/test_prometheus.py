"""The Prometheus rules and the dashboard as files. tests/e2e compares them with running processes."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import free_port
from deploy.backup.keeping import write_metrics
from deploy.local.observe import configuration, observe
from deploy.local.services import responds
from deploy.local.settings import Settings, StackError
from tests.deploy.queries import (
    HOST_METRIC,
    OPERATIONS,
    ROOT,
    RULES,
    metric_names,
    panels,
    queries,
    rules,
)
from tests.deploy.stack import wait_for

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool: apt-get install prometheus"
)


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
@needs_promtool
def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    # Not the whole check, which looks for the file with the token.
    promtool("check", "config", "--syntax-only", str(RULES.with_name("prometheus.yml")))
    promtool("check", "rules", str(RULES))


@pytest.mark.process
@needs_promtool
def test_the_rules_pass_their_promtool_tests() -> None:
    promtool("test", "rules", str(RULES.with_name("rules.test.yml")))


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    tests = yaml.safe_load(RULES.with_name("rules.test.yml").read_text())["tests"]
    alert_tests = [one for test in tests for one in test.get("alert_rule_test", ())]
    for name in {rule["alert"] for rule in rules() if "alert" in rule}:
        expected = [bool(one["exp_alerts"]) for one in alert_tests if one["alertname"] == name]
        assert {True, False} == set(expected), name


def test_every_alert_has_a_severity_and_a_runbook() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket", "info")
            page, _, heading = rule["annotations"]["runbook"].partition("#")
            assert page == OPERATIONS.relative_to(ROOT).as_posix()
            assert re.fullmatch("[a-z-]+", heading)


def test_every_runbook_link_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    for rule in rules():
        if "alert" in rule:
            assert rule["annotations"]["runbook"].partition("#")[2] in anchors


def test_metric_names_are_extracted_from_a_query() -> None:
    query = 'sum by (route) (rate(a_total{b="c"}[5m])) / on (x) 0.001 * d:e:rate5m and up == 1 or absent(f)'
    assert metric_names(query) == {"a_total", "d:e:rate5m", "up", "f"}
    assert len(set().union(*map(metric_names, queries()))) > 20


def test_every_queried_recording_rule_exists() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    queried = {name for query in queries() for name in metric_names(query) if ":" in name}
    assert queried <= recorded
    assert all(panel["targets"] and panel["title"] for panel in panels())


def test_the_local_configuration_uses_the_ports_of_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(_env_file=None, api_port=1, bento_port=2, worker_metrics_port=3, metrics_token="t")
    local = configuration(settings)
    containers = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in local["scrape_configs"]}
    assert jobs == {
        "api": ["127.0.0.1:1"],
        "worker": ["127.0.0.1:3"],
        "bento": ["127.0.0.1:2"],
        "host": ["127.0.0.1:9100"],
    }
    credentials = {job["job_name"]: job.get("authorization") for job in local["scrape_configs"]}
    assert credentials == {"api": {"credentials": "t"}, "worker": None, "bento": None, "host": None}
    assert jobs.keys() == {job["job_name"] for job in containers["scrape_configs"]}
    assert local["rule_files"] == [str(tmp_path / "deploy/prometheus/rules.yml")]


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("prometheus-node-exporter"), reason="needs prometheus-node-exporter")
def test_the_node_exporter_exposes_disk_and_backup(tmp_path: Path) -> None:
    """With the options of docker-compose.yml."""
    (tmp_path / "20261128T031500Z").mkdir()
    (tmp_path / "20261128T031500Z" / "reviews.dump").write_bytes(b"123")
    write_metrics(tmp_path / "backup.prom", tmp_path / "20261128T031500Z")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    options = [word.replace("/textfile", str(tmp_path)) for word in services["node-exporter"]["command"]]
    port = free_port()
    words = ["prometheus-node-exporter", *options, f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: responds(f"http://127.0.0.1:{port}/metrics"))
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        finally:
            process.terminate()
    names = {sample.name for one in text_string_to_metric_families(text) for sample in one.samples}
    assert {name for query in queries() for name in metric_names(query) if HOST_METRIC.match(name)} <= names
    assert "\nbackup_size_bytes 3\n" in text


def test_observe_without_prometheus_explains_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="apt-get install prometheus"):
        observe(Settings(_env_file=None, var_dir=tmp_path))
