"""The model card, in the shape that Hugging Face gave it, filled with what was measured or set."""

from pipelines.evaluate.findings import Findings
from pipelines.evaluate.report import NAMES, environment


def card(found: Findings) -> str:
    """The card as Markdown, its metadata in front as YAML."""
    training = {
        name.removeprefix("train."): value
        for name, value in sorted(found.origin.params.items())
        if name.startswith(("train.", "seed"))
    }
    return (
        environment()
        .get_template("model_card.md")
        .render(found=found, names=NAMES, training=training, origin=found.origin)
    )
