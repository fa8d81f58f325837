"""API keys: the secret that a client holds, and the row that the database stores."""

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
"""A public id and 256 secret random bits."""

FORM = "mrs_, 16 hexadecimal digits, _, and 64 more"


def new_key() -> str:
    return f"mrs_{secrets.token_hex(8)}_{secrets.token_hex(32)}"


def id_of(key: str) -> str | None:
    """Return the public id in a key, or None if the string is not a key."""
    found = PATTERN.fullmatch(key)
    return found and found[1]


def digest(key: str) -> bytes:
    """Return the stored hash. A single SHA-256 suffices, because 256 random bits cannot be guessed."""
    return sha256(key.encode()).digest()


class ApiKey(SQLModel, table=True):
    """The row of a key. Without `owner_id` it is the first key of its owner, and gives them its id."""

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
    owner_id: str | None = Field(default=None, sa_type=String(16), foreign_key="api_key.id")

    @classmethod
    def from_key(
        cls,
        key: str,
        name: str,
        scopes: list[Scope],
        expires_at: datetime | None = None,
        owner_id: str | None = None,
    ) -> Self:
        """Build the row of a key. Raises ValueError if the key does not have the form of `new_key`."""
        if (key_id := id_of(key)) is None:
            raise ValueError(f"a key is {FORM}")
        return cls(
            id=key_id,
            name=name,
            sha256=digest(key),
            scopes=list(scopes),
            created_at=datetime.now(UTC),
            expires_at=expires_at,
            owner_id=owner_id,
        )

    @property
    def owner(self) -> str:
        """The id of the owner: of the first of their keys."""
        return self.owner_id or self.id

    def matches(self, key: str) -> bool:
        """Compare in constant time."""
        return secrets.compare_digest(self.sha256, digest(key))

    def is_last_use_outdated(self) -> bool:
        """Whether to update `last_used_at`: at most once a minute, because a write costs more than a read."""
        return self.last_used_at is None or self.last_used_at < datetime.now(UTC) - timedelta(minutes=1)

    def rejection(self) -> str | None:
        """Return why the key is no longer valid, or None if it is."""
        if self.revoked_at is not None:
            return "has been revoked"
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            return "has expired"
        return None
