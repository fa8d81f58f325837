"""Runs all contenders in several rounds, since the speed of a machine changes within an hour."""

import contextlib
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.command import BenchmarkError, print_progress
from benchmarks.processes import run_to_end
from benchmarks.serving.contenders import CONTENDERS, ENGINE, TITLES
from benchmarks.serving.measure import Measurement, Plan, measure_by_name, texts_needed
from benchmarks.serving.setup import Setup
from benchmarks.serving.texts import unique_texts

PROBES = 16


@dataclass
class Record:
    """All measurements, and for each contender that failed the reason."""

    measurements: list[Measurement] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def add_failure(self, name: str, reason: str) -> None:
        self.failures[name] = reason
        print_progress(f"{TITLES[name]} is omitted: {reason}")


def make_plan(
    setup: Setup, texts: dict[str, list[str]], clients: Sequence[int], seconds: float, warm_up: float
) -> Plan:
    """Create the registry, and classify the probes with the engine. Raises BenchmarkError."""
    streams = {kind: unique_texts(own) for kind, own in texts.items()}
    probes = list(itertools.islice(next(iter(streams.values())), PROBES))
    (setup.scratch / "probes.json").write_text(json.dumps(probes))
    print_progress("registering the exported model as champion of a temporary registry")
    words = [str(setup.export), str(setup.scratch), str(setup.max_tokens)]
    run_to_end([sys.executable, "-m", "benchmarks.serving.champion", *words], setup.environment)
    return Plan(
        clients=clients,
        seconds=seconds,
        warm_up=warm_up,
        probes=probes,
        labels=json.loads((setup.scratch / "labels.json").read_text()),
        texts={
            kind: list(itertools.islice(stream, texts_needed(kind, clients, seconds, warm_up)))
            for kind, stream in streams.items()
        },
    )


def prepare(names: Sequence[str], setup: Setup, record: Record) -> None:
    """Do what contenders need once, such as a conversion of the model."""
    for name in names:
        contender = CONTENDERS.get(name)
        if contender is None or contender.prepare is None:
            continue
        print_progress(f"preparing {contender.title}")
        launch = contender.prepare(setup)
        try:
            for command in launch.commands:
                run_to_end(command, launch.environment)
        except BenchmarkError as error:
            record.add_failure(name, str(error))


def run_all(names: Sequence[str], setup: Setup, plan: Plan, rounds: int, logs: Path) -> Record:
    """Run all rounds. A contender that fails is reported and omitted from the following rounds."""
    record = Record()
    prepare(names, setup, record)
    for number in range(1, rounds + 1):
        # Every second round is in reverse, so that a contender does not always follow the same one, which may
        # leave the processor hot.
        for name in names if number % 2 else reversed(names):
            if name in record.failures:
                continue
            print_progress(f"round {number} of {rounds}: {TITLES[name]}")
            try:
                # Closing the generator stops the servers, also on an interruption.
                with contextlib.closing(
                    measure_by_name(name, setup, plan, number, logs / f"{name}.log")
                ) as measurements:
                    for measurement in measurements:
                        record.measurements.append(measurement)
                        print_progress(describe(measurement))
            except BenchmarkError as error:
                record.add_failure(name, str(error))
    return record


def describe(measurement: Measurement) -> str:
    load = measurement.load
    line = (
        f"  {measurement.kind:8} {measurement.clients:4} clients {load.throughput:7.1f}/s"
        f"  p50 {load.p50 * 1000:7.1f} ms  p99 {load.p99 * 1000:7.1f} ms"
    )
    if load.errors:
        line += f"  {load.errors} ERRORS"
    return line + (f"  {load.repeats} repeated texts" if load.repeats else "")


def estimated_seconds(names: Sequence[str], plan: Plan, rounds: int) -> float:
    """Estimate the duration of a run, with 20 seconds for each start and 3 around each measurement."""
    servers = sum(name != ENGINE for name in names)
    server = 20 + len(plan.texts) * (plan.warm_up + len(plan.clients) * (plan.seconds + 3))
    engine = len(plan.texts) * 2 * (plan.seconds + 3)
    return rounds * (servers * server + (len(names) - servers) * engine)
