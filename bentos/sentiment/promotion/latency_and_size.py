"""The gates `latency` and `size`: candidate and champion are measured alternately on this machine."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bentos.sentiment.champion import files, store
from bentos.sentiment.champion.loaded import engine_threads
from bentos.sentiment.engine import Engine
from bentos.sentiment.promotion.evaluated_version import EvaluatedVersion
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown
from bentos.sentiment.settings import Settings

ROUNDS = 15
OUTSIDE = 3
"""Ratios at each end of the sorted 15 that lie outside the 95 % confidence interval of the median."""
SENTENCES = (
    "A warm, funny and beautifully acted film that stays with you for days.",
    "The plot makes no sense and the jokes fall flat from the first scene.",
    "I did not expect much, and for half an hour I was right; then it found its heart.",
    "Two hours of my life that I will never get back.",
)
TEXTS = [SENTENCES[number % 4] for number in range(4)] + [
    " ".join(SENTENCES[(number + word) % 4] for word in range(4 * 2**number)) for number in range(4)
]
"""Texts of 12 to 500 words, like reviews: from a sentence to more than one window."""


class Latency(NamedTuple):
    """Median times over the rounds, in milliseconds for all texts, and the median of their ratio per round
    with its 95 % confidence interval."""

    candidate_ms: float
    champion_ms: float
    ratio: float
    low: float
    high: float


def judge(
    candidate: EvaluatedVersion, folder: Path, champion: EvaluatedVersion | None, settings: Settings
) -> Iterator[Verdict]:
    """Download the champion, and run both models for some seconds."""
    if champion is None:
        yield passed("latency", None, None, "there is no champion to compare with")
        yield passed("size", size(folder), None, f"{size(folder):.1f} MiB; there is no champion")
        return
    with ExitStack() as stack:
        try:
            other = stack.enter_context(files.serving_folder(champion.version, settings))
            threads = engine_threads(settings)
            measured = measure(Engine(folder, threads), Engine(other, threads))
        except Exception as error:  # a damaged champion must not count as a slow one
            why = next(iter(str(error).splitlines()), type(error).__name__)
            for gate in ("latency", "size"):
                says = f"version {candidate.number} cannot be compared with the champion: {why}"
                yield unknown(gate, None, None, says, "use --force if the champion is damaged")
            return
        yield latency(candidate, champion, measured, settings.promote_max_latency_ratio)
        yield sizes(candidate, champion, size(folder), size(other), settings.promote_max_size_ratio)


def latency(candidate: EvaluatedVersion, champion: EvaluatedVersion, times: Latency, limit: float) -> Verdict:
    says = (
        f"version {candidate.number} takes {times.candidate_ms:.1f} ms for {len(TEXTS)} texts, one by one and"
        f" in a batch, and the champion, version {champion.number}, {times.champion_ms:.1f} ms on this"
        f" machine: ratio {times.ratio:.2f} (95 %: {times.low:.2f} to {times.high:.2f}), limit {limit:g}"
    )
    if times.ratio <= limit:
        return passed("latency", times.candidate_ms, times.champion_ms, says)
    lifts = (
        "train a smaller model (train.base, train.max_tokens, export.windows, export.precision), or raise"
        " SENTIMENT_PROMOTE_MAX_LATENCY_RATIO, or use --force"
    )
    return refused("latency", times.candidate_ms, times.champion_ms, says, lifts)


def sizes(
    candidate: EvaluatedVersion, champion: EvaluatedVersion, new: float, old: float, limit: float
) -> Verdict:
    says = (
        f"version {candidate.number} has {new:.1f} MiB, the champion, version {champion.number}, {old:.1f}:"
        f" ratio {new / old:.2f}, limit {limit:g}"
    )
    if new <= limit * old:
        return passed("size", new, old, says)
    lifts = (
        "train a smaller model (train.base, export.precision), or raise SENTIMENT_PROMOTE_MAX_SIZE_RATIO, or"
        " use --force"
    )
    return refused("size", new, old, says, lifts)


def measure(candidate: Engine, champion: Engine) -> Latency:
    """Time both engines in every round, in alternating order, so that other load affects both alike."""
    seconds: list[tuple[float, float]] = []
    for engine in (candidate, champion):
        engine.warm_up()
        run(engine)
    for number in range(ROUNDS):
        progress(f"measuring latency, round {number + 1} of {ROUNDS}")
        if number % 2:
            second = run(champion)
            seconds.append((run(candidate), second))
        else:
            seconds.append((run(candidate), run(champion)))
    progress("")
    ratios = sorted(new / old for new, old in seconds)
    new, old = (1000 * statistics.median(each) for each in zip(*seconds, strict=True))
    return Latency(new, old, statistics.median(ratios), ratios[OUTSIDE], ratios[-1 - OUTSIDE])


def run(engine: Engine) -> float:
    """Return the seconds for the texts, one by one and then in a batch."""
    started = time.perf_counter()
    for text in TEXTS:
        engine.probabilities([text])
    engine.probabilities(TEXTS)
    return time.perf_counter() - started


def size(folder: Path) -> float:
    """Return the size of the served files in MiB."""
    return sum((folder / name).stat().st_size for name in store.FILES) / 2**20


def progress(message: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{message}", end="", file=sys.stderr, flush=True)
