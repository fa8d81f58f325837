"""Measurements of three rounds of the serving benchmark."""

from benchmarks.serving.load import Load
from benchmarks.serving.measure import Measurement


def measurement(
    contender: str, throughput: float, number: int = 1, clients: int = 1, successful: int = 10
) -> Measurement:
    load = Load(throughput, successful, errors=1, repeats=0, p50=0.01, p95=0.02, p99=0.03)
    return Measurement(contender, "imdb", clients, number, load, 2.0, 100.0, 5.0)


def measure_round(
    number: int, ours: float, fastapi: float, litserve: float, engine: float
) -> list[Measurement]:
    throughputs = {"ours-api": ours, "fastapi": fastapi, "litserve": litserve, "engine": engine}
    return [measurement(name, throughput, number) for name, throughput in throughputs.items()]


ROUNDS = [
    *measure_round(1, ours=60, fastapi=20, litserve=15, engine=80),
    # The machine runs at half its speed, and recovers in part in the next round.
    *measure_round(2, ours=28, fastapi=10, litserve=7, engine=40),
    *measure_round(3, ours=40, fastapi=8, litserve=10, engine=60),
]
