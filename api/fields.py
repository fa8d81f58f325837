"""Validated types of single fields, and their examples in the OpenAPI document."""

import re
import unicodedata
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Strict, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

MOVIE_ID_EXAMPLE = "tt0453418"
TEXT_EXAMPLE = "Warm, funny and beautifully shot."

# Characters that show nothing: white space, controls, Unicode's Default_Ignorable_Code_Point, and the blank
# pattern of Braille.
_INVISIBLE = (
    r"\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_VISIBLE_CHARACTER = re.compile(f"[^{_INVISIBLE}]")
# With these, an author could reverse the text beside the name: embeddings, overrides and isolates.
_BIDIRECTIONAL = r"\u202a-\u202e\u2066-\u2069"
_BIDIRECTIONAL_CHARACTER = re.compile(f"[{_BIDIRECTIONAL}]")

# The JSON Schema equivalents of the validators: a text has a visible character; an author is also a single
# line of at most 100 characters.
WITHOUT_NUL = rf"^[^\u0000]*[^{_INVISIBLE}][^\u0000]*$"
_EDGE = r"[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
_CONTROL = rf"\u0000-\u001f\u007f-\u009f\u2028\u2029{_BIDIRECTIONAL}"
ONE_LINE = rf"^(?=.*[^{_INVISIBLE}]){_EDGE}[^{_CONTROL}\s]([^{_CONTROL}]{{0,98}}[^{_CONTROL}\s])?{_EDGE}$"


def _as_integer(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "String should not contain NUL characters")
    return value


def _visible(value: str) -> str:
    if _VISIBLE_CHARACTER.search(value) is None:
        raise PydanticCustomError("invisible", "String should have at least one visible character")
    return value


def _one_line(value: str) -> str:
    if _BIDIRECTIONAL_CHARACTER.search(value):
        raise PydanticCustomError(
            "bidirectional_control", "String should not override the direction of writing"
        )
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise PydanticCustomError("control_character", "String should be one line without control characters")
    return value


MovieId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Author = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_visible),
    AfterValidator(_one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE}),
]
ReviewText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000),
    AfterValidator(_without_nul),
    AfterValidator(_visible),
    WithJsonSchema({"type": "string", "maxLength": 20_000, "pattern": WITHOUT_NUL}),
]
# JSON does not distinguish 9.0 from 9, so 9.0 is accepted. "9" and true are not.
Rating = Annotated[int, Strict(), Ge(1), Le(10), BeforeValidator(_as_integer)]
