"""Read texts with the exported model, in a process of its own.

`evaluate` runs it with oneDNN limited to older instructions, which a process cannot change once it has begun.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from pipelines.served_form.classifier import probabilities


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.served_form", description=__doc__)
    parser.add_argument("folder", type=Path, help="the exported model")
    parser.add_argument("texts", type=Path, help="JSON: a list of texts")
    parser.add_argument("output", type=Path, help="probabilities of being positive, as .npy [texts]")
    options = parser.parse_args()
    np.save(options.output, probabilities(options.folder, json.loads(options.texts.read_text())))


if __name__ == "__main__":
    main()
