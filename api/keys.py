"""`python -m api.keys`: create, list and revoke API keys in the database at DATABASE_URL."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from api import settings
from api.credentials import SCOPES, ApiKey, Scope, id_of, new_key
from api.database import DATABASE_ERRORS, connect

CREATE = """
INSERT INTO api_key (id, name, sha256, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO NOTHING
"""
STORED_HASH = "SELECT sha256 FROM api_key WHERE id = $1"
LIST = "SELECT * FROM api_key ORDER BY created_at"
REVOKE = "UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING name"


class KeyCommandError(Exception):
    """The command failed; the message is one line for the user."""


def scopes(words: str) -> list[Scope]:
    found = [scope for scope in SCOPES if scope in words.split(",")]
    if not found or set(words.split(",")) - set(found):
        raise argparse.ArgumentTypeError(f"{words!r} is not a comma-separated list of {', '.join(SCOPES)}")
    return found


def days(words: str) -> timedelta:
    if not words.isdecimal() or not 1 <= int(words) <= 36_500:
        raise argparse.ArgumentTypeError(f"{words!r} is not a number of days from 1 to 36500")
    return timedelta(days=int(words))


def name(words: str) -> str:
    if not 1 <= len(words.strip()) <= 100 or not words.isprintable():
        raise argparse.ArgumentTypeError(f"{words!r} is not a name of 1 to 100 printable characters")
    return words.strip()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m api.keys", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="create a key and print it, once", allow_abbrev=False)
    create.add_argument("name", type=name, help="the owner or the purpose of the key")
    create.add_argument(
        "--scopes",
        type=scopes,
        default=["write"],
        help="comma-separated list of read, write and admin (default: write). write: create reviews and"
        " change those of the same key; admin: change any review; read: reading needs no key, but a key has"
        " its own rate limits",
    )
    create.add_argument("--expires-days", type=days, help="days until the key expires (default: never)")
    create.add_argument(
        "--stdin",
        action="store_true",
        help="read the key from standard input, for example from a secret store, instead of generating it;"
        " repeating the command with the same key has no effect",
    )
    commands.add_parser("list", help="list all keys without their secrets")
    revoke = commands.add_parser("revoke", help="revoke a key at once")
    revoke.add_argument("id", help="the id shown by `list`, or the whole key")
    return parser.parse_args(arguments)


async def create(connection: asyncpg.Connection, options: argparse.Namespace) -> str:
    """Store a key; return it if it was generated here, else an empty string. Raises KeyCommandError."""
    key = sys.stdin.readline().strip() if options.stdin else new_key()
    expires_at = options.expires_days and datetime.now(UTC) + options.expires_days
    try:
        row = ApiKey.from_key(key, options.name, options.scopes, expires_at)
    except ValueError as error:
        raise KeyCommandError(f"standard input is not an API key: {error}") from None
    await connection.execute(CREATE, row.id, row.name, row.sha256, row.scopes, row.created_at, row.expires_at)
    if await connection.fetchval(STORED_HASH, row.id) != row.sha256:
        raise KeyCommandError(f"another key with the id {row.id} exists: create a new one")
    return "" if options.stdin else key


async def show(connection: asyncpg.Connection) -> str:
    rows = [ApiKey(**dict(row)) for row in await connection.fetch(LIST)]
    header = ("id", "name", "scopes", "created", "last used", "expires", "")
    table = [header, *(cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in table)


def cells(row: ApiKey) -> tuple[str, ...]:
    moments = [
        f"{moment:%Y-%m-%d %H:%M}" if moment else "never" for moment in (row.last_used_at, row.expires_at)
    ]
    return (
        row.id,
        row.name,
        ",".join(row.scopes),
        f"{row.created_at:%Y-%m-%d %H:%M}",
        *moments,
        row.rejection() or "",
    )


async def revoke(connection: asyncpg.Connection, key_id: str) -> str:
    """Revoke a key by its id or by the whole key. Raises KeyCommandError if it does not exist."""
    key_id = id_of(key_id) or key_id
    found = await connection.fetchval(REVOKE, key_id)
    if found is None:
        raise KeyCommandError(f"no key has the id {key_id}: see `python -m api.keys list`")
    return f"{key_id} ({found}) has been revoked"


async def run(options: argparse.Namespace) -> str:
    connection = await connect(settings.load(), "movie-review-keys")
    try:
        match options.command:
            case "create":
                return await create(connection, options)
            case "list":
                return await show(connection)
            case _:
                return await revoke(connection, options.id)
    finally:
        await connection.close()


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    try:
        output = asyncio.run(run(options))
    except KeyCommandError as error:
        raise SystemExit(f"api.keys: {error}") from None
    except asyncpg.UndefinedTableError:
        raise SystemExit(
            "api.keys: the database has no table of API keys: run `alembic upgrade head`"
        ) from None
    except DATABASE_ERRORS as error:
        raise SystemExit(f"api.keys: the database cannot be used ({error}): see DATABASE_URL") from None
    if output:
        print(output)


if __name__ == "__main__":
    main()
