"""What a run leaves: table.json with every point, table.md, plot.png, and the table on the terminal."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, quantiles

from tokenizers import Tokenizer

from benchmarks.serving import plot, table
from benchmarks.serving.catalogue import TITLES
from benchmarks.serving.measure import Plan
from benchmarks.serving.place import Place
from benchmarks.serving.run import Record

LENGTHS_OF = 500
"""Texts whose tokens are counted."""


def write(record: Record, plan: Plan, place: Place, options: argparse.Namespace) -> None:
    rows = table.rows(record.points)
    facts = {
        "machine": machine(),
        "model": place.model.name,
        "max_tokens": place.max_tokens,
        "seconds_a_point": options.seconds,
        "rounds": options.rounds,
        "long_texts": "IMDB reviews" if options.imdb else "snippets joined to IMDB's lengths",
        "tokens": {kind: lengths(texts, place) for kind, texts in plan.texts.items()},
        "left_out": record.failures,
    }
    output: Path = options.output
    content = {**facts, "table": [table.as_json(row) for row in rows]}
    content["points"] = [clean(asdict(point)) for point in record.points]
    (output / "table.json").write_text(json.dumps(content, indent=2) + "\n")
    text = heading(facts) + "\n" + table.markdown(rows) + left_out(record)
    (output / "table.md").write_text(text)
    if rows:
        plot.draw(rows, output / "plot.png")
    print(f"\n{text}\nwritten to {output}: table.json, table.md, plot.png; the servers' logs in logs/")


def clean(point: dict[str, object]) -> dict[str, object]:
    """JSON has no NaN, which a point without one good answer has for its latencies."""
    load = point["load"]
    assert isinstance(load, dict)
    return {**point, "load": {name: value if value == value else None for name, value in load.items()}}


def machine() -> dict[str, object]:
    return {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(terse=True)}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def lengths(texts: Sequence[str], place: Place) -> dict[str, float]:
    """Tokens a text after the cut: mean and deciles."""
    tokenizer = Tokenizer.from_file(str(place.serving / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(place.max_tokens)
    counts = [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts[:LENGTHS_OF]))]
    tenths = quantiles(counts, n=10) if len(counts) > 1 else counts * 9
    return {"mean": round(mean(counts), 1), "tenth": tenths[0], "median": tenths[4], "ninetieth": tenths[8]}


def heading(facts: dict[str, object]) -> str:
    machine, tokens = facts["machine"], facts["tokens"]
    assert isinstance(machine, dict)
    assert isinstance(tokens, dict)
    means = ", ".join(f"{kind} {found['mean']:g}" for kind, found in tokens.items())
    return (
        f"{machine['processor']}, {machine['cores']} cores. Mean tokens a text, cut at {facts['max_tokens']}:"
        f" {means}; long texts are {facts['long_texts']}. Medians of {facts['rounds']} rounds,"
        f" {facts['seconds_a_point']:g} s a point; ratios of throughputs within a round.\n"
    )


def left_out(record: Record) -> str:
    lines = [f"- {TITLES[name]}: {reason.splitlines()[0]}" for name, reason in record.failures.items()]
    return "\n".join(["", "Left out:", "", *lines, ""]) if lines else ""
