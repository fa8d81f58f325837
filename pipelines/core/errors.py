"""Errors of the pipeline's stages, reported as one line that names the cause and the fix."""

import sys
from collections.abc import Callable


class PipelineError(Exception):
    """An error that the user can fix; the message says how."""


def run_stage(stage: Callable[[], None]) -> None:
    """Run a stage as a command; PipelineError and Ctrl-C exit with a message instead of a traceback."""
    try:
        stage()
    except PipelineError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to resume; finished stages are kept")
