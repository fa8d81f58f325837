"""Cases of the behavioural tests (CheckList, Ribeiro et al., 2020)."""

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Expected = Literal["same", "lower", "not lower", "not higher", "positive", "negative"]


class Case(NamedTuple):
    """A text, its changed version, and how the probability of being positive may change."""

    text: str
    changed: str
    expected: Expected


PEOPLE = (
    *("Mary Johnson", "John Smith", "Mohammed Khan", "Wei Zhang", "Lakshmi Rao", "Aisha Okafor"),
    *("José García", "Olga Ivanova", "Yuki Tanaka", "Tom O'Brien"),
)
MOVIES = ("Midnight Train", "The Blue Harbour", "Station Nine", "Emma and Paul", "River Street", "The Visit")
ABOUT_PEOPLE = (
    "{} gives a moving performance.",
    "{} is wonderful in the leading role.",
    "A smart, funny script, directed with a light hand by {}.",
    "{} is wasted in a dull role.",
    "Even {} cannot save this tedious mess.",
    "The direction by {} is clumsy and lifeless.",
)
ABOUT_MOVIES = (
    "{} is a delight from beginning to end.",
    "I loved every minute of {}.",
    "{} is a dreary waste of time.",
    "I was bored by {} after ten minutes.",
)

GOOD = ("good", "great", "funny", "moving", "charming", "entertaining", "enjoyable", "clever", "satisfying")
BAD = ("bad", "boring", "dull", "terrible", "tedious", "predictable", "disappointing", "clumsy", "annoying")
NEGATED = (
    ("The movie is {}.", "The movie is not {}."),
    ("This is a {} film.", "This is not a {} film."),
    ("The story is {}.", "The story isn't {}."),
    ("I found it {}.", "I did not find it {}."),
)
STRONGER = (
    ("The movie is {}.", "The movie is very {}."),
    ("The story is {}.", "The story is really {}."),
    ("I found it {}.", "I found it extremely {}."),
)

PLAIN = ("The movie is {}.", "The acting is {}.", "What a {} film!", "It is {} from start to finish.")
PLAINLY_GOOD = ("excellent", "wonderful", "brilliant", "superb", "delightful", "fantastic")
PLAINLY_BAD = ("awful", "terrible", "horrible", "boring", "dreadful", "pathetic")

WITH_EMOJI = ("{}", "{} {}", "The film: {}", "I saw it on Friday with my brother {}")
LIKED = ("👍", "❤️", "😍", "👏", "🔥", "😊", "💯", "🤩")
DISLIKED = ("👎", "😡", "💩", "🤮", "😴", "🙄", "🤬", "🥱")
WITH_RATING = ("{}", "Rating: {}", "I give it {}.", "I saw it on Friday with my brother, {}")
HIGH = (
    "9/10",
    "10/10",
    "8 out of 10",
    "5/5",
    "4/5",
    "5 stars",
    "nine out of ten",
    "★★★★★",
    "★★★★☆",
    "90/100",
)
LOW = ("0/10", "1/10", "3/10", "2 out of 10", "1/5", "1 star", "two out of ten", "★☆☆☆☆", "★★☆☆☆", "20/100")


def names() -> Iterator[Case]:
    """Yield texts in which a person's name or a movie's title is replaced."""
    for templates, fillings in ((ABOUT_PEOPLE, PEOPLE), (ABOUT_MOVIES, MOVIES)):
        for template, (one, other) in itertools.product(templates, itertools.pairwise(fillings)):
            yield Case(template.format(one), template.format(other), "same")


def typos(reviews: Sequence[str], seed: int) -> Iterator[Case]:
    """Yield reviews with two adjacent letters swapped in a word of at least four letters."""
    rng = random.Random(seed)  # noqa: S311  # not for cryptography
    for review in reviews:
        if words := list(re.finditer(r"[A-Za-z]{4,}", review)):
            word = rng.choice(words)
            at = rng.randrange(word.start() + 1, word.end() - 2)
            yield Case(review, f"{review[:at]}{review[at + 1]}{review[at]}{review[at + 2 :]}", "same")


def negation() -> Iterator[Case]:
    """Yield positive sentences and their negations."""
    for (plain, negated), word in itertools.product(NEGATED, GOOD):
        yield Case(plain.format(word), negated.format(word), "lower")


def intensity() -> Iterator[Case]:
    """Yield sentences with an intensifier added, which must not weaken the sentiment."""
    for (plain, stronger), word in itertools.product(STRONGER, (*GOOD, *BAD)):
        yield Case(plain.format(word), stronger.format(word), "not lower" if word in GOOD else "not higher")


def minimum() -> Iterator[Case]:
    """Yield sentences with unmistakable sentiment."""
    return unmistakable(PLAIN, PLAINLY_GOOD, PLAINLY_BAD)


def emoji() -> Iterator[Case]:
    """Yield texts whose sentiment is an emoji's."""
    return unmistakable(WITH_EMOJI, LIKED, DISLIKED)


def ratings() -> Iterator[Case]:
    """Yield texts whose sentiment is a rating's."""
    return unmistakable(WITH_RATING, HIGH, LOW)


def unmistakable(templates: Sequence[str], good: Sequence[str], bad: Sequence[str]) -> Iterator[Case]:
    """Yield each template with each of the fillings, which decide the label."""
    for template, filling in itertools.product(templates, (*good, *bad)):
        text = template.replace("{}", filling)
        yield Case(text, text, "positive" if filling in good else "negative")
