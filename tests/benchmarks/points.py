"""Points as a run would have measured them."""

from benchmarks.serving.load import Load
from benchmarks.serving.measure import Point


def point(contender: str, throughput: float, number: int = 1, clients: int = 1, answers: int = 10) -> Point:
    load = Load(throughput, answers, errors=1, repeats=0, p50=0.01, p95=0.02, p99=0.03)
    return Point(contender, "imdb", clients, number, load, 2.0, 100.0, 5.0)


ROUNDS = [
    # The machine slows down to half in round 2 and recovers in part.
    *(point("ours-api", 60, 1), point("fastapi", 20, 1), point("litserve", 15, 1), point("engine", 80, 1)),
    *(point("ours-api", 28, 2), point("fastapi", 10, 2), point("litserve", 7, 2), point("engine", 40, 2)),
    *(point("ours-api", 40, 3), point("fastapi", 8, 3), point("litserve", 10, 3), point("engine", 60, 3)),
]
