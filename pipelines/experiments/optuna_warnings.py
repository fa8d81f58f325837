"""Optuna's warnings about experimental features, which this project uses with a pinned version."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import ExperimentalWarning


@contextmanager
def ignore_experimental() -> Iterator[None]:
    """Suppress the warnings for the duration of a block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
