"""The private parts of BentoML that the service uses: the complete list, and whether this release has them.

If a test here fails after an upgrade of BentoML, adapt the service to what has moved, or take plan B of
docs/decisions/0006-eager-batches.md. It is not in tests/bentos, whose fixtures need private parts themselves.
"""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.project import ROOT

PRIVATE: dict[str, dict[str, tuple[str, ...]]] = {
    "_bentoml_impl.server.app": {
        "ServiceAppFactory": (
            *("__call__", "livez", "metrics", "middlewares", "readyz"),  # overridden
            *("dispatchers", "max_concurrency", "timeout"),
        ),
    },
    "_bentoml_sdk": {"Service": ("apis", "inject_config", "to_asgi")},
    "bentoml._internal.configuration.containers": {
        "BentoMLContainer": ("model_store_dir", "tracing"),
    },
    "bentoml._internal.marshal.dispatcher": {
        "CorkDispatcher": (
            *("controller", "inbound_call", "outbound_call"),  # overridden
            *("_get_inputs", "_queue", "_wake_event", "max_batch_size", "max_latency"),
        ),
        "Job": ("data", "enqueue_time", "future"),
    },
    "bentoml._internal.server.http.traffic": {"MaxConcurrencyMiddleware": (), "TimeoutMiddleware": ()},
}
"""Module, class, and the attributes of it that the service overrides or reads."""


def test_the_list_is_complete() -> None:
    used: dict[str, set[str]] = {}
    for file in (ROOT / "bentos").rglob("*.py"):
        for module, name in imports(file.read_text()):
            if module.startswith(("_bentoml", "bentoml._")):
                used.setdefault(module, set()).add(name)
    assert used == {module: set(classes) for module, classes in PRIVATE.items()}


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Yield each imported module, and the name imported from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, name.name) for name in node.names)
        elif isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
@pytest.mark.parametrize("module", PRIVATE)
def test_this_release_of_bentoml_has_it(module: str) -> None:
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        pytest.fail(f"this release of BentoML has moved {module}: {error}")
    for name, attributes in PRIVATE[module].items():
        assert hasattr(found, name), f"this release of BentoML has moved {module}.{name}"
        missing = [one for one in attributes if not has(getattr(found, name), one)]
        assert not missing, f"this release of BentoML has moved {', '.join(missing)} of {module}.{name}"


def has(found: object, attribute: str) -> bool:
    """Return whether it has the attribute, or sets it in one of its methods."""
    classes = [one for one in getattr(found, "__mro__", ()) if "bentoml" in one.__module__]
    return hasattr(found, attribute) or any(f"self.{attribute}" in inspect.getsource(one) for one in classes)


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
def test_overridden_methods_have_the_same_parameters() -> None:
    from _bentoml_impl.server.app import ServiceAppFactory  # type: ignore[import-untyped]
    from bentoml._internal.marshal.dispatcher import CorkDispatcher

    from bentos.sentiment.server.app import AppFactory
    from bentos.sentiment.server.dispatcher import EagerDispatcher

    for ours, theirs in ((EagerDispatcher, CorkDispatcher), (AppFactory, ServiceAppFactory)):
        overridden = [name for name in vars(ours) if callable(getattr(ours, name)) and hasattr(theirs, name)]
        for name in {*overridden} - {"__init__", "__module__", "__parameters__"}:
            assert parameters(getattr(ours, name)) == parameters(getattr(theirs, name)), name


def parameters(method: object) -> int:
    assert callable(method)
    return len(inspect.signature(method).parameters)
