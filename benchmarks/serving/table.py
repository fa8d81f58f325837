"""The table of the serving benchmark: medians over the rounds, and ratios within each round."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.serving.contenders import CONTENDERS, ENGINE, TITLES
from benchmarks.serving.measure import Measurement

NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """A contender with one number of clients and kind of text: medians over the rounds.

    The ratios compare throughputs of the same round, when the machine had about the same speed. The engine's
    latency is that of a single text for one client, but that of a batch for several, so it cannot be
    compared.
    """

    kind: str
    clients: int
    contender: str
    rounds: int
    throughput: float  # per second
    p50: float  # seconds
    p95: float
    p99: float
    errors: int  # sum over the rounds
    repeats: int  # sum over the rounds
    cpu_milliseconds: float  # of all processes, per successful request
    cpu_seconds: float  # of all processes, per measurement
    peak_mebibytes: float
    start_seconds: float
    to_best_peer: float  # NaN without peers
    to_engine: float  # NaN without the engine


def make_rows(measurements: Sequence[Measurement]) -> list[Row]:
    """Return rows ordered by kind, clients and contender; the clients ascend, the others keep their order."""
    groups: dict[tuple[str, int, str], list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.kind, one.clients, one.contender), []).append(one)
    kinds, contenders = (list(dict.fromkeys(key[part] for key in groups)) for part in (0, 2))
    keys = sorted(groups, key=lambda key: (kinds.index(key[0]), key[1], contenders.index(key[2])))
    return [make_row(groups[key], measurements) for key in keys]


def make_row(group: Sequence[Measurement], measurements: Sequence[Measurement]) -> Row:
    def over_rounds(value: Callable[[Measurement], float]) -> float:
        return median_of_numbers(value(one) for one in group)

    return Row(
        kind=group[0].kind,
        clients=group[0].clients,
        contender=group[0].contender,
        rounds=len(group),
        throughput=over_rounds(lambda one: one.load.throughput),
        p50=over_rounds(lambda one: one.load.p50),
        p95=over_rounds(lambda one: one.load.p95),
        p99=over_rounds(lambda one: one.load.p99),
        errors=sum(one.load.errors for one in group),
        repeats=sum(one.load.repeats for one in group),
        cpu_milliseconds=over_rounds(
            lambda one: one.cpu_seconds * 1000 / one.load.successful if one.load.successful else NAN
        ),
        cpu_seconds=over_rounds(lambda one: one.cpu_seconds),
        peak_mebibytes=over_rounds(lambda one: one.peak_mebibytes),
        start_seconds=over_rounds(lambda one: one.start_seconds),
        to_best_peer=over_rounds(lambda one: ratio_to_best(one, measurements, is_peer)),
        to_engine=over_rounds(lambda one: ratio_to_best(one, measurements, lambda name: name == ENGINE)),
    )


def is_peer(name: str) -> bool:
    return name in CONTENDERS and CONTENDERS[name].is_peer


def ratio_to_best(
    one: Measurement, measurements: Iterable[Measurement], included: Callable[[str], bool]
) -> float:
    """Return the ratio of throughputs to the best included contender of the same round.

    It is NaN if none of them has a successful request.
    """
    condition = (one.kind, one.clients, one.round)
    best = max(
        (
            other.load.throughput
            for other in measurements
            if included(other.contender) and (other.kind, other.clients, other.round) == condition
        ),
        default=0.0,
    )
    return one.load.throughput / best if best else NAN


def median_of_numbers(values: Iterable[float]) -> float:
    """Return the median without NaN values, or NaN if there are no others."""
    numbers = [value for value in values if not math.isnan(value)]
    return median(numbers) if numbers else NAN


HEADINGS = (
    *("contender", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "CPU s", "CPU ms/request"),
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


def markdown(rows: Sequence[Row]) -> str:
    """Return a table for each kind and number of clients, with aligned columns, since it is printed too."""
    parts = []
    for kind, clients in dict.fromkeys((row.kind, row.clients) for row in rows):
        lines = [cells(row) for row in rows if (row.kind, row.clients) == (kind, clients)]
        widths = [max(map(len, column)) for column in zip(HEADINGS, *lines, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        title = f"### {kind}, {clients} client{'s' if clients > 1 else ''}"
        parts.append("\n".join([title, "", *(aligned(line, widths) for line in (HEADINGS, rule, *lines))]))
    return "\n\n".join(parts) + "\n"


def aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return f"| {' | '.join([first, *others])} |"
