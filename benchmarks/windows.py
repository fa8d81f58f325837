"""Compare ways to classify reviews that are longer than the model's window.

The default model was trained on snippets of at most 64 tokens. Here it classifies labelled IMDB reviews, half
of which have more than 220 tokens: from their head only, from head and tail in one window, or as the mean
over several windows. Each line shows a variant's accuracy and the reviews per second of the engine alone.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from benchmarks import command
from benchmarks.model import copy_export
from bentos.sentiment.engine import Engine
from bentos.sentiment.windows import SPECIAL
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview

BATCH = 64


def sample_reviews(path: Path, count: int) -> list[tuple[str, str]]:
    """Return texts and labels of a random sample of aclImdb, with a fixed seed. Raises PipelineError."""
    reviews = [
        (review.text.replace("<br />", " "), "positive" if review.label else "negative")
        for review in imdb(path)
        if isinstance(review, LabelledReview)
    ]
    return random.Random(1).sample(sorted(reviews), min(count, len(reviews)))


def head(text: str, encoding: Encoding, tokens: int) -> str:
    return text if len(encoding.ids) <= tokens else text[: encoding.offsets[tokens - 1][1]]


def make_engine(export: Path, folder: Path, max_tokens: int, windows: int) -> Engine:
    copy = folder / f"{max_tokens}-{windows}"
    if not copy.exists():
        copy_export(export, copy, max_tokens, windows)
    return Engine(copy)


def variants(export: Path, folder: Path, texts: list[str]) -> Iterator[tuple[str, Engine, list[str]]]:
    """Yield the name of each variant, its engine and the engine's input."""
    tokenizer = Tokenizer.from_file(str(export / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    for tokens in (64, 128, 256, 512):
        heads = [
            head(text, encoding, tokens - SPECIAL) for text, encoding in zip(texts, encodings, strict=True)
        ]
        yield f"head, {tokens} tokens", make_engine(export, folder, tokens, 1), heads
    for tokens in (64, 128, 256):
        yield f"head and tail, {tokens} tokens", make_engine(export, folder, tokens, 1), texts
    for tokens, windows in ((64, 2), (64, 4), (64, 8), (64, 64), (128, 2), (128, 4), (128, 64)):
        yield f"{windows} windows of {tokens} tokens", make_engine(export, folder, tokens, windows), texts


def classify(engine: Engine, texts: list[str]) -> tuple[list[str], float]:
    """Return the labels and the reviews per second."""
    engine.warm_up()
    start = time.perf_counter()
    labels = [
        result.label
        for first in range(0, len(texts), BATCH)
        for result in engine.classify(texts[first : first + BATCH])
    ]
    return labels, len(texts) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.windows", description=__doc__)
    parser.add_argument("--imdb", type=Path, required=True, help="aclImdb: the folder or its archive")
    parser.add_argument(
        "--export",
        type=Path,
        default=Path("results/export/serving"),
        help="folder of the exported model; default %(default)s",
    )
    parser.add_argument("--reviews", type=int, default=2000, help="number of reviews; default %(default)s")
    options = parser.parse_args()
    reviews = sample_reviews(options.imdb, options.reviews)
    texts = [text for text, _ in reviews]
    print(f"{len(texts)} reviews\n{'input':28} accuracy  reviews/s", flush=True)
    with tempfile.TemporaryDirectory(prefix="windows-") as folder:
        for name, engine, inputs in variants(options.export, Path(folder), texts):
            labels, rate = classify(engine, inputs)
            correct = sum(label == actual for label, (_, actual) in zip(labels, reviews, strict=True))
            print(f"{name:28} {correct / len(labels):8.4f}  {rate:9.1f}", flush=True)


if __name__ == "__main__":
    command.run(main)
