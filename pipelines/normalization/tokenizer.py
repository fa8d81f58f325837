"""The normalizer of every tokenizer in the pipeline: what serving reads is what training has read.

It is part of tokenizer.json, so every form of the model has it.
"""

from functools import cache

from tokenizers import Tokenizer
from tokenizers.normalizers import Normalizer, Prepend, Replace, Sequence

from pipelines.normalization import emoji, markup, ratings

LAST_RULE = Replace(emoji.MARK, "")
"""Changes nothing, since no mark is left. The tokenizer's own normalizer follows it."""


@cache
def cleaner() -> Normalizer:
    """Return the rules of `markup`."""
    return Sequence([*markup.rules()])


def clean(text: str) -> str:
    """Return one line of plain text, without markup and invisible characters.

    A tokenizer with `normalize` gives the same tokens for it as for the text itself.
    """
    cleaned: str = cleaner().normalize_str(text)
    return cleaned


def normalize(tokenizer: Tokenizer) -> None:
    """Put the rules before the tokenizer's own normalizer, in place of the rules of an earlier training."""
    # An empty match at the start of a text makes tokenizers 0.23 panic: after the space there is none.
    rules = [*markup.rules(), Prepend(" "), *emoji.rules(), *ratings.rules(), LAST_RULE]
    tokenizer.normalizer = Sequence([*rules, *own_normalizers(tokenizer.normalizer)])


def own_normalizers(normalizer: Normalizer | None) -> list[Normalizer]:
    """Return the parts of a tokenizer's normalizer that are not ours."""
    if normalizer is None:
        return []
    if not isinstance(normalizer, Sequence):
        return [normalizer]
    parts = [normalizer[number] for number in range(len(normalizer))]
    ours = [number for number, part in enumerate(parts) if part.__getstate__() == LAST_RULE.__getstate__()]
    return parts[ours[-1] + 1 :] if ours else parts
