"""The rounds: each contender in turn, several times, because the machine drifts within the hour."""

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import texts
from benchmarks.serving.catalogue import CONTENDERS, ENGINE, TITLES
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.measure import Plan, Point, points, wanted
from benchmarks.serving.place import ROOT, Place

PROBES = 16
TAIL = 5


@dataclass
class Record:
    """Every point, and why a contender has none or not all of them."""

    points: list[Point] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def make_plan(
    place: Place, kinds: dict[str, list[str]], clients: Sequence[int], seconds: float, warm_up: float
) -> Plan:
    """Make the registry, and hear the engine's labels of the probes: seconds. Raises BenchmarkError."""
    streams = {kind: texts.endless(found) for kind, found in kinds.items()}
    probes = list(itertools.islice(next(iter(streams.values())), PROBES))
    (place.scratch / "probes.json").write_text(json.dumps(probes))
    say("making a registry with the exported model as its champion")
    words = [str(place.export), str(place.scratch), str(place.max_tokens)]
    finish([sys.executable, "-m", "benchmarks.serving.champion", *words], place.environment)
    return Plan(
        clients=clients,
        seconds=seconds,
        warm_up=warm_up,
        probes=probes,
        labels=json.loads((place.scratch / "labels.json").read_text()),
        texts={
            kind: list(itertools.islice(stream, wanted(kind, clients, seconds, warm_up)))
            for kind, stream in streams.items()
        },
    )


def finish(command: list[str], environment: dict[str, str]) -> None:
    """Run a command to its end. Raises BenchmarkError with the end of what it printed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command[1:3])} failed:\n{tail(done.stdout)}")


def tail(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines()[-TAIL:])


def prepare(names: Sequence[str], place: Place, record: Record) -> None:
    """What some contenders need once, such as the model in a form of their own."""
    for name in names:
        contender = CONTENDERS.get(name)
        if contender is None or contender.prepare is None:
            continue
        say(f"preparing {contender.title}")
        start = contender.prepare(place)
        try:
            for command in start.commands:
                finish(command, start.environment)
        except (BenchmarkError, subprocess.TimeoutExpired) as error:
            fail(record, name, str(error))


def run(names: Sequence[str], place: Place, plan: Plan, rounds: int, logs: Path) -> Record:
    """All rounds. A contender that fails is reported and left out from then on; the others go on."""
    record = Record()
    prepare(names, place, record)
    for number in range(1, rounds + 1):
        # Backwards every second time: who always came after the hungriest would pay for the warm processor.
        for name in names if number % 2 else reversed(names):
            if name in record.failures:
                continue
            say(f"round {number} of {rounds}: {TITLES[name]}")
            log = logs / f"{name}.log"
            try:
                # Closed at once when interrupted: that is what ends the servers.
                with contextlib.closing(points(name, place, plan, number, log)) as found:
                    for point in found:
                        record.points.append(point)
                        say(describe(point))
            except (BenchmarkError, subprocess.TimeoutExpired) as error:
                fail(record, name, f"{error}\n{log_tail(log)}".strip())
    return record


def fail(record: Record, name: str, reason: str) -> None:
    record.failures[name] = reason
    say(f"{TITLES[name]} is left out: {reason}")


def log_tail(log: Path) -> str:
    return tail(log.read_text(errors="replace")) if log.exists() else ""


def describe(point: Point) -> str:
    load = point.load
    line = (
        f"  {point.kind:8} {point.clients:4} clients {load.throughput:7.1f}/s"
        f"  p50 {load.p50 * 1000:7.1f} ms  p99 {load.p99 * 1000:7.1f} ms"
    )
    if load.errors:
        line += f"  {load.errors} ERRORS"
    return line + (f"  {load.repeats} texts sent twice" if load.repeats else "")


def duration(names: Sequence[str], plan: Plan, rounds: int) -> float:
    """About how many seconds a run takes, with 20 for a start and 3 around each point."""
    servers = sum(name != ENGINE for name in names)
    each = 20 + len(plan.texts) * (plan.warm_up + len(plan.clients) * (plan.seconds + 3))
    return rounds * (servers * each + (len(names) - servers) * len(plan.texts) * 2 * (plan.seconds + 3))
