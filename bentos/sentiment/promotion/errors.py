"""Why nothing was promoted, as an exit code and a line."""

EXIT_CODES = """exit codes:
  0  promoted or rolled back, or champion already; with --dry-run: would be
  2  wrong arguments
  3  MLflow is out of reach
  4  no such version or alias; --rollback: no previous
  5  a gate refuses: less accurate than the champion, a failed behavioural test, int8 loss, schema, latency,
     size (--force promotes it nevertheless)
  6  a tag, metric or file is missing or unreadable, so a gate cannot judge (--force promotes it nevertheless,
     but for weights_sha256 and accuracy: such a version does not come from the pipeline)
  7  another promotion or rollback is under way, and did not end in time
  8  the champion changed while this version was judged"""


class PromotionError(Exception):
    """Why a version is not promoted, in one line, and the exit code that says so."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
