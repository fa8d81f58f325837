"""`observe`: Debian's Prometheus beside the stack, with the rules of deploy/prometheus, until interrupted."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from deploy.local.settings import HOST, Settings, StackError

RULES = Path("deploy/prometheus/rules.yml")


def observe(settings: Settings) -> None:
    """Become Prometheus; never returns. Raises StackError where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        raise StackError("there is no prometheus on the PATH: apt-get install prometheus")
    folder = settings.var_dir / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(configuration(settings), indent=2))  # JSON is YAML
    if not settings.worker_metrics_port:
        print("the worker is not watched: set WORKER_METRICS_PORT in .env, such as 9101, and `make up` again")
    print(f"http://{HOST}:{settings.prometheus_port}/alerts", flush=True)
    words = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    words += [f"--web.listen-address={HOST}:{settings.prometheus_port}", "--log.level=warn"]
    os.execv(program, [program, *words])  # noqa: S606


def configuration(settings: Settings) -> dict[str, Any]:
    """A prometheus.yml, with this stack in the place of the containers of the one in deploy/prometheus."""
    ports = {"api": settings.api_port, "worker": settings.worker_metrics_port, "bento": settings.bento_port}
    return {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(RULES.absolute())],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"{HOST}:{port}"]}]}
            for name, port in ports.items()
            if port
        ],
    }
