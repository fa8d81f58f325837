"""Filtering of a source's rows into data/reviews.csv and the quarantine file."""

import csv
import hashlib
import json
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from pipelines.core.errors import PipelineError
from pipelines.ingest.labels import MAX_REFUSED, LabelledReview, Rejected, Row, enough

DUPLICATE = "the same text as an earlier review"
CONTRADICTION = "the same text has both labels"
_BOTH = 0b11  # the bits of the labels 0 and 1
_PASSED = 0


class Sieve:
    """Passes each text once and writes the other rows to the quarantine, with the reason."""

    def __init__(self, quarantine: Path, max_refused: float = MAX_REFUSED) -> None:
        """Take the path of the quarantine, and the share of all rows that may be refused."""
        self._quarantine = quarantine
        self._max_refused = max_refused
        self._reasons: Counter[str] = Counter()
        self.read = 0

    @property
    def duplicates(self) -> int:
        return self._reasons[DUPLICATE]

    @property
    def refused(self) -> int:
        """The number of rows in the quarantine that are no duplicates."""
        return self._reasons.total() - self.duplicates

    def sift(self, rows: Iterable[Row]) -> Iterator[LabelledReview]:
        """Yield the accepted reviews, in order, after reading all rows.

        Raises PipelineError at the end if too many rows were refused, or unless both labels occurred.
        """
        accepted: Counter[int] = Counter()
        self._quarantine.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._quarantine.open("w", newline="", encoding="utf-8") as file,
            tempfile.TemporaryFile("w+", encoding="ascii", dir=self._quarantine.parent) as waiting,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Rejected._fields)
            for row in self._judged(rows, waiting):
                if isinstance(row, Rejected):
                    self._reasons[row.reason] += 1
                    writer.writerow(row._replace(text=row.text[:200]))
                else:
                    accepted[row.label] += 1
                    yield row
        if self.read and self.refused / self.read > self._max_refused:
            raise PipelineError(self._explain())
        if len(accepted) < 2:
            raise PipelineError(
                f"{accepted.total():,} of {self.read:,} rows are labelled reviews, but both labels must"
                f" occur: see {self._quarantine}. data/ is unchanged."
            )

    def _judged(self, rows: Iterable[Row], waiting: TextIO) -> Iterator[Row]:
        """Yield each row when it is known to be rejected or accepted.

        Any row may contradict an earlier one, so reviews wait in a file; memory holds 16 bytes per text.
        """
        labels: defaultdict[bytes, int] = defaultdict(int)
        for row in rows:
            self.read += 1
            if isinstance(row, Rejected):
                yield row
            else:
                labels[digest(row.text)] |= 1 << row.label
                waiting.write(json.dumps(row) + "\n")
        waiting.seek(0)
        for line in waiting:
            review = LabelledReview(*json.loads(line))
            text = digest(review.text)
            if labels[text] == _BOTH:
                yield Rejected(review.review_id, CONTRADICTION, review.text)
            elif labels[text] == _PASSED:
                yield Rejected(review.review_id, DUPLICATE, review.text)
            else:
                labels[text] = _PASSED
                yield review

    def _explain(self) -> str:
        share = self.refused / self.read
        refusals = [(why, count) for why, count in self._reasons.most_common() if why != DUPLICATE]
        reasons = "; ".join(f"{why} ({count:,})" for why, count in refusals[:3])
        more = "; ..." if len(refusals) > 3 else ""
        return (
            f"{self.refused:,} of {self.read:,} rows ({share:.1%}) were refused, and --max-refused allows"
            f" {self._max_refused:g}: {reasons}{more}. They are in {self._quarantine}. Correct the source, or"
            f" leave them out with --max-refused {enough(share)}. data/ is unchanged."
        )


def digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


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
