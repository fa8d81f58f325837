"""What schemathesis must be told of our API: it loads this file by its name (SCHEMATHESIS_HOOKS)."""

from typing import Any

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """A cursor is good only as a page gave it, which a schema cannot say: none is made up as a valid one."""
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        case.query.pop("cursor", None)
