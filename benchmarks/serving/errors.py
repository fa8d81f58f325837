"""What ends the benchmark, in one line and with the way out."""


class BenchmarkError(Exception):
    """What is missing or wrong, and what to do about it."""
