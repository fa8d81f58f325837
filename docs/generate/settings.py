"""The page of settings: every variable of the pydantic models, explained as in .env.example."""

import re
from pathlib import Path
from typing import NamedTuple

from pydantic import AliasChoices
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from api.settings import Settings as ApiSettings
from bentos.sentiment.settings import ROOT
from bentos.sentiment.settings import Settings as BentoSettings
from deploy.local.settings import Settings as LocalSettings
from docs.generate.limits import limits
from docs.generate.markdown import WIDE, code, table
from docs.generate.markdown import page as markdown_page

MODELS: dict[str, type[BaseSettings]] = {
    "The API and its worker": ApiSettings,
    "The Bento and promotion": BentoSettings,
    "The local stack": LocalSettings,
}


class Example(NamedTuple):
    """A line of .env.example."""

    section: str
    value: str
    comment: str


def examples(text: str) -> dict[str, Example]:
    """The variables of .env.example; a comment explains the variables below it, up to the next comment."""
    found: dict[str, Example] = {}
    section, comment, complete = "", "", False
    for line in text.splitlines():
        if title := re.fullmatch(r"# --- (.+?) -+", line):
            section, comment, complete = title[1], "", False
        elif line.startswith("#"):
            comment = f"{'' if complete else comment} {line[1:].strip()}".strip()
            complete = False
        elif variable := re.fullmatch(r"(\w+)=(.*)", line):
            found[variable[1]] = Example(section, variable[2], comment)
            complete = True
    return found


def variable(model: type[BaseSettings], name: str) -> str:
    """The environment variable that sets a field."""
    alias = model.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"{model.model_config.get('env_prefix', '')}{name}".upper()


def default(model: type[BaseSettings], name: str) -> str:
    value = model.model_fields[name].default
    if value is PydanticUndefined:
        return "required"
    return code(str(value).lower() if isinstance(value, bool) else str(value).replace(str(ROOT), "PROJECT"))


def rows(model: type[BaseSettings], explained: dict[str, Example]) -> list[tuple[str, str, str, str]]:
    """Variable, type and limits, default and meaning of each field."""
    found = []
    for name, field in model.model_fields.items():
        setting = variable(model, name)
        example = explained.get(setting)
        meaning = field.description or (example.comment if example else "")
        found.append((code(setting), limits(field), default(model, name), meaning))
    return found


def page(example: Path) -> str:
    explained = examples(example.read_text(encoding="utf-8"))
    parts, shown = [], set()
    for title, model in MODELS.items():
        lines = rows(model, explained)
        shown |= {line[0].strip("`") for line in lines}
        parts += [f"## {title}", table(("Variable", "Type and limits", "Default", "Meaning"), lines)]
    others = [
        (code(name), code(one.value), one.comment) for name, one in explained.items() if name not in shown
    ]
    parts += [
        "## Containers and everything else in `.env`",
        table(("Variable", "Value in .env.example", "Meaning"), others),
    ]
    return WIDE + markdown_page(
        "Settings",
        "the settings classes of `api`, `bentos` and `deploy`, and from `.env.example`",
        "Every setting is an environment variable. The environment overrides the same line in `.env`, and an "
        "empty value means the default.",
        *parts,
    )
