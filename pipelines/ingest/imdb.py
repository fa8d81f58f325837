"""The Large Movie Review Dataset (aclImdb), read from its folder or its published archive."""

import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.core.errors import PipelineError
from pipelines.core.reviews import UNKNOWN_MOVIE
from pipelines.ingest.labels import Labels, Rejected, Row, validate

_REVIEW = re.compile(r"(?:^|/)(train|test)/(pos|neg)/(\d+)_(\d+)\.txt$")
_URLS = re.compile(r"(?:^|/)(train|test)/urls_(pos|neg)\.txt$")
_MOVIE = re.compile(r"/title/(tt\d+)")


class File(NamedTuple):
    name: str
    content: Callable[[], bytes]


Files = Callable[[], Iterator[File]]
Movies = dict[tuple[str, str], list[str]]


def imdb(path: Path) -> Iterator[Row]:
    """Yield the labelled reviews of all splits, in file order. Raises PipelineError if there are none.

    The archive is read in memory, never unpacked, so its member names cannot escape a folder.
    """
    files = open_files(path)
    movies = read_movies(files)
    labels = Labels()
    count = 0
    for file in files():
        if match := _REVIEW.search(file.name):
            count += 1
            split, side, number, stars = match.groups()
            movie = movies[split, side][int(number) : int(number) + 1] or [UNKNOWN_MOVIE]
            yield review(file, split, side, number, int(stars), movie[0], labels)
    if not count:
        raise PipelineError(
            f"{path} has no train/pos, train/neg, test/pos or test/neg: give the folder or archive aclImdb"
        )


def review(file: File, split: str, side: str, number: str, stars: int, movie: str, labels: Labels) -> Row:
    try:
        text = file.content().decode("utf-8")
    except UnicodeDecodeError as error:
        return Rejected(file.name, f"not UTF-8: {error.reason} at byte {error.start}", "")
    if (stars > 5) != (side == "pos"):
        return Rejected(file.name, f"{stars} stars, but in {side}/", text)
    return validate(f"{split}-{side}-{number}_{stars}", movie, text, side, labels, split)


def read_movies(files: Files) -> Movies:
    """Return movie ids by split and side; a review's number is its line in the urls file, from 0."""
    movies: Movies = defaultdict(list)
    for file in files():
        if match := _URLS.search(file.name):
            lines = file.content().decode("utf-8", errors="replace").splitlines()
            ids = (_MOVIE.search(line) for line in lines)
            movies[match[1], match[2]] = [found[1] if found else UNKNOWN_MOVIE for found in ids]
    return movies


def open_files(path: Path) -> Files:
    """Return a function that iterates over the files of a folder or archive each time it is called."""
    if path.is_dir():
        return lambda: in_folder(path)
    if path.is_file():
        return lambda: in_archive(path)
    raise PipelineError(f"{path} is missing: give the folder or archive aclImdb")


def in_folder(path: Path) -> Iterator[File]:
    for file in sorted(path.rglob("*.txt")):
        if file.is_file():
            yield File(file.as_posix(), file.read_bytes)


def in_archive(path: Path) -> Iterator[File]:
    """Yield the archive's files. Raises PipelineError if it is damaged or not a tar archive."""
    try:
        # Stream mode, "r|*", would silently accept a truncated archive.
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)):
                    yield File(member.name, content.read)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise PipelineError(f"{path} cannot be read as a tar archive: {error}. Download it again.") from None
