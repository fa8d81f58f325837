"""`python3 -m deploy.backup COMMAND` (see `--help`), run in the project folder."""

import argparse
import sys
from pathlib import Path

from deploy.backup import commands, keeping
from deploy.backup.database import BackupError
from deploy.backup.stack import Stack


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.backup",
        description="Back up and restore reviews, registry and artifacts together.",
    )
    parser.add_argument(
        "--stack",
        choices=("local", "compose"),
        default="local",
        help="local: the stack of `make up` (default); compose: that of docker-compose.yml",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    dump = commands.add_parser("dump", help="create a backup while the stack runs")
    dump.add_argument(
        "--into", type=Path, default=Path("backups"), help="parent folder of the backup; default: backups/"
    )
    dump.add_argument(
        "--keep", type=count, metavar="N", help="then delete all but the newest N; default: keep all"
    )
    dump.add_argument(
        "--encrypt-to", metavar="KEY", help="encrypt with gpg for this key, by its id, fingerprint or address"
    )
    dump.add_argument(
        "--metrics",
        type=Path,
        metavar="FILE",
        help="write time and size to this .prom file, for the textfile collector of a node exporter",
    )
    verify = commands.add_parser("verify", help="read a whole backup and compare it with its manifest")
    restore = commands.add_parser("restore", help="restore a backup into an empty stack")
    for command in (verify, restore):
        command.add_argument(
            "backup", type=Path, help="folder of the backup, such as backups/20261125T031500Z"
        )
    return parser.parse_args(arguments)


def count(words: str) -> int:
    if not words.isdecimal() or not int(words):
        raise argparse.ArgumentTypeError(f"{words!r} is not a number of at least 1")
    return int(words)


def back_up(target: Stack, options: argparse.Namespace) -> None:
    """Create a backup and do what the options ask for with it. Raises BackupError."""
    backup = commands.dump(target, options.into)
    if options.encrypt_to:
        backup = keeping.encrypt(backup, options.encrypt_to)
        print(f"{backup}: encrypted for {options.encrypt_to}")
    try:
        if options.metrics:
            keeping.write_metrics(options.metrics, backup)
        if options.keep:
            keeping.prune(options.into, options.keep)
    except OSError as error:
        raise BackupError(f"{backup} is complete, but {error.strerror}: {error.filename}") from None


def stack(name: str) -> Stack:
    """Return the stack of this name. Raises BackupError.

    Imports are lazy: the local stack needs the packages of `make install`.
    """
    if name == "compose":
        from deploy.backup.compose import Compose

        return Compose()
    from deploy.backup.local import Local

    return Local()


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        target = stack(options.stack)
        if options.command == "dump":
            back_up(target, options)
        elif options.command == "verify":
            commands.verify(target, options.backup)
        else:
            commands.restore(target, options.backup)
    except BackupError as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbackup: interrupted; run the command again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
