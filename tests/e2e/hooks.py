"""Hooks for schemathesis, which loads this module by its name in SCHEMATHESIS_HOOKS."""

from typing import Any

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Drop generated cursors from valid requests: only a cursor from an earlier page is valid."""
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        case.query.pop("cursor", None)
