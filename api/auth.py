"""Who asks, and may they: the API key of a request, or nobody known at an address."""

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
from api.database import at_once
from api.errors import ForbiddenError, UnauthorizedError, UnavailableError
from api.limits import Limit

bearer = HTTPBearer(
    auto_error=False, scheme_name="API key", description="`python -m api.keys create` makes one."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]

UNCOUNTED_AFTER = 1.0
"""Seconds: a database that takes longer to count a request must not stop one that does without it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` is what limits are counted by: the key's id, or the address."""

    name: str
    key_id: str | None = None
    scopes: frozenset[str] = frozenset()

    def has(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def require_own(self, key_id: str | None) -> None:
        """Raise ForbiddenError unless it wrote what this key wrote, or is an admin."""
        if key_id != self.key_id and not self.has("admin"):
            raise ForbiddenError("Only the key that wrote a review, or an admin's, may change it.")


async def admit(request: Request, response: Response, kind: str, cost: int = 1) -> Caller:
    """The caller, after `cost` of what `kind` of requests they may ask; what is left goes into the headers.

    Raises UnauthorizedError for a key that is not good, even where none is needed; TooManyRequestsError.
    """
    limit: Limit | None = request.app.state.limits[kind]
    key = _key(request)
    if key is None and limit is None:
        return Caller(address(request))

    def work(connection: Connection) -> tuple[Caller, dict[str, str]]:
        caller = Caller(address(request)) if key is None else _holder(connection, key)
        return caller, {} if limit is None else limit.take(connection, caller.name, cost)

    caller, headers = await at_once(request, work)
    response.headers.update(headers)
    return caller


async def admit_uncounted(request: Request, response: Response, kind: str, cost: int = 1) -> Caller:
    """The same, for what needs no database: with the database away it is not counted, unless it has a key."""
    try:
        async with asyncio.timeout(UNCOUNTED_AFTER):
            return await admit(request, response, kind, cost)
    except (TimeoutError, UnavailableError):
        if _key(request) is not None:
            raise UnavailableError("The database cannot say whose key this is now; try again.") from None
        return Caller(address(request))


def admitted(kind: str) -> Callable[[Request, Response], Awaitable[Caller]]:
    """`admit` as a dependency, for what anybody may do."""

    async def dependency(request: Request, response: Response) -> Caller:
        return await admit(request, response, kind)

    return dependency


async def _writer(request: Request, response: Response, credentials: Bearer) -> Caller:
    """Raises UnauthorizedError without a key, ForbiddenError when it may not write."""
    if credentials is None:
        raise UnauthorizedError("Writing needs an API key: send Authorization: Bearer <key>.")
    caller = await admit(request, response, "write")
    if not caller.has("write"):
        raise ForbiddenError("This API key may not write: it lacks the scope `write`.")
    return caller


Writer = Annotated[Caller, Depends(_writer)]


def address(request: Request) -> str:
    """Of the client; of IPv6 the network, since one subscriber has all of its addresses."""
    host = request.client.host if request.client else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host or "local"
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _key(request: Request) -> str | None:
    """What follows `Authorization: Bearer`; another scheme is not for us."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _holder(connection: Connection, key: str) -> Caller:
    kept = _find(connection, key)
    if kept is None:
        raise UnauthorizedError("This API key is not known here.", "invalid_token")
    if (reason := kept.why_not()) is not None:
        raise UnauthorizedError(f"This API key {reason}.", "invalid_token")
    return Caller(kept.id, kept.id, frozenset(kept.scopes))


def _find(connection: Connection, key: str) -> ApiKey | None:
    if (key_id := id_of(key)) is None:
        return None
    row = connection.execute(select(ApiKey.__table__).where(col(ApiKey.id) == key_id)).first()  # type: ignore[attr-defined]
    kept = row and ApiKey(**row._mapping)
    if kept is None or not kept.is_that_of(key):
        return None
    if kept.is_use_stale():
        connection.execute(update(ApiKey).where(col(ApiKey.id) == key_id).values(last_used_at=func.now()))
    return kept
