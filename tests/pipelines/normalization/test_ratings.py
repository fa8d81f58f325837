import pytest
from tokenizers import Tokenizer

from pipelines.normalization.emoji import WORDS as EMOJI
from pipelines.normalization.ratings import WORDS

RATINGS = {
    "terrible": [
        *("0/10", "a 1 / 10.", "2.5/10", "(2 out of 10)", "1/5", "0,5/5", "5/100", "1 out of 4 stars"),
        *("1 star", "0 stars", "Zero stars!", "half a star", "One out of ten", "★☆☆☆☆", "★"),
    ],
    "bad": ["3/10", "4.9/10", "2/5", "30/100", "two out of five", "2 stars", "★★☆☆☆", "⭐⭐"],
    "good": [
        "7/10",
        "8.5/10!",
        "3.5/5",
        "4/5",
        "70/100",
        "eight out of ten",
        "4 stars",
        "3/4 stars",
        "★★★★☆",
    ],
    "excellent": [
        "9/10",
        "10/10",
        "5/5",
        "5 stars out of 5",
        "95/100",
        "3.5 out of 4",
        "Five stars",
        "★★★★★",
    ],
}
NO_RATINGS = [
    *(
        "9/11",
        "24/7",
        "3/10/2004",
        "10/10/2004",
        "2004/10",
        "1/2 hour",
        "3/4 of the film",
        "4/5 of it",
        "1/100th",
    ),
    *("9 out of 10 people", "nine times out of ten", "the two stars", "one star", "out of 5 stars", "50/50"),
    *("5/10", "6.5 out of 10", "3/5", "2.5 / 5", "★★★☆☆", "50/100", "three stars", "1.2/3", "route 7/100a"),
]


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return the words that the rules add."""
    return [token for token in tokenizer.encode(text).tokens if token in {*WORDS, *EMOJI}]


@pytest.mark.parametrize(
    ("rating", "word"), [(rating, word) for word, ratings in RATINGS.items() for rating in ratings]
)
def test_a_rating_gets_a_word_and_is_kept(tokenizer: Tokenizer, rating: str, word: str) -> None:
    assert words(tokenizer, rating) == [word]
    assert words(tokenizer, f"I give it {rating} because I can.") == [word]
    kept = [token for token in tokenizer.encode(rating).tokens[1:-1] if token != word]
    assert "".join(kept).replace("##", "").replace("[UNK]", "⭐⭐") == "".join(rating.lower().split())


@pytest.mark.parametrize("text", NO_RATINGS)
def test_what_is_no_clear_rating_gets_no_word(tokenizer: Tokenizer, text: str) -> None:
    assert words(tokenizer, text) == []
    assert words(tokenizer, f"He saw {text} then.") == []


def test_several_ratings_get_a_word_each(tokenizer: Tokenizer) -> None:
    assert words(tokenizer, "Plot 2/10, acting 9/10.") == ["terrible", "excellent"]


@pytest.mark.parametrize(("word", "characters"), EMOJI.items())
def test_an_emoji_becomes_its_word(tokenizer: Tokenizer, word: str, characters: str) -> None:
    assert {tuple(tokenizer.encode(one).tokens[1:-1]) for one in characters} == {(word,)}
    assert words(tokenizer, f"{characters}\ufe0f film{characters[0]}") == [word, word]


def test_at_most_eight_emoji_in_a_row_are_read(tokenizer: Tokenizer) -> None:
    assert words(tokenizer, "😡💩" * 10_000) == ["angry", "awful"] * 4


def test_no_emoji_has_two_words() -> None:
    characters = "".join(EMOJI.values())
    assert len({*characters}) == len(characters)
