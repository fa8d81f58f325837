"""One contender, once: start it, see that it serves our model, load it, end it."""

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.catalogue import CONTENDERS, ENGINE, Contender
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.load import Load, generate
from benchmarks.serving.place import ROOT, Place
from benchmarks.serving.processes import HOST, Family, free_port, new_mark, wait_until
from benchmarks.serving.weight import weigh

TEXTS_A_SECOND = {"imdb": 300, "snippets": 1500}
"""More than any contender answers, so that no text has to be sent twice."""

WARM_UP_CLIENTS = 32
AGREEMENT = 0.75
"""Share of the probes whose label must be the engine's: int8 may differ on a few, another model on many."""

READY_SECONDS = 180
ANSWER_SECONDS = 120


@dataclass(frozen=True)
class Plan:
    """What to measure. Durations in seconds, each for one number of clients on one kind of texts."""

    clients: Sequence[int]
    seconds: float
    warm_up: float
    probes: Sequence[str]
    labels: Sequence[str]  # what the engine makes of the probes
    texts: dict[str, list[str]]  # by kind; every start of a contender gets each text once

    def supply(self, kind: str) -> Callable[[float], list[str]]:
        """Hands out the next texts, enough for so many seconds."""
        left = iter(self.texts[kind])
        return lambda seconds: list(itertools.islice(left, round(seconds * TEXTS_A_SECOND[kind])))


@dataclass(frozen=True)
class Point:
    """One measurement. `start_seconds` is from nothing to the first answer."""

    contender: str
    kind: str
    clients: int
    round: int
    load: Load
    cpu_seconds: float
    peak_mebibytes: float
    start_seconds: float


def wanted(kind: str, clients: Sequence[int], seconds: float, warm_up: float) -> int:
    """Texts of a kind that a Plan needs. The engine takes them twice: one at a time, and many at once."""
    return round((seconds * max(2, len(clients)) + warm_up) * TEXTS_A_SECOND[kind])


def ask(contender: Contender, port: int, text: str) -> str | None:
    """The label of one text; None when the answer is an error, or not one that the contender gives."""
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    body, headers = json.dumps(contender.body(text)), {"Content-Type": "application/json"}
    with contextlib.closing(connection):
        try:
            connection.request("POST", contender.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            return contender.label(json.loads(answer)) if response.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return None


def check_model(contender: Contender, port: int, plan: Plan) -> None:
    """Raises BenchmarkError unless the contender's labels are the engine's."""
    same = sum(
        ask(contender, port, text) == label for text, label in zip(plan.probes, plan.labels, strict=True)
    )
    if same < AGREEMENT * len(plan.probes):
        raise BenchmarkError(f"it serves another model: {same} of {len(plan.probes)} labels are the engine's")


def drain(contender: Contender, port: int, text: str) -> None:
    """Wait until what the last clients left in the queue is done: a request joins at its end."""
    for _ in range(2):
        ask(contender, port, text)


def measure(
    contender: Contender, place: Place, plan: Plan, number: int, log: Path
) -> Generator[Point, None, None]:
    """Every point of one start, in round `number`. Raises BenchmarkError; leaves no process."""
    port = free_port()
    start = contender.start(place, port)
    url = f"http://{HOST}:{port}{contender.path}"
    with Family(new_mark()) as family:
        began = time.monotonic()
        for command in start.commands:
            family.start(command, start.environment, log, ROOT)
        wait_until(lambda: ask(contender, port, plan.probes[0]) is not None, family, READY_SECONDS)
        started = time.monotonic() - began
        check_model(contender, port, plan)
        for kind in plan.texts:
            take = plan.supply(kind)
            if plan.warm_up:
                generate(url, take(plan.warm_up), contender.body, WARM_UP_CLIENTS, plan.warm_up)
            for clients in plan.clients:
                drain(contender, port, plan.probes[0])
                with weigh(family) as weight:
                    load = generate(url, take(plan.seconds), contender.body, clients, plan.seconds)
                figures = (load, weight.cpu_seconds, weight.peak_mebibytes, started)
                yield Point(contender.name, kind, clients, number, *figures)
            drain(contender, port, plan.probes[0])


def measure_engine(place: Place, plan: Plan, number: int) -> Generator[Point, None, None]:
    """The bare engine: one text at a time beside one client, many at once beside more."""
    for kind, texts in plan.texts.items():
        file = place.scratch / f"{kind}.json"
        file.write_text(json.dumps(texts))
        command = [sys.executable, "-m", "benchmarks.serving.offline", str(place.serving), str(file)]
        done = subprocess.run(
            [*command, str(plan.seconds)],
            cwd=ROOT,
            env=place.environment,
            capture_output=True,
            text=True,
            timeout=READY_SECONDS + 10 * plan.seconds,
        )
        if done.returncode:
            raise BenchmarkError(f"the engine failed: {done.stderr.strip().splitlines()[-1:]}")
        found = json.loads(done.stdout)
        for clients in plan.clients:
            figures = dict(found["lone" if clients == 1 else "bulk"])
            cpu, peak, start = (
                figures.pop(name) for name in ("cpu_seconds", "peak_mebibytes", "start_seconds")
            )
            yield Point(ENGINE, kind, clients, number, Load(**figures), cpu, peak, start)


def points(name: str, place: Place, plan: Plan, number: int, log: Path) -> Generator[Point, None, None]:
    if name == ENGINE:
        return measure_engine(place, plan, number)
    return measure(CONTENDERS[name], place, plan, number, log)
