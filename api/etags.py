"""Entity tags in If-Match and If-None-Match (RFC 9110, section 8.8.3).

One rule for both headers and all methods: `W/` and a suffix such as `-gzip` are ignored. Proxies add them
when they compress a response, so a client behind one never sees the tag that the API sent.
"""

import re
from collections.abc import Set

from fastapi import Request

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*?)(?:--?(?:gzip|br|zstd|deflate))?"')


def header(request: Request, name: str) -> str | None:
    """Return all lines of a header as one list (RFC 9110, section 5.3); None if there is none."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


def listed(header: str) -> Set[str]:
    """Return the quoted tags in a header; what is not a tag is left out."""
    return {f'"{tag}"' for tag in _TAG.findall(header)}


def is_any(header: str) -> bool:
    """Whether the header is `*`, which matches everything that exists."""
    return header.strip() == "*"
