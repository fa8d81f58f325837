"""Make a registered version the champion, the one that is served: python -m bentos.sentiment.promote."""

import argparse
import sys

from bentos.sentiment import registry
from bentos.sentiment.promotion import commands
from bentos.sentiment.promotion.aliases import aliased, find
from bentos.sentiment.promotion.errors import EXIT_CODES, PromotionError
from bentos.sentiment.promotion.report import Report
from bentos.sentiment.registry import MODEL, RegistryError
from bentos.sentiment.settings import Settings

LONGEST_REASON = 500
SHOWN = 20


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
        description=f"Make a version of the registered model '{MODEL}' the champion, the one that is served,"
        " if it passes every gate. The champion until now becomes 'previous'.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--alias", help="promote the version under this alias, such as challenger or previous")
    what.add_argument("--version", metavar="N", help="promote the version of this number")
    what.add_argument(
        "--rollback", action="store_true", help="swap champion and previous, at once: no gate is asked"
    )
    what.add_argument("--status", action="store_true", help="show who is what, and change nothing")
    what.add_argument(
        "--history",
        metavar="N",
        nargs="?",
        type=int,
        const=SHOWN,
        help=f"show the last N promotions, rollbacks and refusals; default {SHOWN}",
    )
    parser.add_argument("--dry-run", action="store_true", help="judge everything, and change nothing")
    parser.add_argument("--force", action="store_true", help="go past the gates; the history says which")
    parser.add_argument("--reason", default="", help="why; kept on the version and in the history")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, refused or not")
    options = parser.parse_args(arguments)
    check(parser, options)
    return options


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with usage where the options make no sense together."""
    options.reason = " ".join(options.reason.split())
    if len(options.reason) > LONGEST_REASON:
        parser.error(f"--reason has {len(options.reason)} characters, {LONGEST_REASON} are allowed")
    if options.history is not None and options.history < 1:
        parser.error(f"--history {options.history}: from 1")
    if options.status or options.history is not None:
        for name in ("dry_run", "force", "reason"):
            if getattr(options, name):
                parser.error(f"--{name.replace('_', '-')} goes with --alias, --version or --rollback only")
    if options.rollback and options.force:
        parser.error("--rollback asks no gate, so there is nothing to --force")


def run(options: argparse.Namespace, settings: Settings) -> Report:
    """Raises PromotionError, and RegistryError when MLflow does not answer."""
    client = registry.connect(settings)
    from mlflow.exceptions import MlflowException

    try:
        if options.history is not None:
            return commands.history_of(client, options.history)
        now = aliased(client)
        if options.status:
            return commands.status(now)
        asked = commands.Asked(options.reason, options.dry_run, options.force)
        if options.rollback:
            return commands.roll_back(client, now, asked, settings)
        candidate = find(client, options.alias, options.version)
        return commands.promote(client, now, candidate, asked, settings)
    except MlflowException as error:
        raise registry.unreachable(settings, error) from error


if __name__ == "__main__":
    sys.exit(main())
