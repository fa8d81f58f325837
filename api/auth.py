"""Authentication and authorization: the caller of a request, by API key or by client address."""

import asyncio
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Connection, func, select, update
from sqlmodel import col

from api.credentials import FORM, ApiKey, Scope, id_of
from api.database import autocommit
from api.errors import ForbiddenError, ScopeMissingError, UnauthorizedError, UnavailableError
from api.limits import Limit

bearer = HTTPBearer(
    auto_error=False, scheme_name="API key", description="Create one with `python -m api.keys create`."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]

INVALID = "invalid_token"
"""RFC 6750, section 3.1."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

COUNT_TIMEOUT = 1.0
"""Seconds that counting may delay a request that does not otherwise need the database."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` identifies the caller to the rate limits: the owner of the key, or the address."""

    name: str
    owner: str | None = None
    scopes: frozenset[str] = frozenset()

    def has(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def require_ownership(self, owner: str | None) -> None:
        """Raise ForbiddenError unless the caller is the owner or has the scope `admin`."""
        if owner != self.owner and not self.has("admin"):
            raise ForbiddenError("Only a key of the author, or an admin key, may change a review.")


async def admit(request: Request, kind: str) -> Caller:
    """Return the caller and charge one request to their rate limit `kind`.

    Raises UnauthorizedError for an invalid key, even if the route needs none, and TooManyRequestsError.
    """
    limit: Limit | None = request.app.state.limits[kind]
    key = _key(request)
    if key is None and limit is None:
        return _admitted(request, Caller(address(request)))
    if key is not None and id_of(key) is None:
        # Rejected without a query, which anyone could cause otherwise.
        raise UnauthorizedError(f"This is not an API key: a key is {FORM}.", INVALID)

    def work(connection: Connection) -> tuple[Caller, str | None, dict[str, str]]:
        """Return the caller, the reason why their key is rejected, and the RateLimit headers."""
        caller, rejection = Caller(address(request)), None
        if key is not None:
            stored = _find(connection, key)
            rejection = "is unknown" if stored is None else stored.rejection()
            if stored is not None and rejection is None:
                caller = Caller(stored.owner, stored.owner, frozenset(stored.scopes))
        # An invalid key is charged to the address, since no key can pay for it.
        return caller, rejection, {} if limit is None else limit.take(connection, caller.name, cost=1)

    caller, rejection, headers = await autocommit(request, work)
    if rejection is not None:
        raise UnauthorizedError(f"This API key {rejection}.", INVALID)
    return _admitted(request, caller, headers)


async def admit_uncounted(request: Request, kind: str) -> Caller:
    """Like `admit`, for a route that works without the database.

    While the database is unavailable, requests are not counted and those with a key are rejected.
    """
    try:
        async with asyncio.timeout(COUNT_TIMEOUT):
            return await admit(request, kind)
    except (TimeoutError, UnavailableError):
        if _key(request) is not None:
            raise UnavailableError(
                "API keys cannot be checked while the database is unavailable; try again later."
            ) from None
        return _admitted(request, Caller(address(request)))


async def charge_batch(request: Request, kind: str, cost: int) -> None:
    """Charge a batch that costs several requests, of which `admit` has charged one.

    Does nothing while the database is unavailable. Raises TooManyRequestsError.
    """
    limit: Limit | None = request.app.state.limits[kind]
    if limit is None or "RateLimit" not in request.state.rate_limit:
        return
    caller: Caller = request.state.caller

    def work(connection: Connection) -> dict[str, str]:
        return limit.take(connection, caller.name, cost, paid=1)

    with suppress(TimeoutError, UnavailableError):
        async with asyncio.timeout(COUNT_TIMEOUT):
            _admitted(request, caller, await autocommit(request, work))


def _admitted(request: Request, caller: Caller, headers: Mapping[str, str] = NO_HEADERS) -> Caller:
    """Keep the caller and the RateLimit headers of the response (api.headers) with the request."""
    request.state.caller = caller
    request.state.rate_limit = headers
    return caller


async def admit_reader(request: Request) -> Caller:
    """Raises UnauthorizedError without a key, unless reading is public."""
    _require_key(request, "Reading", is_public=request.app.state.public_read)
    return await admit(request, "read")


async def admit_writer(request: Request) -> Caller:
    """Raises UnauthorizedError without a key, ScopeMissingError without the scope `write`."""
    _require_key(request, "Writing")
    caller = await admit(request, "write")
    if not caller.has("write"):
        raise ScopeMissingError("This API key lacks the scope `write`.")
    return caller


async def admit_analysis(request: Request) -> Caller:
    """Raises UnauthorizedError without a key, unless reading is public."""
    _require_key(request, "Analysing a text", is_public=request.app.state.public_read)
    return await admit_uncounted(request, "analyze")


async def writer(request: Request, _: Bearer) -> Caller:
    """The caller of a route that writes. A route with a body has admitted them before reading it."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller or await admit_writer(request)


Writer = Annotated[Caller, Depends(writer)]


def address(request: Request) -> str:
    """Return the client's address; for IPv6 its /64 network, which belongs to one subscriber.

    Without an address, as behind a Unix socket or with a forged X-Forwarded-For, all callers are one.
    """
    try:
        found = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(found), 64), strict=False))
        found = found.ipv4_mapped
    return str(found)


def _require_key(request: Request, action: str, is_public: bool = False) -> None:
    """Every valid key may read: the scopes `write` and `admin` include `read`."""
    if not is_public and _key(request) is None:
        raise UnauthorizedError(f"{action} needs an API key: send Authorization: Bearer <key>.")


def _key(request: Request) -> str | None:
    """Return the token of `Authorization: Bearer`, or None without one; other schemes are ignored."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


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
