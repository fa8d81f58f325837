"""API keys: what a client holds, and what of it the database keeps."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal, Self, get_args

from sqlalchemy import ARRAY, CheckConstraint, LargeBinary, String, func
from sqlmodel import Field, SQLModel

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

PATTERN = re.compile(r"mrs_([0-9a-f]{16})_[0-9a-f]{64}")
"""The id, which may be shown, and 256 random bits, which may not."""


def new_key() -> str:
    return f"mrs_{secrets.token_hex(8)}_{secrets.token_hex(32)}"


def id_of(key: str) -> str | None:
    """The public part of a key; None when it is none."""
    found = PATTERN.fullmatch(key)
    return found and found[1]


def digest(key: str) -> bytes:
    """What is kept. One round of SHA-256 will do: nobody guesses 256 random bits from it."""
    return sha256(key.encode()).digest()


class ApiKey(SQLModel, table=True):
    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint("id ~ '^[0-9a-f]{16}$'", name="api_key_id"),
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="api_key_name_length"),
        CheckConstraint("scopes <@ '{read,write,admin}' AND cardinality(scopes) > 0", name="api_key_scopes"),
    )

    id: str = Field(primary_key=True, sa_type=String(16))
    name: str = Field(sa_type=String(100))
    sha256: bytes = Field(sa_type=LargeBinary)
    scopes: list[str] = Field(sa_type=ARRAY(String(5)))
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.now()})
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @classmethod
    def of(cls, key: str, name: str, scopes: list[Scope], expires_at: datetime | None = None) -> Self:
        """The row of a key. Raises ValueError when it is not made like one of `new_key`."""
        if (key_id := id_of(key)) is None:
            raise ValueError("a key is mrs_, 16 hexadecimal digits, _, and 64 more")
        return cls(
            id=key_id,
            name=name,
            sha256=digest(key),
            scopes=list(scopes),
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )

    def is_that_of(self, key: str) -> bool:
        """Compared in constant time."""
        return secrets.compare_digest(self.sha256, digest(key))

    def is_use_stale(self) -> bool:
        """Whether this use is to be written down: doing it each time would cost more than the request."""
        return self.last_used_at is None or self.last_used_at < datetime.now(UTC) - timedelta(minutes=1)

    def why_not(self) -> str | None:
        """Why it is not taken any more; None while it is."""
        if self.revoked_at is not None:
            return "has been revoked"
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            return "has expired"
        return None
