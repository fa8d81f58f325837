"""Compare serving with the alternatives: FastAPI + transformers, LitServe, Ray Serve, BentoML and MLflow.

All contenders serve the same model and texts on loopback, one after another, in several rounds.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks import command
from benchmarks.command import print_progress
from benchmarks.serving import report, texts
from benchmarks.serving.contenders import CONTENDERS, TITLES, parse_names
from benchmarks.serving.rounds import estimated_seconds, make_plan, run_all
from benchmarks.serving.setup import Setup
from benchmarks.wrk import find_wrk

EPILOG = "The alternatives are installed in an environment of their own by `make peers`."


def client_counts(value: str) -> list[int]:
    counts = sorted({int(word) for word in value.split(",")})
    if counts[0] < 1:
        raise ValueError(value)
    return counts


def kinds(value: str) -> list[str]:
    chosen = [kind for kind in texts.KINDS if kind in value.split(",")]
    if not chosen or set(value.split(",")) - set(chosen):
        raise ValueError(value)
    return chosen


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--contenders",
        default=",".join(TITLES),
        help="comma-separated names in the order of measurement; default: %(default)s",
    )
    add(
        "--texts",
        type=kinds,
        default=list(texts.KINDS),
        help="comma-separated kinds of text; default: imdb,snippets",
    )
    add(
        "--imdb",
        type=Path,
        help="aclImdb, the folder or its archive, as the source of long texts; default: joined snippets",
    )
    add(
        "--clients",
        type=client_counts,
        default=[1, 8, 32, 128],
        help="comma-separated numbers of clients; default: 1,8,32,128",
    )
    add("--seconds", type=float, default=8, help="duration of each measurement; default %(default)s")
    add(
        "--warm-up",
        type=float,
        default=4,
        help="seconds of load before the first measurement; default %(default)s",
    )
    add("--rounds", type=int, default=3, help="number of rounds; default %(default)s")
    add(
        "--max-tokens",
        type=int,
        default=256,
        help="length to which all contenders truncate texts; default %(default)s",
    )
    for name, path, content in (
        ("model", "results/train/model", "folder of the trained model"),
        ("export", "results/export/serving", "folder of the exported model"),
        ("validation", "results/prepare/validation.csv", "CSV file with the snippets"),
        ("peers", "var/peers/venv", "virtual environment of the alternatives"),
        ("output", "results/benchmarks/serving", "folder for the results"),
    ):
        add(f"--{name}", type=Path, default=Path(path), help=f"{content}; default %(default)s")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Return 1 if a contender failed, else 0. Raises BenchmarkError."""
    options = parse(arguments)
    names = parse_names(options.contenders)
    find_wrk()
    loaded = {kind: texts.load(kind, options.validation, options.imdb) for kind in options.texts}
    # Short, because Ray creates sockets in it, and the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        setup = Setup(
            model=options.model.resolve(),
            export=options.export.resolve(),
            peers=options.peers.absolute(),  # not resolved, since its python is a link to another folder
            scratch=Path(folder).resolve(),
            max_tokens=options.max_tokens,
        )
        setup.check(peers=any(CONTENDERS[name].is_peer for name in names if name in CONTENDERS))
        logs = options.output / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        plan = make_plan(setup, loaded, options.clients, options.seconds, options.warm_up)
        minutes = estimated_seconds(names, plan, options.rounds) / 60
        print_progress(f"{len(names)} contenders: about {minutes:.0f} minutes")
        record = run_all(names, setup, plan, options.rounds, logs.resolve())
        report.write(record, plan, setup, options)
    return 1 if record.failures else 0


if __name__ == "__main__":
    command.run(main)
