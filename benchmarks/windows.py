"""`python -m benchmarks.windows --imdb PATH`: how best to read reviews longer than the model's window.

The default model was trained on snippets cut at 64 tokens. This reads labelled IMDB reviews with it, half of
which have more than 220: only their head, head and tail in one window, or several windows averaged. Each way
is a line: accuracy, and reviews a second of the engine alone.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from bentos.sentiment.engine import Engine
from bentos.sentiment.windows import SPECIAL
from pipelines.core.errors import PipelineError
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview

BATCH = 64


def labelled(path: Path, count: int) -> list[tuple[str, str]]:
    """Text and label of so many reviews of aclImdb, drawn with a fixed seed."""
    found = [
        (review.text.replace("<br />", " "), "positive" if review.label else "negative")
        for review in imdb(path)
        if isinstance(review, LabelledReview)
    ]
    return random.Random(1).sample(sorted(found), min(count, len(found)))


def head(text: str, encoding: Encoding, room: int) -> str:
    """The text up to its `room`th token."""
    return text if len(encoding.ids) <= room else text[: encoding.offsets[room - 1][1]]


def engine(export: Path, folder: Path, max_tokens: int, windows: int) -> Engine:
    copy = folder / f"{max_tokens}-{windows}"
    if not copy.exists():
        shutil.copytree(export, copy)
        serving = json.loads((copy / "serving.json").read_text(encoding="utf-8"))
        changed = {**serving, "max_tokens": max_tokens, "windows": windows}
        (copy / "serving.json").write_text(json.dumps(changed))
    return Engine(copy)


def ways(export: Path, folder: Path, texts: list[str]) -> Iterator[tuple[str, Engine, list[str]]]:
    """A name, an engine, and what it is given to read."""
    tokenizer = Tokenizer.from_file(str(export / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    for tokens in (64, 128, 256, 512):
        room = tokens - SPECIAL
        heads = [head(text, encoding, room) for text, encoding in zip(texts, encodings, strict=True)]
        yield f"head, {tokens} tokens", engine(export, folder, tokens, 1), heads
    for tokens in (64, 128, 256):
        yield f"head and tail, {tokens} tokens", engine(export, folder, tokens, 1), texts
    for tokens, windows in ((64, 2), (64, 4), (64, 8), (64, 64), (128, 2), (128, 4), (128, 64)):
        yield f"{windows} windows of {tokens} tokens", engine(export, folder, tokens, windows), texts


def read(reader: Engine, texts: list[str]) -> tuple[list[str], float]:
    """The labels, and reviews a second."""
    reader.warm_up()
    began = time.perf_counter()
    verdicts = [
        verdict
        for start in range(0, len(texts), BATCH)
        for verdict in reader.classify(texts[start : start + BATCH])
    ]
    seconds = time.perf_counter() - began
    return [verdict.label for verdict in verdicts], len(texts) / seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--imdb", type=Path, required=True, help="aclImdb or its archive")
    parser.add_argument("--export", type=Path, default=Path("results/export/serving"))
    parser.add_argument("--reviews", type=int, default=2000, help="default %(default)s")
    options = parser.parse_args()
    try:
        reviews = labelled(options.imdb, options.reviews)
    except PipelineError as error:
        parser.error(f"--imdb {error}")
    texts = [text for text, _ in reviews]
    print(f"{len(texts)} reviews\n{'what is read':28} accuracy  reviews/s", flush=True)
    with tempfile.TemporaryDirectory(prefix="windows-") as folder:
        for name, reader, given in ways(options.export, Path(folder), texts):
            labels, pace = read(reader, given)
            right = sum(label == actual for label, (_, actual) in zip(labels, reviews, strict=True))
            print(f"{name:28} {right / len(labels):8.4f}  {pace:9.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
