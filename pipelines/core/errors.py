"""What a stage says when it cannot go on: one line that names the cause and the way out."""

import sys
from collections.abc import Callable


class PipelineError(Exception):
    """Something the person running the stage can put right; the message says how."""


def run_stage(stage: Callable[[], None]) -> None:
    """Run a stage as a command: a PipelineError or Ctrl-C ends it with a line instead of a trace."""
    try:
        stage()
    except PipelineError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again; finished stages are kept")
