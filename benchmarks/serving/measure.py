"""Measures one contender: start it, check that it serves the right model, load it, and stop it."""

import contextlib
import http.client
import itertools
import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import BenchmarkError
from benchmarks.processes import HOST, ROOT, ProcessTree, free_port, run_to_end
from benchmarks.resource_usage import measure_usage
from benchmarks.serving.contenders import CONTENDERS, ENGINE, Contender
from benchmarks.serving.load import Load, generate
from benchmarks.serving.setup import Setup

TEXTS_PER_SECOND = {"imdb": 300, "snippets": 1500}
"""More than any contender processes, so that no text is sent twice."""

WARM_UP_CLIENTS = 32
MIN_AGREEMENT = 0.75
"""Share of probes with the engine's label. int8 may differ on a few probes, another model differs on many."""

READY_SECONDS = 180
RESPONSE_SECONDS = 120


@dataclass(frozen=True)
class Plan:
    """What to measure. The durations are in seconds, for each number of clients and kind of texts."""

    clients: Sequence[int]
    seconds: float
    warm_up: float
    probes: Sequence[str]
    labels: Sequence[str]  # the engine's, of the probes
    texts: dict[str, list[str]]  # by kind; a contender receives each text once in a round

    def supply(self, kind: str) -> Callable[[float], list[str]]:
        """Return a function that takes the next texts, enough for a number of seconds."""
        remaining = iter(self.texts[kind])
        return lambda seconds: list(itertools.islice(remaining, round(seconds * TEXTS_PER_SECOND[kind])))


@dataclass(frozen=True)
class Measurement:
    """A contender with one number of clients and kind of texts, in one round."""

    contender: str
    kind: str
    clients: int
    round: int
    load: Load
    cpu_seconds: float
    peak_mebibytes: float
    start_seconds: float  # until the first response


def texts_needed(kind: str, clients: Sequence[int], seconds: float, warm_up: float) -> int:
    """Return the number of texts in a Plan. The engine needs two shares: single texts and batches."""
    return round((seconds * max(2, len(clients)) + warm_up) * TEXTS_PER_SECOND[kind])


def classify(contender: Contender, port: int, text: str) -> str | None:
    """Return the label of one text, or None if the request fails or the response has no label."""
    connection = http.client.HTTPConnection(HOST, port, timeout=RESPONSE_SECONDS)
    body, headers = json.dumps(contender.make_body(text)), {"Content-Type": "application/json"}
    with contextlib.closing(connection):
        try:
            connection.request("POST", contender.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            return contender.parse_label(json.loads(content)) if response.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return None


def check_model(contender: Contender, port: int, plan: Plan) -> None:
    """Raise BenchmarkError unless most of the contender's labels are the engine's."""
    labels = [classify(contender, port, probe) for probe in plan.probes]
    same = sum(label == expected for label, expected in zip(labels, plan.labels, strict=True))
    if same < MIN_AGREEMENT * len(plan.probes):
        raise BenchmarkError(f"it serves another model: {same} of {len(plan.probes)} labels are the engine's")


def drain(contender: Contender, port: int, text: str) -> None:
    """Wait until the queue is empty, by sending requests that are queued last."""
    for _ in range(2):
        classify(contender, port, text)


def measure(
    contender: Contender, setup: Setup, plan: Plan, number: int, log: Path
) -> Generator[Measurement, None, None]:
    """Yield all measurements of round `number`, and stop the contender at the end. Raises BenchmarkError."""
    port = free_port()
    launch = contender.launch(setup, port)
    url = f"http://{HOST}:{port}{contender.path}"
    with ProcessTree() as processes:
        started = time.monotonic()
        for command in launch.commands:
            processes.start(command, launch.environment, log, ROOT)
        processes.wait_until(lambda: classify(contender, port, plan.probes[0]) is not None, READY_SECONDS)
        start_seconds = time.monotonic() - started
        check_model(contender, port, plan)
        for kind in plan.texts:
            take = plan.supply(kind)
            if plan.warm_up:
                generate(url, take(plan.warm_up), contender.make_body, WARM_UP_CLIENTS, plan.warm_up)
            for clients in plan.clients:
                drain(contender, port, plan.probes[0])
                with measure_usage(processes) as usage:
                    load = generate(url, take(plan.seconds), contender.make_body, clients, plan.seconds)
                resources = (usage.cpu_seconds, usage.peak_mebibytes, start_seconds)
                yield Measurement(contender.name, kind, clients, number, load, *resources)
            drain(contender, port, plan.probes[0])


def measure_engine(setup: Setup, plan: Plan, number: int) -> Generator[Measurement, None, None]:
    """Measure the engine alone: single texts to compare with one client, batches to compare with several."""
    for kind, texts in plan.texts.items():
        file = setup.scratch / f"{kind}.json"
        file.write_text(json.dumps(texts))
        command = [sys.executable, "-m", "benchmarks.serving.offline", str(setup.serving), str(file)]
        output = run_to_end(
            [*command, str(plan.seconds)], setup.environment, seconds=READY_SECONDS + 10 * plan.seconds
        )
        found = json.loads(output)
        for clients in plan.clients:
            values = dict(found["single" if clients == 1 else "batch"])
            resources = (values.pop(name) for name in ("cpu_seconds", "peak_mebibytes", "start_seconds"))
            cpu, peak, start = resources
            yield Measurement(ENGINE, kind, clients, number, Load(**values), cpu, peak, start)


def measure_by_name(
    name: str, setup: Setup, plan: Plan, number: int, log: Path
) -> Generator[Measurement, None, None]:
    if name == ENGINE:
        return measure_engine(setup, plan, number)
    return measure(CONTENDERS[name], setup, plan, number, log)
