"""The page of training parameters: params.yaml and its comments, with the limits that pydantic checks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generate.limits import limits
from docs.generate.markdown import WIDE, block, code, table
from docs.generate.markdown import page as markdown_page
from pipelines.core.params import Params

LINE = re.compile(r"(?P<indent> *)(?P<name>\w+):(?: +(?P<value>[^#\s][^#]*?))?(?: +# *(?P<comment>.*))?")


class Line(NamedTuple):
    """A parameter of params.yaml."""

    path: str
    value: str
    comment: str


def lines(text: str) -> Iterator[Line]:
    """Each line of a YAML file of nested mappings, with the path of its key."""
    path: list[str] = []
    for match in filter(None, map(LINE.fullmatch, text.splitlines())):
        path[len(match["indent"]) // 2 :] = [match["name"]]
        yield Line(".".join(path), match["value"] or "", match["comment"] or "")


def field(model: type[BaseModel], path: str) -> FieldInfo:
    """The field of `model` that a path such as `train.epochs` names. Raises KeyError."""
    name, _, rest = path.partition(".")
    fields = {found.alias or key: found for key, found in model.model_fields.items()}
    if not rest:
        return fields[name]
    section = fields[name].annotation
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        raise KeyError(path)
    return field(section, rest)


def row(line: Line) -> tuple[str, str, str, str]:
    return code(line.path), limits(field(Params, line.path)), code(line.value), line.comment


def page(params: Path, sweep: Path) -> str:
    found = [line for line in lines(params.read_text(encoding="utf-8")) if line.value]
    sections = dict.fromkeys(line.path.partition(".")[0] for line in found)
    parts = []
    for section in sections:
        own = [row(line) for line in found if line.path.partition(".")[0] == section]
        parts += [f"## `{section}`", table(("Parameter", "Type and limits", "Value", "Meaning"), own)]
    return WIDE + markdown_page(
        "Training parameters",
        "`params.yaml` and the classes that check it",
        "Change a parameter in `params.yaml`, or for one experiment with `dvc exp run -S train.epochs=3`. "
        "Unknown keys and values outside their limits are refused.",
        *parts,
        "## The sweep",
        "`sweep.yaml` holds the search space of `make sweep`:",
        block(sweep.read_text(encoding="utf-8"), "yaml"),
    )
