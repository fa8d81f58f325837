"""What the tags of a registered version say about its files and answers. `register` writes them."""

import json
from collections.abc import Mapping

from bentos.sentiment.registry import RegistryError

SERVED = "serving_sha256"
TRAINED = "model_sha256"
"""Hashes over every file of the served and of the trained form; missing on versions of earlier releases."""
WEIGHTS = "weights_sha256"
TRAINED_WEIGHTS = "trained_sha256"

Tags = Mapping[str, str]


def identity(tags: Tags) -> str:
    """Return the sha256 that identifies the served files, or an empty string."""
    return tags.get(SERVED) or tags.get(WEIGHTS, "")


def golden(tags: Tags) -> dict[str, float]:
    """Return a few texts with their probabilities of being positive. Raises RegistryError."""
    try:
        return {str(text): float(found) for text, found in json.loads(tags.get("golden", "{}")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise RegistryError(f"the tag golden cannot be read ({error}): register the version again") from error
