"""Golden texts: a version must answer them as it did when it was registered."""

from collections.abc import Iterator, Mapping

from bentos.sentiment.engine import Engine

TOLERANCE = 0.2
"""Maximum difference of a probability. int8 differs by up to 0.016 between processors with and without VNNI,
and by up to 0.07 from fp32; labels in another order, or another tokenizer, differ by far more."""


def objections(engine: Engine, golden: Mapping[str, float]) -> Iterator[str]:
    """Yield the texts that the engine answers otherwise."""
    texts = list(golden)
    if not texts:
        return
    positive = engine.labels.index("positive")
    for text, found in zip(texts, engine.probabilities(texts)[:, positive], strict=True):
        if not abs(found - golden[text]) <= TOLERANCE:  # a NaN is no answer either
            yield f"{text!r} is positive with probability {found:.2f}, but {golden[text]:.2f} was registered"
