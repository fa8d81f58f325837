"""The gates `latency` and `size`: the candidate beside the champion, on this machine, in turn."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bentos.sentiment import champion as files
from bentos.sentiment import store
from bentos.sentiment.engine import Engine
from bentos.sentiment.promotion.contender import Contender
from bentos.sentiment.promotion.verdict import Verdict, passed, refused, unknown
from bentos.sentiment.served import threads
from bentos.sentiment.settings import Settings

ROUNDS = 15
OUTSIDE = 3
"""Of the sorted ratios of 15 rounds so many at each end lie outside the 95 % interval of the median."""
SENTENCES = (
    "A warm, funny and beautifully acted film that stays with you for days.",
    "The plot makes no sense and the jokes fall flat from the first scene.",
    "I did not expect much, and for half an hour I was right; then it found its heart.",
    "Two hours of my life that I will never get back.",
)
TEXTS = [SENTENCES[number % 4] for number in range(4)] + [
    " ".join(SENTENCES[(number + word) % 4] for word in range(4 * 2**number)) for number in range(4)
]
"""Of 12 to 500 words, as reviews are: a sentence, some paragraphs, more than one window holds."""


class Race(NamedTuple):
    """Milliseconds for all texts, the median of the rounds; and the median ratio of the two within a round,
    with the ends of its 95 % interval."""

    candidate_ms: float
    champion_ms: float
    ratio: float
    low: float
    high: float


def judge(
    candidate: Contender, folder: Path, champion: Contender | None, settings: Settings
) -> Iterator[Verdict]:
    """Downloads the champion, and runs both for some seconds."""
    if champion is None:
        yield passed("latency", None, None, "nobody is champion, so there is none to compare with")
        yield passed("size", size(folder), None, f"{size(folder):.1f} MiB; nobody is champion")
        return
    with ExitStack() as stack:
        try:
            other = stack.enter_context(files.opened(champion.version, settings))
            found = race(Engine(folder, threads(settings)), Engine(other, threads(settings)))
        except Exception as error:  # a champion that is damaged must not pass for one that is slow
            why = next(iter(str(error).splitlines()), type(error).__name__)
            for gate in ("latency", "size"):
                says = f"version {candidate.number} cannot be compared with the champion: {why}"
                yield unknown(gate, None, None, says, "promote past a damaged champion with --force")
            return
        yield latency(candidate, champion, found, settings.promote_max_latency_ratio)
        yield sizes(candidate, champion, size(folder), size(other), settings.promote_max_size_ratio)


def latency(candidate: Contender, champion: Contender, found: Race, limit: float) -> Verdict:
    says = (
        f"version {candidate.number} takes {found.candidate_ms:.1f} ms for {len(TEXTS)} texts, alone and"
        f" together, and the champion, version {champion.number}, {found.champion_ms:.1f} ms on this machine:"
        f" {found.ratio:.2f} times (95 %: {found.low:.2f} to {found.high:.2f}), limit {limit:g}"
    )
    if found.ratio <= limit:
        return passed("latency", found.candidate_ms, found.champion_ms, says)
    lifts = (
        "train a smaller one (train.base, train.max_tokens, export.windows, export.precision), or raise"
        " SENTIMENT_PROMOTE_MAX_LATENCY_RATIO, or --force"
    )
    return refused("latency", found.candidate_ms, found.champion_ms, says, lifts)


def sizes(candidate: Contender, champion: Contender, new: float, old: float, limit: float) -> Verdict:
    says = (
        f"version {candidate.number} has {new:.1f} MiB, the champion, version {champion.number}, {old:.1f}:"
        f" {new / old:.2f} times, limit {limit:g}"
    )
    if new <= limit * old:
        return passed("size", new, old, says)
    lifts = (
        "train a smaller one (train.base, export.precision), or raise SENTIMENT_PROMOTE_MAX_SIZE_RATIO, or"
        " --force"
    )
    return refused("size", new, old, says, lifts)


def race(candidate: Engine, champion: Engine) -> Race:
    """Both do the same in each round, and take turns at being first: what the machine does befalls both."""
    seconds: list[tuple[float, float]] = []
    for engine in (candidate, champion):
        engine.warm_up()
        lap(engine)
    for number in range(ROUNDS):
        progress(f"measuring latency, round {number + 1} of {ROUNDS}")
        if number % 2:
            second = lap(champion)
            seconds.append((lap(candidate), second))
        else:
            seconds.append((lap(candidate), lap(champion)))
    progress("")
    ratios = sorted(new / old for new, old in seconds)
    new, old = (1000 * statistics.median(each) for each in zip(*seconds, strict=True))
    return Race(new, old, statistics.median(ratios), ratios[OUTSIDE], ratios[-1 - OUTSIDE])


def lap(engine: Engine) -> float:
    """Seconds for the texts, each alone and then all together."""
    began = time.perf_counter()
    for text in TEXTS:
        engine.probabilities([text])
    engine.probabilities(TEXTS)
    return time.perf_counter() - began


def size(folder: Path) -> float:
    """MiB of the files that are served."""
    return sum((folder / name).stat().st_size for name in store.FILES) / 2**20


def progress(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)
