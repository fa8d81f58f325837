"""Ratings such as 2/10, "four out of five" or ★☆☆☆☆, with a word beside them that says the same.

A model that has seen few ratings in training does not know the numbers, but it knows the words. The rating
itself is kept for a model that has. Ratings near the middle of their scale get no word. Fractions ("3/4 of
the film"), dates, "9/11", "24/7", "nine out of ten people" and "the two stars" are not ratings.
"""

from collections.abc import Iterable, Iterator

from tokenizers import Regex
from tokenizers.normalizers import Normalizer, Replace

from pipelines.normalization.emoji import MARK

WORDS = ("terrible", "bad", "good", "excellent")
"""One per column of the tables below."""

DECIMALS = "(?:[.,][0-9]+)?"
LOWER_HALF, UPPER_HALF = "(?:[.,][0-4][0-9]*)?", "[.,][5-9][0-9]*"

SCALES = {
    "10": (f"[0-2]{DECIMALS}", f"[34]{DECIMALS}", f"[78]{DECIMALS}", f"9{DECIMALS}|1[01]"),
    "5": (f"[01]{DECIMALS}", f"2{LOWER_HALF}", f"3{UPPER_HALF}|4{LOWER_HALF}", f"4{UPPER_HALF}|5"),
    "100": ("1?[0-9]", "[2-4][0-9]", "6[5-9]|7[0-9]|8[0-4]", "8[5-9]|9[0-9]|100"),
    # "3/4" without stars is a fraction more often than a rating.
    "(?:4 stars?|(?<=f )4)": (f"[01]{DECIMALS}", f"2{LOWER_HALF}", f"3{LOWER_HALF}", "3[.,]5|4"),
}
STARS = ("[01]", "2", "[478]", "5|9|10")
"""Stars without the end of their scale."""
GLYPHS = ("★(?![★⭐])", "[★⭐]{2}(?![★⭐½])", "[★⭐]{4}(?![★⭐])", "[★⭐]{5}(?![★⭐])")

SPELLED = {
    "(?:10|ten)": ("zero one two", "three four", "seven eight", "nine ten"),
    "(?:5|five)": ("zero one", "two", "four", "five"),
    "(?:4|four)": ("zero one", "two", "three", "four"),
}
SPELLED_STARS = (("zero", "half a"), (), (), ("five",))
"""One to four may as well be actors."""

OUT_OF = " [Oo]ut [Oo]f "
NOT_A_PART = "(?![\\w/]|[.,][0-9]| (?:of|times|people|minutes|critics|viewers|users|movies|films)\\b)"
"""What does not follow a rating."""


def rules() -> Iterator[Normalizer]:
    """Yield the rules."""
    digits = [numbers(column) for column in range(len(WORDS))]
    # That a rating begins with a digit or a star is said first, because it is searched fast.
    yield Replace(Regex(f"(?<![\\w/.,-])(?=[0-9])(?<![Oo]f )(?<!outta )(?<!/ )(?={any_of(digits)})"), MARK)
    yield Replace(Regex(f"(?=★|⭐)(?<![★⭐])(?={any_of(GLYPHS)})"), MARK)
    for column, word in enumerate(WORDS):
        yield Replace(Regex(f"{MARK}(?={any_of([digits[column], GLYPHS[column]])})"), f" {word} ")
        yield Replace(Regex(spelled(column)), f" {word} out of ")
        if stars := SPELLED_STARS[column]:
            yield Replace(Regex(f"(?<={either_case(stars)})(?<!of five) star(?=s?\\b)"), f" {word} star")


def numbers(column: int) -> str:
    """Return a pattern of ratings in digits."""
    between = f"(?: [Ss]tars?{OUT_OF}| ?/ ?|{OUT_OF})"
    scales = [any_of([row[column]]) + between + end for end, row in SCALES.items()]
    alone = f"{any_of([STARS[column]])}[ -][Ss]tars?(?!{OUT_OF})"
    return any_of([*scales, alone]) + NOT_A_PART


def spelled(column: int) -> str:
    """Return a pattern of " out of " in ratings in words."""
    scales = ((either_case(row[column].split()), end) for end, row in SPELLED.items())
    return "|".join(f"(?<={words}) out of (?={end}{NOT_A_PART})" for words, end in scales)


def either_case(words: Iterable[str]) -> str:
    """Return a pattern of the words, capitalised or not."""
    return "|".join(f"[{word[0].upper()}{word[0]}]{word[1:]}" for word in words)


def any_of(patterns: Iterable[str]) -> str:
    """Return a pattern of what matches one of the patterns."""
    return f"(?:{'|'.join(patterns)})"
