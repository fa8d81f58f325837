"""`observe`: Debian's Prometheus with the rules of deploy/prometheus, scraping the local stack."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from deploy.env import write_private
from deploy.local.settings import HOST, Settings, StackError

NODE_EXPORTER_PORT = 9100
"""Debian's prometheus-node-exporter, which need not be installed: no alert says that it is down."""

RULES = Path("deploy/prometheus/rules.yml")


def observe(settings: Settings) -> None:
    """Replace this process with Prometheus; never returns. Raises StackError if it is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        raise StackError("prometheus is not on the PATH: apt-get install prometheus")
    folder = settings.var_dir / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    write_private(file, json.dumps(configuration(settings), indent=2))  # JSON is YAML
    if not settings.worker_metrics_port:
        print("the worker exposes no metrics: set WORKER_METRICS_PORT=9101 in .env and run `make up` again")
    print(f"http://{HOST}:{settings.prometheus_port}/alerts", flush=True)
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    options += [f"--web.listen-address={HOST}:{settings.prometheus_port}", "--log.level=warn"]
    os.execv(program, [program, *options])  # noqa: S606


def configuration(settings: Settings) -> dict[str, Any]:
    """Return a prometheus.yml with the jobs of deploy/prometheus and the ports of the local stack."""
    ports = {"api": settings.api_port, "worker": settings.worker_metrics_port, "bento": settings.bento_port}
    ports["host"] = NODE_EXPORTER_PORT
    return {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(RULES.absolute())],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"{HOST}:{port}"]}]}
            | ({"authorization": {"credentials": settings.metrics_token}} if name == "api" else {})
            for name, port in ports.items()
            if port
        ],
    }
