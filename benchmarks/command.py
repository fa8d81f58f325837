"""What all benchmark commands share: errors, signals, exit statuses and progress messages."""

import signal
import sys
import time
from collections.abc import Callable

from pipelines.core.errors import PipelineError


class BenchmarkError(Exception):
    """An error that the user can fix; the message says how."""


def run(
    main: Callable[[], int | None], interrupted: str = "all processes are stopped and no results are written"
) -> None:
    """Run a benchmark as a command and exit with the status that it returns.

    BenchmarkError and PipelineError exit with 2 and one line instead of a traceback. SIGINT and SIGTERM exit
    with 130 and the message `interrupted`. Both unwind the stack first, so that every server is stopped.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except (BenchmarkError, PipelineError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {interrupted}", file=sys.stderr)
        sys.exit(130)


def print_progress(line: str) -> None:
    """Print a line with the time of day, at once."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
