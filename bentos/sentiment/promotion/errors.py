"""The error of a promotion, and the exit codes of the command."""

EXIT_CODES = """exit codes:
  0  promoted or rolled back, or already champion; with --dry-run: would be
  2  invalid arguments
  3  MLflow is unreachable
  4  no such version or alias; --rollback: no previous champion
  5  refused by a gate: accuracy below the champion's, failed behavioural test, accuracy lost in export,
     schema, latency or size (--force overrides)
  6  a gate cannot judge, because a tag, metric or file is missing or unreadable (--force overrides, except
     for the tags weights_sha256 and accuracy: without them the version is not from the pipeline)
  7  another promotion or rollback held the lock until the timeout
  8  the champion changed while this version was judged"""


class PromotionError(Exception):
    """Why a version is not promoted, in one line, with the exit code."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
