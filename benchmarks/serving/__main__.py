"""`python -m benchmarks.serving`: our serving beside what a user would pick instead (see `--help`)."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.serving import report, texts
from benchmarks.serving.catalogue import CONTENDERS, TITLES, chosen
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.load import find_wrk
from benchmarks.serving.place import Place
from benchmarks.serving.processes import end_on_terminate
from benchmarks.serving.run import duration, make_plan, run, say

EPILOG = """The same model and texts for all, each contender in turn, several rounds, on loopback only.
The peers live in an environment of their own, which `make peers` installs."""


def numbers(value: str) -> list[int]:
    found = sorted({int(word) for word in value.split(",")})
    if not found or found[0] < 1:
        raise ValueError(value)
    return found


def kinds(value: str) -> list[str]:
    found = [word for word in texts.KINDS if word in value.split(",")]
    if not found or set(value.split(",")) - set(found):
        raise ValueError(value)
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument("--contenders", default=",".join(TITLES), help="of %(default)s")
    parser.add_argument(
        "--texts", type=kinds, default=list(texts.KINDS), help="of imdb,snippets; default both"
    )
    parser.add_argument(
        "--imdb", type=Path, help="aclImdb or its archive; else long texts are joined of snippets"
    )
    parser.add_argument("--clients", type=numbers, default=[1, 8, 32, 128], help="default 1,8,32,128")
    parser.add_argument("--seconds", type=float, default=8, help="a point; default 8")
    parser.add_argument("--warm-up", type=float, default=4, help="seconds before the first point; default 4")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--max-tokens", type=int, default=256, help="where all cut their texts; default 256")
    parser.add_argument("--model", type=Path, default=Path("results/train/model"), help="default %(default)s")
    parser.add_argument(
        "--export", type=Path, default=Path("results/export/serving"), help="default %(default)s"
    )
    parser.add_argument("--validation", type=Path, default=Path("results/prepare/validation.csv"))
    parser.add_argument("--peers", type=Path, default=Path("var/peers/venv"), help="default %(default)s")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/serving"))
    return parser.parse_args(arguments)


def benchmark(options: argparse.Namespace) -> int:
    """The whole run; returns 1 when a contender is missing from the table. Raises BenchmarkError."""
    names = chosen(options.contenders)
    find_wrk()
    kinds = {kind: texts.load(kind, options.validation, options.imdb) for kind in options.texts}
    # Short, because Ray puts sockets below it, and a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        place = Place(
            model=options.model.resolve(),
            export=options.export.resolve(),
            peers=options.peers.absolute(),  # not resolved: python is a link out of it
            scratch=Path(folder).resolve(),
            max_tokens=options.max_tokens,
        )
        place.check(peers=any(CONTENDERS[name].peer for name in names if name in CONTENDERS))
        logs = options.output / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        plan = make_plan(place, kinds, options.clients, options.seconds, options.warm_up)
        say(f"{len(names)} contenders: about {duration(names, plan, options.rounds) / 60:.0f} minutes")
        record = run(names, place, plan, options.rounds, logs.resolve())
        report.write(record, plan, place, options)
    return 1 if record.failures else 0


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    end_on_terminate()
    try:
        return benchmark(options)
    except BenchmarkError as error:
        print(f"benchmarks.serving: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: every server is stopped, nothing is written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
