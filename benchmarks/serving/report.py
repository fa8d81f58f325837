"""Writes the results of the serving benchmark, with its conditions and the omitted contenders."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from statistics import mean, quantiles

from tokenizers import Tokenizer

from benchmarks import results
from benchmarks.serving import plot, table
from benchmarks.serving.contenders import TITLES
from benchmarks.serving.measure import Plan
from benchmarks.serving.rounds import Record
from benchmarks.serving.setup import Setup
from pipelines.core.processor import processor

TOKENIZED = 500
"""Number of texts from which the token counts are estimated."""


def write(record: Record, plan: Plan, setup: Setup, options: argparse.Namespace) -> None:
    rows = table.make_rows(record.measurements)
    tokens = {kind: token_counts(texts, setup) for kind, texts in plan.texts.items()}
    long_texts = "IMDB reviews" if options.imdb else "snippets joined to the lengths of IMDB reviews"
    content = {
        "model": setup.model.name,
        "max_tokens": setup.max_tokens,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "long_texts": long_texts,
        "tokens": tokens,
        "omitted": record.failures,
        "table": [asdict(row) for row in rows],
        "measurements": [asdict(measurement) for measurement in record.measurements],
    }
    means = ", ".join(f"{kind} {counts['mean']:g}" for kind, counts in tokens.items())
    conditions = (
        f"{processor()}, {results.machine()['cores']} cores. Mean tokens per text, truncated at"
        f" {setup.max_tokens}: {means}. Long texts are {long_texts}. Medians of {options.rounds} rounds of"
        f" {options.seconds:g} s; ratios are between throughputs of the same round.\n"
    )
    text = f"{conditions}\n{table.markdown(rows)}{omitted(record)}"
    results.write(options.output, content, text, partial(plot.draw, rows) if rows else None)


def token_counts(texts: Sequence[str], setup: Setup) -> dict[str, float]:
    """Return the mean and deciles of the tokens per text, after truncation."""
    tokenizer = Tokenizer.from_file(str(setup.serving / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(setup.max_tokens)
    counts = [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts[:TOKENIZED]))]
    deciles = quantiles(counts, n=10) if len(counts) > 1 else counts * 9
    return {"mean": round(mean(counts), 1), "p10": deciles[0], "p50": deciles[4], "p90": deciles[8]}


def omitted(record: Record) -> str:
    lines = [f"- {TITLES[name]}: {reason.splitlines()[0]}" for name, reason in record.failures.items()]
    return "\n".join(["", "Omitted because of a failure:", "", *lines, ""]) if lines else ""
