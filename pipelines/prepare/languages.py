"""The languages of the reviews, as far as a text is long enough to tell."""

from collections.abc import Iterator, Sequence

from py3langid.langid import MODEL_FILE, LanguageIdentifier
from tqdm import tqdm

ENGLISH = "en"
LEAST_WORDS = 5
MOST_ENGLISH = 0.01
"""The probability of English below which a text is called foreign: names and titles in it mislead."""


def foreign(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the position and the ISO 639 code of each text that is not English."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    for position, text in enumerate(tqdm(texts, "languages", unit=" reviews", disable=None)):
        if len(text.split()) >= LEAST_WORDS:
            ranked = identifier.rank(text)
            if dict(ranked)[ENGLISH] < MOST_ENGLISH:
                yield position, ranked[0][0]
