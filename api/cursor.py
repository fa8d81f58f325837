"""Where the next page begins, as a string that a client hands back unread."""

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Self
from uuid import UUID

from api.errors import UnprocessableError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# Microseconds since 1970, id, checksum: 30 bytes are 40 letters of base64 without padding.
LAYOUT = struct.Struct(">q16s6s")


@dataclass(frozen=True)
class Cursor:
    """The last review of a page; the next page holds what is older."""

    created_at: datetime
    id: UUID

    def encode(self, listing: str) -> str:
        """`listing` names the list and its filter: a cursor is good for that one only."""
        microseconds = (self.created_at - EPOCH) // MICROSECOND
        return base64.urlsafe_b64encode(
            LAYOUT.pack(microseconds, self.id.bytes, _checksum(microseconds, self.id, listing))
        ).decode()

    @classmethod
    def decode(cls, cursor: str, listing: str) -> Self:
        """Raises UnprocessableError when the cursor was altered or belongs to another listing."""
        try:
            microseconds, id_bytes, _ = LAYOUT.unpack(base64.urlsafe_b64decode(cursor))
            decoded = cls(EPOCH + microseconds * MICROSECOND, UUID(bytes=id_bytes))
        except (ValueError, OverflowError, struct.error):
            raise _invalid() from None
        # Spelled in any other way, or with another checksum, it is not ours.
        if decoded.encode(listing) != cursor:
            raise _invalid()
        return decoded


def _checksum(microseconds: int, id_: UUID, listing: str) -> bytes:
    # No secret: a forged cursor could only name a place in a list that anybody may read.
    return blake2b(f"{microseconds}/{id_}/{listing}".encode(), digest_size=6).digest()


def _invalid() -> UnprocessableError:
    return UnprocessableError(
        "cursor: it was altered, or it belongs to another list. Send next_cursor as it came, "
        "with the same movie and filter, or none for the first page."
    )
