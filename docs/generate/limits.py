"""Types and limits of pydantic fields, in words."""

from types import NoneType
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

SYMBOLS = {
    "gt": "> ",
    "ge": "≥ ",
    "lt": "< ",
    "le": "≤ ",
    "min_length": "length ≥ ",
    "max_length": "length ≤ ",
}


def kind(annotation: object) -> str:
    """The name of a field's type, or the values that a Literal allows."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin and arguments and NoneType not in arguments:
        return f"{origin.__name__} of {', '.join(map(kind, arguments))}"
    return getattr(annotation, "__name__", str(annotation))


def limits(field: FieldInfo) -> str:
    """Type and limits of a field, such as `int, ≥ 1`."""
    found = [
        f"{symbol}{getattr(constraint, name)}"
        for constraint in field.metadata
        for name, symbol in SYMBOLS.items()
        if getattr(constraint, name, None) is not None
    ]
    return ", ".join([kind(field.annotation), *found])
