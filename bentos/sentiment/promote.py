"""Make a registered version the champion, the one that is served: python -m bentos.sentiment.promote."""

import argparse
import math
import sys
from typing import TYPE_CHECKING

from bentos.sentiment import registry
from bentos.sentiment.registry import MODEL, RegistryError
from bentos.sentiment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIASES = ("champion", "previous", "challenger")
EXIT_CODES = """exit codes:
  0  promoted, or champion already
  2  wrong arguments
  3  MLflow is out of reach
  4  no such version or alias
  5  less accurate than the champion (--force promotes it nevertheless)
  6  a tag is missing or unreadable: the version does not come from the pipeline"""

Versions = dict[str, "ModelVersion"]
"""The version under each alias that is set."""


class PromotionError(Exception):
    """Why a version is not promoted, in one line, and the exit code that says so."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    settings = Settings()
    try:
        client = registry.connect(settings)
        from mlflow.exceptions import MlflowException

        try:
            run(client, options)
        except PromotionError as error:
            print(f"promote: {error}", file=sys.stderr)
            return error.exit_code
        except MlflowException as error:
            raise registry.unreachable(settings, error) from error
    except RegistryError as error:
        print(f"promote: {error}", file=sys.stderr)
        return 3
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bentos.sentiment.promote",
        description=f"Make a version of the registered model '{MODEL}' the champion, the one that is served."
        " The champion until now becomes 'previous': to roll back, --alias previous --force.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--alias", help="promote the version under this alias, such as challenger or previous")
    what.add_argument("--version", metavar="N", help="promote the version of this number")
    what.add_argument("--status", action="store_true", help="show who is what, and change nothing")
    parser.add_argument("--force", action="store_true", help="promote even a less accurate version")
    return parser.parse_args(arguments)


def run(client: "MlflowClient", options: argparse.Namespace) -> None:
    before = aliased(client)
    if options.status:
        print_table(["alias", "version"], [[alias, shown(before, alias)] for alias in ALIASES])
        return
    candidate = find(client, options)
    champion = before.get("champion")
    if champion is not None and champion.version == candidate.version:
        print(f"version {candidate.version} is champion already; nothing changes")
        return
    check(candidate, champion, options.force)
    # In this order: between the two calls the champion is still the old one, and running again ends well.
    if champion is not None:
        client.set_registered_model_alias(MODEL, "previous", champion.version)
    client.set_registered_model_alias(MODEL, "champion", candidate.version)
    after = aliased(client)
    print_table(
        ["alias", "before", "after"], [[name, shown(before, name), shown(after, name)] for name in ALIASES]
    )


def aliased(client: "MlflowClient") -> Versions:
    try:
        aliases = client.get_registered_model(MODEL).aliases
    except Exception as error:
        if registry.is_absent(error):
            raise PromotionError(
                4, f"no model '{MODEL}' is registered: train one with `make repro`"
            ) from error
        raise
    return {alias: client.get_model_version(MODEL, version) for alias, version in aliases.items()}


def find(client: "MlflowClient", options: argparse.Namespace) -> "ModelVersion":
    try:
        if options.alias:
            return client.get_model_version_by_alias(MODEL, options.alias)
        return client.get_model_version(MODEL, options.version)
    except Exception as error:
        if not registry.is_absent(error):
            raise
    if options.alias:
        raise PromotionError(
            4, f"--alias {options.alias}: no version has it: see --status, or register one with `make repro`"
        )
    numbers = sorted(int(version.version) for version in client.search_model_versions(f"name = '{MODEL}'"))
    known = f"{numbers[0]} to {numbers[-1]} are there" if numbers else "register one with `make repro`"
    raise PromotionError(4, f"--version {options.version}: there is no such version: {known}")


def check(candidate: "ModelVersion", champion: "ModelVersion | None", force: bool) -> None:
    """Refuse what the Bento would refuse, and what is worse than the champion."""
    if "weights_sha256" not in candidate.tags:
        raise PromotionError(6, untagged(candidate, "weights_sha256"))
    if (new := accuracy(candidate)) is None:
        raise PromotionError(6, untagged(candidate, "accuracy"))
    if champion is None or force:
        return
    if (old := accuracy(champion)) is None:
        raise PromotionError(
            6, f"the champion, version {champion.version}, has no accuracy to compare with: --force promotes"
        )
    if new < old:
        raise PromotionError(
            5,
            f"version {candidate.version} has accuracy {new:.4f}, below {old:.4f} of the champion,"
            f" version {champion.version}: --force promotes it nevertheless",
        )


def untagged(version: "ModelVersion", tag: str) -> str:
    found = f"its tag {tag} is {version.tags[tag]!r}" if tag in version.tags else f"it has no tag {tag}"
    return f"version {version.version} is not promoted: {found}: register it again with `make repro`"


def accuracy(version: "ModelVersion") -> float | None:
    """The share of validation reviews labelled right, 0 to 1, or None where the tag does not say."""
    try:
        value = float(version.tags["accuracy"])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def shown(versions: Versions, alias: str) -> str:
    if alias not in versions:
        return "-"
    value = accuracy(versions[alias])
    return f"{versions[alias].version} (accuracy {'unknown' if value is None else f'{value:.4f}'})"


def print_table(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
