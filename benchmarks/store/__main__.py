"""`python -m benchmarks.store`: the API on ten million reviews beside ten thousand, and beside bare asyncpg.

One client asks both stores in turn; then wrk asks for a page of the large one, of the API and of a handler
that does nothing else. Leaves table.md and table.json.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.serving import report
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.load import find_wrk
from benchmarks.serving.processes import end_on_terminate
from benchmarks.serving.run import say
from benchmarks.store import table
from benchmarks.store.database import ensure, postgres
from benchmarks.store.questions import (
    QUESTIONS,
    Client,
    Known,
    Request,
    alternate,
    clients,
    get_to_know,
    page,
)
from benchmarks.store.servers import API, BARE, serve
from benchmarks.store.throughput import CLIENTS, throughput


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="of the large store; default %(default)s"
    )
    parser.add_argument(
        "--small", type=int, default=10_000, help="rows of the small one; default %(default)s"
    )
    parser.add_argument("--seconds", type=float, default=4, help="a question and round; default 4")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument(
        "--folder", type=Path, help="keeps the stores, and uses those that are there; else a temporary one"
    )
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/store"))
    return parser.parse_args(arguments)


@contextlib.contextmanager
def folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="store-") as made:
            yield Path(made)
    else:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()


def latencies(stores: list[tuple[Client, Known]], options: argparse.Namespace) -> list[table.Line]:
    took: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in stores])
    for number in range(options.rounds + 1):
        # The first round warms caches, pools and statements up.
        say(f"round {number} of {options.rounds}" if number else "warming up")
        for name, question in QUESTIONS.items():
            for seen, new in zip(took[name], alternate(question, stores, options.seconds), strict=True):
                seen.extend(new if number else [])
    return [table.line(name, *took[name]) for name in QUESTIONS]


def pages(ours: int, bare: int, path: str, options: argparse.Namespace) -> table.Throughput:
    """Raises BenchmarkError when the two do not answer the same bytes."""
    with clients(ours, bare) as both:
        if len({client.ask(Request("GET", path)) for client in both}) != 1:
            raise BenchmarkError(f"the API and the bare handler differ on {path}")
    asked = {"ours": (ours, None), "bare": (bare, None), "ours_gzip": (ours, {"Accept-Encoding": "gzip"})}
    rounds = []
    for number in range(options.rounds + 1):
        order = list(asked) if number % 2 else list(reversed(asked))
        seen = {name: throughput(asked[name][0], path, options.seconds, asked[name][1]) for name in order}
        say(", ".join(f"{name} {seen[name]:.0f}/s" for name in asked) + ("" if number else " (warming up)"))
        rounds.append(seen)
    return table.throughput(rounds[1:])


def benchmark(options: argparse.Namespace) -> None:
    """Raises BenchmarkError."""
    find_wrk()
    options.output.mkdir(parents=True, exist_ok=True)
    with folder(options.folder) as place, postgres(place) as server:
        small = asyncio.run(ensure(server, options.small))
        large = asyncio.run(ensure(server, options.rows))
        known = [asyncio.run(get_to_know(server.url(name))) for name in (small, large)]
        with (
            serve(API, server.api_url(small), place) as small_port,
            serve(API, server.api_url(large), place) as large_port,
        ):
            with clients(small_port, large_port) as both:
                lines = latencies(list(zip(both, known, strict=True)), options)
            with serve(BARE, server.url(large), place) as bare_port:
                compared = pages(large_port, bare_port, page(known[1].popular[0]), options)
    write(lines, compared, options)


def write(lines: list[table.Line], compared: table.Throughput, options: argparse.Namespace) -> None:
    text = table.markdown(lines, compared, options.small, options.rows, CLIENTS)
    facts = {"machine": report.machine(), "rows": options.rows, "small": options.small}
    rounds = {"rounds": options.rounds, "seconds": options.seconds}
    found = json.dumps(facts | rounds | table.as_json(lines, compared), indent=2)
    (options.output / "table.json").write_text(found + "\n")
    (options.output / "table.md").write_text(text)
    print(f"\n{text}\nwritten to {options.output}: table.json, table.md")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    end_on_terminate()
    try:
        benchmark(options)
    except BenchmarkError as error:
        print(f"benchmarks.store: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: every server is stopped, nothing is written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
