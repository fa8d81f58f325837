"""Measure how the API scales with the number of reviews, and compare it with a minimal server.

One client sends the same queries to a small and a large database in turn. Then wrk requests a page of the
large database from the API and from a server of Starlette and asyncpg alone. Writes table.md and table.json.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks import command, results
from benchmarks.command import BenchmarkError, print_progress
from benchmarks.store import table
from benchmarks.store.database import create_database, postgres
from benchmarks.store.queries import (
    QUERIES,
    Client,
    Request,
    Sample,
    alternate,
    clients,
    first_page,
    take_sample,
)
from benchmarks.store.servers import API, BASELINE, serve
from benchmarks.store.throughput import CLIENTS, throughput
from benchmarks.wrk import find_wrk


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="reviews in the large database; default %(default)s"
    )
    parser.add_argument(
        "--small", type=int, default=10_000, help="reviews in the small database; default %(default)s"
    )
    parser.add_argument(
        "--seconds", type=float, default=4, help="duration of each query in each round; default %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; default %(default)s")
    parser.add_argument(
        "--folder",
        type=Path,
        help="folder in which the databases are kept and reused; default: a temporary folder",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/benchmarks/store"),
        help="folder for the results; default %(default)s",
    )
    return parser.parse_args(arguments)


@contextlib.contextmanager
def database_folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="store-") as temporary:
            yield Path(temporary)
    else:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()


def measure_latency(databases: list[tuple[Client, Sample]], options: argparse.Namespace) -> list[table.Row]:
    latencies: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in databases])
    for number in range(options.rounds + 1):
        # Round 0 warms up caches, connection pools and prepared statements.
        print_progress(f"round {number} of {options.rounds}" if number else "warm-up")
        for name, query in QUERIES.items():
            measured = alternate(query, databases, options.seconds)
            for own, new in zip(latencies[name], measured, strict=True):
                own.extend(new if number else [])
    return [table.make_row(name, *latencies[name]) for name in QUERIES]


def measure_throughput(api: int, baseline: int, path: str, options: argparse.Namespace) -> table.Throughput:
    """Compare the servers at these ports. Raises BenchmarkError unless their responses are the same."""
    with clients(api, baseline) as both:
        if len({client.send(Request("GET", path)) for client in both}) != 1:
            raise BenchmarkError(f"the API and the baseline respond differently to {path}")
    targets = {
        "api": (api, None),
        "baseline": (baseline, None),
        "api_gzip": (api, {"Accept-Encoding": "gzip"}),
    }
    rounds = []
    for number in range(options.rounds + 1):
        names = list(targets) if number % 2 else list(reversed(targets))
        measured = {
            name: throughput(targets[name][0], path, options.seconds, targets[name][1]) for name in names
        }
        line = ", ".join(f"{name} {measured[name]:.0f}/s" for name in targets)
        print_progress(line if number else f"{line} (warm-up)")
        rounds.append(measured)
    return table.median_throughput(rounds[1:])


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    find_wrk()
    with database_folder(options.folder) as folder, postgres(folder) as server:
        small = asyncio.run(create_database(server, options.small))
        large = asyncio.run(create_database(server, options.rows))
        samples = [asyncio.run(take_sample(server.url(name))) for name in (small, large)]
        with (
            serve(API, server.api_url(small), folder) as small_port,
            serve(API, server.api_url(large), folder) as large_port,
        ):
            with clients(small_port, large_port) as both:
                rows = measure_latency(list(zip(both, samples, strict=True)), options)
            with serve(BASELINE, server.url(large), folder) as baseline_port:
                page = first_page(samples[1].popular[0])
                pages = measure_throughput(large_port, baseline_port, page, options)
    chosen = {name: getattr(options, name) for name in ("rows", "small", "rounds", "seconds")}
    text = table.markdown(rows, pages, options.small, options.rows, CLIENTS)
    results.write(options.output, chosen | table.as_json(rows, pages), text)


if __name__ == "__main__":
    command.run(main)
