"""Make a registered version the champion, which is served: python -m bentos.sentiment.promote."""

import argparse
import sys

from bentos.sentiment import registry
from bentos.sentiment.promotion import commands
from bentos.sentiment.promotion.aliases import aliased, find
from bentos.sentiment.promotion.errors import EXIT_CODES, PromotionError
from bentos.sentiment.promotion.report import Report
from bentos.sentiment.registry import MODEL, RegistryError
from bentos.sentiment.settings import Settings

MAX_REASON_CHARS = 500
DEFAULT_HISTORY = 20


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        report = run(options, Settings())
    except PromotionError as error:
        report = Report("failed", error.exit_code, errors=[str(error)])
    except RegistryError as error:
        report = Report("failed", 3, errors=[str(error)])
    report.show(options.json)
    return report.exit_code


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bentos.sentiment.promote",
        description=f"Make a version of the registered model '{MODEL}' the champion, which is served, if it"
        " passes every gate. The old champion becomes 'previous'.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--alias", help="promote the version with this alias, such as challenger or previous")
    action.add_argument("--version", metavar="N", help="promote the version with this number")
    action.add_argument(
        "--rollback", action="store_true", help="swap champion and previous, without any gate"
    )
    action.add_argument("--status", action="store_true", help="show the version of each alias")
    action.add_argument(
        "--history",
        metavar="N",
        nargs="?",
        type=int,
        const=DEFAULT_HISTORY,
        help=f"show the last N promotions, rollbacks and refusals; default {DEFAULT_HISTORY}",
    )
    parser.add_argument("--dry-run", action="store_true", help="run every gate, but change nothing")
    parser.add_argument("--force", action="store_true", help="override the gates; the history records which")
    parser.add_argument("--reason", default="", help="reason, recorded on the version and in the history")
    parser.add_argument("--json", action="store_true", help="print one JSON object, on failure too")
    options = parser.parse_args(arguments)
    check(parser, options)
    return options


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with a usage error for invalid combinations of options."""
    options.reason = " ".join(options.reason.split())
    if len(options.reason) > MAX_REASON_CHARS:
        parser.error(f"--reason has {len(options.reason)} characters, {MAX_REASON_CHARS} are allowed")
    if options.history is not None and options.history < 1:
        parser.error(f"--history {options.history}: must be at least 1")
    if options.status or options.history is not None:
        for name in ("dry_run", "force", "reason"):
            if getattr(options, name):
                parser.error(f"--{name.replace('_', '-')} requires --alias, --version or --rollback")
    if options.rollback and options.force:
        parser.error("--rollback runs no gates, so --force has no effect: leave it out")


def run(options: argparse.Namespace, settings: Settings) -> Report:
    """Run the chosen command. Raises PromotionError, and RegistryError if MLflow does not answer."""
    client = registry.connect(settings)
    from mlflow.exceptions import MlflowException

    try:
        if options.history is not None:
            return commands.history_of(client, options.history)
        now = aliased(client)
        if options.status:
            return commands.status(now)
        chosen = commands.Options(options.reason, options.dry_run, options.force)
        if options.rollback:
            return commands.roll_back(client, now, chosen, settings)
        candidate = find(client, options.alias, options.version)
        return commands.promote(client, now, candidate, chosen, settings)
    except MlflowException as error:
        raise registry.unreachable(settings, error) from error


if __name__ == "__main__":
    sys.exit(main())
