"""`python3 -m deploy.backup COMMAND` (see `--help`), run from the project's folder."""

import argparse
import sys
from pathlib import Path

from deploy.backup import commands
from deploy.backup.database import BackupError
from deploy.backup.stack import Stack


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.backup", description="Reviews, registry and artifacts, kept together."
    )
    parser.add_argument(
        "--stack",
        choices=("local", "compose"),
        default="local",
        help="that of `make up`, or of docker-compose.yml",
    )
    words = parser.add_subparsers(dest="command", required=True)
    dump = words.add_parser("dump", help="make a backup; the stack goes on")
    dump.add_argument(
        "--into", type=Path, default=Path("backups"), help="the folder in which to make one; default backups/"
    )
    verify = words.add_parser("verify", help="read all of a backup and compare it with its manifest")
    restore = words.add_parser("restore", help="fill an empty stack from a backup")
    for command in (verify, restore):
        command.add_argument("backup", type=Path, help="its folder, such as backups/20261125T031500Z")
    return parser.parse_args(arguments)


def stack(name: str) -> Stack:
    """Imported on demand: the local one needs what `make install` brings. Raises BackupError."""
    if name == "compose":
        from deploy.backup.compose import Compose

        return Compose()
    from deploy.backup.local import Local

    return Local()


def main(arguments: list[str] | None = None) -> int:
    words = parse(arguments)
    try:
        target = stack(words.stack)
        if words.command == "dump":
            commands.dump(target, words.into)
        elif words.command == "verify":
            commands.verify(target, words.backup)
        else:
            commands.restore(target, words.backup)
    except BackupError as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbackup: interrupted; run it again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
