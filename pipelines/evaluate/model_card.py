"""The model card in Hugging Face's format, filled with params and measurements."""

from pipelines.evaluate.findings import Findings
from pipelines.evaluate.report import NAMES
from pipelines.reports.pages import environment


def card(found: Findings) -> str:
    """Render the card as Markdown with YAML front matter."""
    training = {
        name.removeprefix("train."): value
        for name, value in sorted(found.trained.params.items())
        if name.startswith(("train.", "seed"))
    }
    return (
        environment("pipelines.evaluate")
        .get_template("model_card.md")
        .render(found=found, names=NAMES, training=training, trained=found.trained)
    )
