"""The Large Movie Review Dataset (aclImdb), read where it lies: its folder, or its archive as published."""

import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.core.errors import PipelineError
from pipelines.core.reviews import UNKNOWN_MOVIE
from pipelines.ingest.labels import LabelledReview, Refused, checked

_REVIEW = re.compile(r"(?:^|/)(train|test)/(pos|neg)/(\d+)_(\d+)\.txt$")
_URLS = re.compile(r"(?:^|/)(train|test)/urls_(pos|neg)\.txt$")
_MOVIE = re.compile(r"/title/(tt\d+)")


class File(NamedTuple):
    name: str
    content: Callable[[], bytes]


Files = Callable[[], Iterator[File]]
Movies = dict[tuple[str, str], list[str]]


def imdb(path: Path) -> Iterator[LabelledReview | Refused]:
    """Every labelled review of the splits that are there, as they lie there. Raises PipelineError.

    Nothing is unpacked onto the disk, so no name in an archive can lead anywhere.
    """
    files = opened(path)
    movies = read_movies(files)
    count = 0
    for file in files():
        if match := _REVIEW.search(file.name):
            count += 1
            split, side, number, stars = match.groups()
            address = movies[split, side][int(number) : int(number) + 1] or [UNKNOWN_MOVIE]
            yield review(file, f"{split}-{side}-{number}_{stars}", address[0], side, int(stars))
    if not count:
        raise PipelineError(
            f"{path} holds no train/pos, train/neg, test/pos or test/neg: name aclImdb or its archive"
        )


def review(file: File, review_id: str, movie: str, side: str, stars: int) -> LabelledReview | Refused:
    try:
        text = file.content().decode("utf-8")
    except UnicodeDecodeError as error:
        return Refused(file.name, f"not UTF-8: {error.reason} at byte {error.start}", "")
    if (stars > 5) != (side == "pos"):
        return Refused(file.name, f"{stars} stars, and among {side}", text)
    return checked(review_id, movie, text, side)


def read_movies(files: Files) -> Movies:
    """The movies' ids by split and side; the number of a review is the number of its line, from 0."""
    movies: Movies = defaultdict(list)
    for file in files():
        if match := _URLS.search(file.name):
            lines = file.content().decode("utf-8", errors="replace").splitlines()
            found = (_MOVIE.search(line) for line in lines)
            movies[match[1], match[2]] = [one[1] if one else UNKNOWN_MOVIE for one in found]
    return movies


def opened(path: Path) -> Files:
    """What goes through the files of a folder or an archive, as often as it is called."""
    if path.is_dir():
        return lambda: in_folder(path)
    if path.is_file():
        return lambda: in_archive(path)
    raise PipelineError(f"{path} is missing: name the folder aclImdb or its archive")


def in_folder(path: Path) -> Iterator[File]:
    for file in sorted(path.rglob("*.txt")):
        if file.is_file():
            yield File(file.as_posix(), file.read_bytes)


def in_archive(path: Path) -> Iterator[File]:
    """Raises PipelineError when it is damaged or none."""
    try:
        # Not as a stream, "r|*": of an archive that ends too soon that reads what there is, without a word.
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)):
                    yield File(member.name, content.read)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise PipelineError(f"{path} cannot be read as a tar archive: {error}. Fetch it again.") from None
