"""The data report: what a data scientist wants to know about the reviews before training on them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from pipelines.prepare.languages import foreign
from pipelines.prepare.near_duplicates import near_duplicates
from pipelines.prepare.word_model import examine
from pipelines.reports.figures import BLUE, GREY, INK, RED, axes
from pipelines.reports.pages import environment, inline, rows

SHOWN = 200
COLOURS = {"train": BLUE, "calibration": GREY, "validation": RED, "test": INK}


@dataclass(frozen=True)
class DataFindings:
    """`pairs`, `other_languages` and `doubted` are tables, with the most striking rows first."""

    pairs: pd.DataFrame
    other_languages: pd.DataFrame
    doubted: pd.DataFrame
    word_model_accuracy: float

    @property
    def leaks(self) -> int:
        """The number of pairs of similar texts in two different parts."""
        return int((self.pairs["part"] != self.pairs["other_part"]).sum())

    @property
    def languages(self) -> dict[str, int]:
        """The number of reviews by language code, most frequent first, without English."""
        return dict(Counter(self.other_languages["language"]).most_common())

    @property
    def figures(self) -> dict[str, float]:
        """The figures for the stage's summary."""
        return {
            "near_duplicates": len(self.pairs),
            "near_duplicates_across_parts": self.leaks,
            "other_languages": len(self.other_languages),
            "doubted_labels": len(self.doubted),
            "word_model_accuracy": round(self.word_model_accuracy, 4),
        }


def inspect(parts: Mapping[str, pd.DataFrame], seed: int) -> DataFindings:
    """Examine the parts; labels are doubted in `train` only, and no other part's labels are listed."""
    reviews = pd.concat(parts, names=["part"]).reset_index(level="part").reset_index(drop=True)
    words = examine(parts["train"], parts["validation"], seed)
    return DataFindings(
        pairs=pairs(reviews),
        other_languages=other_languages(reviews),
        doubted=parts["train"].iloc[words.doubted],
        word_model_accuracy=words.accuracy,
    )


def pairs(reviews: pd.DataFrame) -> pd.DataFrame:
    """Return the near duplicates; those in two different parts come first."""
    found = near_duplicates(reviews["text"].tolist())
    first = reviews.iloc[[pair.first for pair in found]].reset_index(drop=True)
    second = reviews.iloc[[pair.second for pair in found]].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "similarity": [pair.similarity for pair in found],
            "part": first["part"],
            "other_part": second["part"],
            "label": first["label"],
            "other_label": second["label"],
            "text": first["text"],
            "other_text": second["text"],
        }
    )
    apart = (table["part"] != table["other_part"]).to_numpy()
    return table.iloc[np.argsort(~apart, kind="stable")]


def other_languages(reviews: pd.DataFrame) -> pd.DataFrame:
    """Return the reviews that are not English, with the column `language`."""
    found = dict(foreign(reviews["text"].tolist()))
    return reviews.iloc[list(found)].assign(language=list(found.values()))


def lengths(parts: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot the distribution of the reviews' words in each part."""
    figure, plot = axes(10.3, 3.4)
    words = {name: part["text"].map(lambda text: len(text.split())) for name, part in parts.items()}
    longest = max(int(count.max()) for count in words.values())
    bins = np.geomspace(1, longest + 1, 50).tolist()
    for name, count in words.items():
        share = np.full(len(count), 1 / len(count))
        label = f"{name}: median {count.median():.0f}, longest {count.max():,}"
        plot.hist(count, bins, weights=share, histtype="step", color=COLOURS[name], label=label)
    plot.set_xscale("log")
    plot.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    plot.set(xlabel="words in a review", ylabel="share of the part")
    plot.legend(frameon=False, fontsize=9)
    return figure


def page(
    parts: Mapping[str, pd.DataFrame], summary: Mapping[str, object], found: DataFindings, title: str
) -> str:
    """Render the report as HTML."""
    return (
        environment("pipelines.prepare")
        .get_template("data_report.html")
        .render(
            title=title,
            parts=summary,
            found=found,
            lengths=inline(lengths(parts)),
            pairs=rows(found.pairs.head(SHOWN), ["similarity", "part", "other_part", "text", "other_text"]),
            foreign=rows(
                found.other_languages.head(SHOWN), ["language", "part", "label", "movie_id", "text"]
            ),
            doubted=rows(found.doubted.head(SHOWN), ["label", "movie_id", "review_id", "text"]),
        )
    )
