"""Authentication and authorization: the caller of a request, by API key or by client address."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Connection, func, select, update
from sqlmodel import col

from api.credentials import ApiKey, Scope, id_of
from api.database import autocommit
from api.errors import ForbiddenError, UnauthorizedError, UnavailableError
from api.limits import Limit

bearer = HTTPBearer(
    auto_error=False, scheme_name="API key", description="Create one with `python -m api.keys create`."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]

COUNT_TIMEOUT = 1.0
"""Seconds that counting may delay a request that does not otherwise need the database."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` identifies the caller to the rate limits: the id of the key, or the address."""

    name: str
    key_id: str | None = None
    scopes: frozenset[str] = frozenset()

    def has(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def require_ownership(self, key_id: str | None) -> None:
        """Raise ForbiddenError unless the caller's key is `key_id` or has the scope `admin`."""
        if key_id != self.key_id and not self.has("admin"):
            raise ForbiddenError("Only the key that wrote a review, or an admin key, may change it.")


async def admit(request: Request, response: Response, kind: str, cost: int = 1) -> Caller:
    """Return the caller and charge `cost` to their rate limit `kind`; set the RateLimit headers.

    Raises UnauthorizedError for an invalid key, even if the route needs none, and TooManyRequestsError.
    """
    limit: Limit | None = request.app.state.limits[kind]
    key = _key(request)
    if key is None and limit is None:
        return Caller(address(request))

    def work(connection: Connection) -> tuple[Caller, dict[str, str]]:
        caller = Caller(address(request)) if key is None else _holder(connection, key)
        return caller, {} if limit is None else limit.take(connection, caller.name, cost)

    caller, headers = await autocommit(request, work)
    response.headers.update(headers)
    return caller


async def admit_uncounted(request: Request, response: Response, kind: str, cost: int = 1) -> Caller:
    """Like `admit`, for a route that works without the database.

    While the database is unavailable, requests are not counted and those with a key are rejected.
    """
    try:
        async with asyncio.timeout(COUNT_TIMEOUT):
            return await admit(request, response, kind, cost)
    except (TimeoutError, UnavailableError):
        if _key(request) is not None:
            raise UnavailableError(
                "API keys cannot be checked while the database is unavailable; try again later."
            ) from None
        return Caller(address(request))


def admitted(kind: str) -> Callable[[Request, Response], Awaitable[Caller]]:
    """Return `admit` as a dependency, for a route that needs no key."""

    async def dependency(request: Request, response: Response) -> Caller:
        return await admit(request, response, kind)

    return dependency


async def _writer(request: Request, response: Response, credentials: Bearer) -> Caller:
    """Raises UnauthorizedError without a key, ForbiddenError without the scope `write`."""
    if credentials is None:
        raise UnauthorizedError("Writing needs an API key: send Authorization: Bearer <key>.")
    caller = await admit(request, response, "write")
    if not caller.has("write"):
        raise ForbiddenError("This API key lacks the scope `write`.")
    return caller


Writer = Annotated[Caller, Depends(_writer)]


def address(request: Request) -> str:
    """Return the client's address; for IPv6 its /64 network, which belongs to one subscriber."""
    host = request.client.host if request.client else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host or "local"
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _key(request: Request) -> str | None:
    """Return the token of `Authorization: Bearer`; other schemes are ignored."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _holder(connection: Connection, key: str) -> Caller:
    stored = _find(connection, key)
    if stored is None:
        raise UnauthorizedError("This API key is unknown.", "invalid_token")
    if (reason := stored.rejection()) is not None:
        raise UnauthorizedError(f"This API key {reason}.", "invalid_token")
    return Caller(stored.id, stored.id, frozenset(stored.scopes))


def _find(connection: Connection, key: str) -> ApiKey | None:
    if (key_id := id_of(key)) is None:
        return None
    row = connection.execute(select(ApiKey.__table__).where(col(ApiKey.id) == key_id)).first()  # type: ignore[attr-defined]
    stored = row and ApiKey(**row._mapping)
    if stored is None or not stored.matches(key):
        return None
    if stored.is_last_use_outdated():
        connection.execute(update(ApiKey).where(col(ApiKey.id) == key_id).values(last_used_at=func.now()))
    return stored
