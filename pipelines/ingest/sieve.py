"""Filtering of a source's rows into data/reviews.csv and the quarantine file."""

import csv
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.core.errors import PipelineError
from pipelines.ingest.labels import MAX_REFUSED, LabelledReview, Rejected, Row, enough

DUPLICATE = "the same text as an earlier review"


class Sieve:
    """Passes each text once and writes duplicates and rejected rows to the quarantine, with the reason."""

    def __init__(self, quarantine: Path, max_refused: float = MAX_REFUSED) -> None:
        """Take the path of the quarantine, and the share of all rows that may be refused."""
        self._quarantine = quarantine
        self._max_refused = max_refused
        self._reasons: Counter[str] = Counter()
        self.read = self.duplicates = 0

    @property
    def refused(self) -> int:
        """The number of rows that were rejected; duplicates are none of them."""
        return self._reasons.total()

    def sift(self, rows: Iterable[Row]) -> Iterator[LabelledReview]:
        """Yield the accepted reviews.

        Raises PipelineError at the end if too many rows were refused, or unless both labels occurred.
        """
        seen: set[bytes] = set()  # 16 bytes per text, to bound memory
        labels: set[int] = set()
        self._quarantine.parent.mkdir(parents=True, exist_ok=True)
        with self._quarantine.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Rejected._fields)
            for row in rows:
                self.read += 1
                if isinstance(row, Rejected):
                    self._reasons[row.reason] += 1
                    writer.writerow(row._replace(text=row.text[:200]))
                    continue
                key = hashlib.blake2b(row.text.encode(), digest_size=16).digest()
                if key in seen:
                    self.duplicates += 1
                    writer.writerow(Rejected(row.review_id, DUPLICATE, row.text[:200]))
                    continue
                seen.add(key)
                labels.add(row.label)
                yield row
        if self.read and self.refused / self.read > self._max_refused:
            raise PipelineError(self._explain())
        if len(labels) < 2:
            raise PipelineError(
                f"{len(seen):,} of {self.read:,} rows are labelled reviews, but both labels must occur:"
                f" see {self._quarantine}. data/ is unchanged."
            )

    def _explain(self) -> str:
        share = self.refused / self.read
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in self._reasons.most_common(3))
        more = "; ..." if len(self._reasons) > 3 else ""
        return (
            f"{self.refused:,} of {self.read:,} rows ({share:.1%}) were refused, and --max-refused allows"
            f" {self._max_refused:g}: {reasons}{more}. They are in {self._quarantine}. Correct the source, or"
            f" leave them out with --max-refused {enough(share)}. data/ is unchanged."
        )


def write(reviews: Iterable[LabelledReview], folder: Path) -> int:
    """Write `folder`/reviews.csv and return its number of rows.

    The file is written to a temporary folder that then replaces `folder`, so an error changes nothing.
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
    """Replace `folder` with `new` in two renames; a folder cannot be renamed over a non-empty one."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name(f"{new.name}-old")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)
