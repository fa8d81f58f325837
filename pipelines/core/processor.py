"""The name of the processor."""

import platform
from pathlib import Path


def processor() -> str:
    """Return the processor's model name, or the architecture where the system does not tell the model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )
