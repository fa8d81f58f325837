"""Which rows of a source become data/reviews.csv, and which go to the quarantine."""

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.core.errors import PipelineError
from pipelines.ingest.labels import LabelledReview, Refused

DUPLICATE = "the same text as an earlier review's"


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
                f" see {self._quarantine}. data/ is unchanged."
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
