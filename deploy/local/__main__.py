"""`python -m deploy.local COMMAND` (see `--help`), run from the project's folder."""

import argparse
import sys

from deploy.local.demo import demo
from deploy.local.down import bring_down
from deploy.local.observe import observe
from deploy.local.settings import StackError, prepare_settings, read_settings
from deploy.local.status import table
from deploy.local.supervision import Supervisor
from deploy.local.up import bring_up, prepare_database


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The stack on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what is missing and wait until it serves")
    up.add_argument("services", nargs="*", help="postgres, mlflow, bento, api; default all")
    commands.add_parser("down", help="end every process; data stays")
    restart = commands.add_parser("restart", help="restart services, such as api after a change of its code")
    restart.add_argument("services", nargs="+")
    commands.add_parser("status", help="a line per service; exit code 1 unless all are healthy")
    commands.add_parser("migrate", help="bring the database to the newest schema, and API_KEY into it")
    commands.add_parser("database-url", help="print DATABASE_URL, password included, for alembic by hand")
    commands.add_parser("observe", help="run Debian's Prometheus beside the stack, until it is interrupted")
    demo = commands.add_parser("demo", help="ingest, repro, promote, up, load, analyse; then the times")
    demo.add_argument("--install-seconds", type=float, help="what `make install` took, for the table")
    return parser.parse_args(arguments)


def run(words: argparse.Namespace) -> int:
    """One command; returns the exit code. Raises StackError."""
    if words.command == "demo":
        return demo(words.install_seconds)
    settings = read_settings() if words.command in ("down", "status") else prepare_settings()
    supervisor = Supervisor(settings.var_dir)
    if words.command == "status":
        text, healthy = table(settings)
        print(text)
        return 0 if healthy else 1
    if words.command == "database-url":
        print(settings.api_database_url)
    elif words.command == "observe":
        observe(settings)
    elif words.command == "migrate":
        prepare_database(settings)
    elif words.command == "down":
        with supervisor.locked():
            count = bring_down(supervisor)
        print(
            f"{count} processes ended; data stays in {settings.var_dir}" if count else "nothing was running"
        )
    else:
        if words.command == "restart" and supervisor.is_running():
            for name in words.services:
                supervisor.stop(name)
        bring_up(settings, words.services)
    return 0


def main(arguments: list[str] | None = None) -> int:
    words = parse(arguments)
    try:
        return run(words)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted: run `{words.command}` again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
