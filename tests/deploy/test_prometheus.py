"""The rules and the dashboard by themselves; tests/e2e asks running processes for what is in them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.local.observe import configuration, observe
from deploy.local.settings import Settings, StackError
from tests.deploy.queries import ROOT, RULES, panels, queries, rules, series

OPERATIONS = ROOT / "docs" / "how-to" / "operations.md"
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool: apt-get install prometheus"
)


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_the_configuration_and_the_rules_in_order() -> None:
    promtool("check", "config", str(RULES.with_name("prometheus.yml")))
    promtool("check", "rules", str(RULES))


@needs_promtool
def test_the_alerts_come_when_they_should() -> None:
    promtool("test", "rules", str(RULES.with_name("rules.test.yml")))


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load(RULES.with_name("rules.test.yml").read_text())["tests"]
    asked = [one for test in tests for one in test.get("alert_rule_test", ())]
    for name in {rule["alert"] for rule in rules() if "alert" in rule}:
        expected = [bool(one["exp_alerts"]) for one in asked if one["alertname"] == name]
        assert {True, False} == set(expected), name


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket", "info")
            assert re.fullmatch(r"docs/how-to/operations\.md#[a-z-]+", rule["annotations"]["runbook"])


def test_the_runbook_has_what_alerts_point_to() -> None:
    headings = re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    for rule in rules():
        if "alert" in rule:
            assert rule["annotations"]["runbook"].partition("#")[2] in anchors


def test_the_names_in_a_query_are_found() -> None:
    query = 'sum by (route) (rate(a_total{b="c"}[5m])) / on (x) 0.001 * d:e:rate5m and up == 1 or absent(f)'
    assert series(query) == {"a_total", "d:e:rate5m", "up", "f"}
    assert len(set().union(*map(series, queries()))) > 20


def test_every_recorded_figure_is_made_before_it_is_asked_for() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for query in queries() for name in series(query) if ":" in name}
    assert asked <= recorded
    assert all(panel["targets"] and panel["title"] for panel in panels())


def test_the_local_stack_is_asked_at_its_own_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(_env_file=None, api_port=1, bento_port=2, worker_metrics_port=3)
    found = configuration(settings)
    containers = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in found["scrape_configs"]}
    assert jobs == {"api": ["127.0.0.1:1"], "worker": ["127.0.0.1:3"], "bento": ["127.0.0.1:2"]}
    assert jobs.keys() == {job["job_name"] for job in containers["scrape_configs"]}
    assert found["rule_files"] == [str(tmp_path / "deploy/prometheus/rules.yml")]


def test_without_prometheus_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="apt-get install prometheus"):
        observe(Settings(_env_file=None, var_dir=tmp_path))
