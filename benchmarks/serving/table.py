"""The points as a table: medians over the rounds, and ratios within each round."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.serving.catalogue import CONTENDERS, ENGINE, TITLES
from benchmarks.serving.measure import Point

NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """One contender with so many clients on one kind of texts: medians over the rounds.

    The ratios compare throughputs of the same round, since only those were measured under like conditions.
    The engine's latency is of one text beside one client, else of a call with many, and so not comparable.
    """

    kind: str
    clients: int
    contender: str
    rounds: int
    throughput: float  # a second
    p50: float  # seconds
    p95: float
    p99: float
    errors: int  # of all rounds
    repeats: int  # of all rounds
    cpu_milliseconds: float  # of all its processes, an answer
    cpu_seconds: float  # of all its processes, a point
    peak_mebibytes: float
    start_seconds: float
    to_best_peer: float  # NaN without peers
    to_engine: float  # NaN without the engine


def rows(points: Sequence[Point]) -> list[Row]:
    """In the order of the points: by kind, then clients, then contender."""
    groups: dict[tuple[str, int, str], list[Point]] = {}
    for kind in dict.fromkeys(point.kind for point in points):
        for clients in sorted({point.clients for point in points}):
            for name in dict.fromkeys(point.contender for point in points):
                group = [p for p in points if (p.kind, p.clients, p.contender) == (kind, clients, name)]
                if group:
                    groups[kind, clients, name] = group
    return [row(group, points) for group in groups.values()]


def row(group: Sequence[Point], points: Sequence[Point]) -> Row:
    def middle(value: Callable[[Point], float]) -> float:
        return middle_of(value(point) for point in group)

    return Row(
        kind=group[0].kind,
        clients=group[0].clients,
        contender=group[0].contender,
        rounds=len(group),
        throughput=middle(lambda point: point.load.throughput),
        p50=middle(lambda point: point.load.p50),
        p95=middle(lambda point: point.load.p95),
        p99=middle(lambda point: point.load.p99),
        errors=sum(point.load.errors for point in group),
        repeats=sum(point.load.repeats for point in group),
        cpu_milliseconds=middle(
            lambda point: point.cpu_seconds * 1000 / point.load.answers if point.load.answers else NAN
        ),
        cpu_seconds=middle(lambda point: point.cpu_seconds),
        peak_mebibytes=middle(lambda point: point.peak_mebibytes),
        start_seconds=middle(lambda point: point.start_seconds),
        to_best_peer=middle(lambda point: ratio(point, points, is_peer)),
        to_engine=middle(lambda point: ratio(point, points, lambda name: name == ENGINE)),
    )


def is_peer(name: str) -> bool:
    return name in CONTENDERS and CONTENDERS[name].peer


def ratio(point: Point, points: Iterable[Point], against: Callable[[str], bool]) -> float:
    """Throughput over the best of those in the same round; NaN when none of them answered anything."""
    same = (point.kind, point.clients, point.round)
    best = max(
        (p.load.throughput for p in points if against(p.contender) and (p.kind, p.clients, p.round) == same),
        default=0.0,
    )
    return point.load.throughput / best if best else NAN


def middle_of(values: Iterable[float]) -> float:
    """The median of those that are numbers; NaN when none is."""
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else NAN


def as_json(row: Row) -> dict[str, object]:
    """JSON has no NaN: null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(row).items()
    }


HEADINGS = (
    *("contender", "answers/s", "p50 ms", "p95 ms", "p99 ms", "errors", "CPU s", "CPU ms/answer"),
    *("peak MiB", "start s", "x best peer", "x engine"),
)


def cells(row: Row) -> list[str]:
    return [
        TITLES.get(row.contender, row.contender),
        number(row.throughput, 1),
        *(number(seconds * 1000, 1) for seconds in (row.p50, row.p95, row.p99)),
        str(row.errors),
        number(row.cpu_seconds, 1),
        number(row.cpu_milliseconds, 1),
        number(row.peak_mebibytes, 0),
        number(row.start_seconds, 1),
        number(row.to_best_peer, 2),
        number(row.to_engine, 2),
    ]


def number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def markdown(found: Sequence[Row]) -> str:
    """A table for each kind and number of clients, its columns aligned for the terminal as well."""
    parts = []
    for kind, clients in dict.fromkeys((one.kind, one.clients) for one in found):
        lines = [cells(one) for one in found if (one.kind, one.clients) == (kind, clients)]
        widths = [
            max(len(line[column]) for line in [list(HEADINGS), *lines]) for column in range(len(HEADINGS))
        ]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        title = f"### {kind}, {clients} client{'s' if clients > 1 else ''}"
        parts.append("\n".join([title, "", *(aligned(line, widths) for line in (HEADINGS, rule, *lines))]))
    return "\n\n".join(parts) + "\n"


def aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return f"| {' | '.join([first, *rest])} |"
