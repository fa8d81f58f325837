"""Validated types of single fields, and their examples in the OpenAPI document."""

import unicodedata
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Strict, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

MOVIE_ID_EXAMPLE = "tt0453418"
TEXT_EXAMPLE = "Warm, funny and beautifully shot."

# The JSON Schema equivalents of the validators: a text is not empty after trimming; an author is also a
# single line of at most 100 characters.
WITHOUT_NUL = r"^[^\u0000]*[^\u0000\s][^\u0000]*$"
_EDGE = r"[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
ONE_LINE = rf"^{_EDGE}[^{_CONTROL}\s]([^{_CONTROL}]{{0,98}}[^{_CONTROL}\s])?{_EDGE}$"


def _as_integer(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "String should not contain NUL characters")
    return value


def _one_line(value: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise PydanticCustomError("control_character", "String should be one line without control characters")
    return value


MovieId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Author = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE}),
]
ReviewText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000),
    AfterValidator(_without_nul),
    WithJsonSchema({"type": "string", "maxLength": 20_000, "pattern": WITHOUT_NUL}),
]
# JSON does not distinguish 9.0 from 9, so 9.0 is accepted. "9" and true are not.
Rating = Annotated[int, Strict(), Ge(1), Le(10), BeforeValidator(_as_integer)]
