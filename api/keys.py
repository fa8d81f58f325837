"""`python -m api.keys`: manage the API keys in the database."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from api import settings
from api.credentials import SCOPES, ApiKey, Scope, id_of, new_key
from api.database import DATABASE_ERRORS, connect, describe

DESCRIPTION = "Create, list, rotate and revoke API keys in the database at DATABASE_URL."

CREATE = """
INSERT INTO api_key (id, name, sha256, scopes, created_at, expires_at, owner_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING
"""
LIST = "SELECT * FROM api_key ORDER BY created_at"
FIND = "SELECT * FROM api_key WHERE id = $1 FOR UPDATE"
# The overlap ends no later than the key's own validity.
EXPIRE = "UPDATE api_key SET expires_at = least(expires_at, now() + $2) WHERE id = $1"
REVOKE = "UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1"


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


def hours(words: str) -> timedelta:
    if not words.isdecimal() or int(words) > 8760:
        raise argparse.ArgumentTypeError(f"{words!r} is not a number of hours from 0 to 8760")
    return timedelta(hours=int(words))


def name(words: str) -> str:
    if not 1 <= len(words.strip()) <= 100 or not words.isprintable():
        raise argparse.ArgumentTypeError(f"{words!r} is not a name of 1 to 100 printable characters")
    return words.strip()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m api.keys", description=DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="create a key and print it, once", allow_abbrev=False)
    create.add_argument("name", type=name, help="the owner or the purpose of the key")
    create.add_argument(
        "--scopes",
        type=scopes,
        default=["write"],
        help="comma-separated list (default: write). `read` reads, which needs no key unless API_PUBLIC_READ"
        " is false; `write` also creates reviews and changes those of the same owner; `admin` also changes"
        " any review",
    )
    create.add_argument(
        "--owner",
        metavar="ID",
        help="the id of a key whose reviews the new key may change (default: a new owner)",
    )
    create.add_argument(
        "--expires-days", type=days, metavar="DAYS", help="days until the key expires (default: never)"
    )
    create.add_argument(
        "--stdin",
        action="store_true",
        help="read the key from standard input, for example from a secret store, instead of generating it;"
        " repeating the command with the same key has no effect",
    )
    commands.add_parser("list", help="list all keys without their secrets")
    rotate = commands.add_parser(
        "rotate",
        help="replace a key by one with the same owner, name, scopes and expiry; print the new one, once",
        allow_abbrev=False,
    )
    rotate.add_argument("id", help="the id shown by `list`, or the whole key")
    rotate.add_argument(
        "--overlap-hours",
        type=hours,
        default=timedelta(0),
        metavar="HOURS",
        help="hours for which the old key stays valid, up to 8760 (default: 0, as for a leaked key)",
    )
    revoke = commands.add_parser("revoke", help="revoke a key at once")
    revoke.add_argument("id", help="the id shown by `list`, or the whole key")
    return parser.parse_args(arguments)


async def create(connection: asyncpg.Connection, options: argparse.Namespace) -> str:
    """Store a key; return it if it was generated here, else an empty string. Raises KeyCommandError."""
    key = sys.stdin.readline().strip() if options.stdin else new_key()
    expires_at = options.expires_days and datetime.now(UTC) + options.expires_days
    owner = None if options.owner is None else (await find(connection, options.owner)).owner
    try:
        row = ApiKey.from_key(key, options.name, options.scopes, expires_at, owner)
    except ValueError as error:
        raise KeyCommandError(f"standard input is not an API key: {error}") from None
    await insert(connection, row)
    stored = await find(connection, row.id)
    if stored.sha256 != row.sha256:
        raise KeyCommandError(f"another key with the id {row.id} exists: create a new one")
    if (set(stored.scopes), stored.owner) != (set(row.scopes), row.owner):
        raise KeyCommandError(f"the key {row.id} exists with other scopes or another owner: create a new one")
    return "" if options.stdin else key


async def insert(connection: asyncpg.Connection, row: ApiKey) -> None:
    await connection.execute(
        CREATE,
        *(row.id, row.name, row.sha256, row.scopes),
        *(row.created_at, row.expires_at, row.owner_id),
    )


async def find(connection: asyncpg.Connection, key_id: str) -> ApiKey:
    """Return the row of a key, by its id or by the whole key. Raises KeyCommandError if it does not exist."""
    key_id = id_of(key_id) or key_id
    found = await connection.fetchrow(FIND, key_id)
    if found is None:
        raise KeyCommandError(f"no key has the id {key_id}: see `python -m api.keys list`")
    return ApiKey(**dict(found))


async def rotate(connection: asyncpg.Connection, options: argparse.Namespace) -> str:
    """Replace a key by a new one of the same owner and return it. Raises KeyCommandError."""
    async with connection.transaction():
        old = await find(connection, options.id)
        if reason := old.rejection():
            raise KeyCommandError(
                f"{old.id} {reason}: `python -m api.keys create NAME --owner {old.id}` makes another key"
                " of its owner"
            )
        key = new_key()
        await insert(
            connection,
            ApiKey.from_key(key, old.name, scopes(",".join(old.scopes)), old.expires_at, old.owner),
        )
        if options.overlap_hours:
            await connection.execute(EXPIRE, old.id, options.overlap_hours)
        else:
            await connection.execute(REVOKE, old.id)
    if old.expires_at is not None:
        when = f"{old.expires_at:%Y-%m-%d %H:%M} UTC"
        print(f"api.keys: the new key expires at {when}, as {old.id} would have", file=sys.stderr)
    return key


async def show(connection: asyncpg.Connection) -> str:
    rows = [ApiKey(**dict(row)) for row in await connection.fetch(LIST)]
    header = ("id", "owner", "name", "scopes", "created", "last used", "expires", "")
    table = [header, *(cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in table)


def cells(row: ApiKey) -> tuple[str, ...]:
    moments = [
        f"{moment:%Y-%m-%d %H:%M}" if moment else "never" for moment in (row.last_used_at, row.expires_at)
    ]
    return (
        row.id,
        row.owner,
        row.name,
        ",".join(row.scopes),
        f"{row.created_at:%Y-%m-%d %H:%M}",
        *moments,
        row.rejection() or "",
    )


async def revoke(connection: asyncpg.Connection, key_id: str) -> str:
    """Revoke a key by its id or by the whole key. Raises KeyCommandError if it does not exist."""
    row = await find(connection, key_id)
    await connection.execute(REVOKE, row.id)
    return f"{row.id} ({row.name}) has been revoked"


async def run(options: argparse.Namespace) -> str:
    connection = await connect(settings.load(), "movie-review-keys")
    try:
        match options.command:
            case "create":
                return await create(connection, options)
            case "list":
                return await show(connection)
            case "rotate":
                return await rotate(connection, options)
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
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        raise SystemExit(
            "api.keys: the database has no table of API keys, or an older one: run `alembic upgrade head`"
        ) from None
    except DATABASE_ERRORS as error:
        reason = describe(error)
        raise SystemExit(f"api.keys: the database cannot be used ({reason}): see DATABASE_URL") from None
    if output:
        print(output)


if __name__ == "__main__":
    main()
