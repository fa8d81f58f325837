"""The few pieces of Markdown that the generated pages consist of."""

from collections.abc import Iterable, Sequence

WIDE = "---\nhide: [toc]\n---\n\n"
"""Put before a page of wide tables, it leaves their column the room of the table of contents."""


def page(title: str, source: str, *parts: str) -> str:
    """A page with its title, the note that it is generated from `source`, and its parts."""
    note = f"*Generated from {source}. Do not edit this page; edit its source.*"
    return "\n\n".join((f"# {title}", note, *parts)) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; pipes and line breaks in a cell are escaped."""
    lines = [head, ["---"] * len(head), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Inline code, or nothing for an empty text."""
    return f"`{text}`" if str(text) else ""


def block(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"
