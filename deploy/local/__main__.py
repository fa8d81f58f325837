"""`python -m deploy.local COMMAND` (see `--help`), run in the project folder."""

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
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local", description="Run the stack on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the services that are down and wait until they are healthy")
    up.add_argument("services", nargs="*", help="postgres, mlflow, bento, api, worker; default: all")
    commands.add_parser("down", help="stop every process; the data is kept")
    restart = commands.add_parser("restart", help="restart services, for example api after a code change")
    restart.add_argument("services", nargs="+")
    commands.add_parser("status", help="show each service; exit with 1 unless all are healthy")
    commands.add_parser("migrate", help="upgrade the database schema and register API_KEY")
    commands.add_parser("database-url", help="print DATABASE_URL with its password, for alembic and psql")
    commands.add_parser("observe", help="run Prometheus against the stack until Ctrl-C")
    demo = commands.add_parser(
        "demo", help="ingest, train, promote, start the stack, load reviews, analyze; print the timings"
    )
    demo.add_argument("--install-seconds", type=float, help="duration of `make install`, for the table")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Run one command and return its exit code. Raises StackError."""
    if options.command == "demo":
        return demo(options.install_seconds)
    settings = read_settings() if options.command in ("down", "status") else prepare_settings()
    supervisor = Supervisor(settings.var_dir)
    if options.command == "status":
        text, healthy = table(settings)
        print(text)
        return 0 if healthy else 1
    if options.command == "database-url":
        print(settings.api_database_url)
    elif options.command == "observe":
        observe(settings)
    elif options.command == "migrate":
        prepare_database(settings)
    elif options.command == "down":
        with supervisor.locked():
            count = bring_down(supervisor)
        print(
            f"stopped {count} processes; the data is kept in {settings.var_dir}"
            if count
            else "nothing was running"
        )
    else:
        if options.command == "restart" and supervisor.is_running():
            for name in options.services:
                supervisor.stop(name)
        bring_up(settings, options.services)
    return 0


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return run(options)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted: run `{options.command}` again to continue", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
