"""The data report, on texts with planted faults and on real reviews."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.core.params import load_params
from pipelines.prepare.cleaning import deduplicate, read_reviews
from pipelines.prepare.data_report import inspect, page
from pipelines.prepare.languages import foreign
from pipelines.prepare.near_duplicates import near_duplicates
from pipelines.prepare.splitting import split, summary
from pipelines.prepare.word_model import examine
from tests.project import ROOT

FILM = "A slow and tender film about two sisters who run a hotel by the sea in winter."


def test_near_duplicates_are_found_with_their_similarity() -> None:
    """The second text differs in its last word: of 30 triples, 14 of 15 and 14 of 15 are shared."""
    other = FILM.replace("winter", "summer")
    texts = ["Something else entirely, on another day.", FILM, "Fine.", other, FILM.upper()]
    found = near_duplicates(texts)
    assert [(pair.first, pair.second) for pair in found] == [(1, 4), (1, 3), (3, 4)]
    assert [pair.similarity for pair in found] == pytest.approx([1, 14 / 16, 14 / 16], abs=0.01)


def test_a_common_phrase_makes_no_near_duplicates() -> None:
    phrase = "one of the best films of the year"
    assert near_duplicates([f"{phrase} {number} because of scene {number * 7}" for number in range(50)]) == []


def test_languages_other_than_english_are_named() -> None:
    texts = [
        "A moving portrait of a family in a small town.",
        "Es una de las películas más divertidas del año, y los actores están muy bien en sus papeles.",
        "Ein bewegendes Porträt einer Familie in einer kleinen Stadt.",
        "Amélie",  # too short to tell
    ]
    assert dict(foreign(texts)) == {1: "es", 2: "de"}


@pytest.fixture(scope="module")
def parts(reviews: Path) -> dict[str, pd.DataFrame]:
    """The parts of a quarter of the default data."""
    everything = deduplicate(read_reviews(reviews)).iloc[::4]
    return split(everything, load_params(ROOT / "params.yaml").prepare)


def test_a_flipped_label_is_doubted(parts: dict[str, pd.DataFrame]) -> None:
    """Two plain reviews with the wrong label are among the first fifth of the doubts."""
    plain = pd.DataFrame(
        {
            "review_id": ["plain-praise", "plain-blame"],
            "movie_id": "unknown",
            "text": [
                "A wonderful, moving, funny, brilliant film, one of the best of the year.",
                "A boring, dull, stupid, tedious mess, one of the worst of the year.",
            ],
            "label": [0, 1],
        }
    )
    train = pd.concat([parts["train"], plain], ignore_index=True)
    found = examine(train, parts["validation"], seed=1)
    assert found.accuracy > 0.65
    planted = {len(train) - 2, len(train) - 1}
    assert planted <= set(found.doubted[: len(found.doubted) // 5])


def test_the_report_shows_leaks_languages_and_doubts_and_escapes_texts(
    parts: dict[str, pd.DataFrame],
) -> None:
    foreign = "Une comédie charmante sur une famille qui vit à Paris, avec des acteurs que l'on aime voir"
    script = f"<script>alert(1)</script> {foreign} depuis toujours."
    planted = parts["validation"].iloc[[0]].assign(text=script)
    copied = parts["train"].iloc[[0]].assign(text=script.replace("toujours", "hier"), label=0)
    changed = {
        **parts,
        "train": pd.concat([parts["train"], copied], ignore_index=True),
        "validation": pd.concat([parts["validation"], planted], ignore_index=True),
    }
    found = inspect(changed, seed=1)
    assert found.leaks >= 1
    assert {found.pairs.iloc[0]["part"], found.pairs.iloc[0]["other_part"]} == {"train", "validation"}
    assert found.languages["fr"] >= 2
    assert np.isfinite(list(found.figures.values())).all()
    html = page(changed, summary(changed), found, "some data")
    assert "&lt;script&gt;alert(1)" in html
    assert html.count("<script") == 1
    assert f"pairs of nearly the same text in two parts: {found.leaks:,}" in html
