"""The URL of a database as libpq and asyncpg read it, TLS included."""

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

DRIVER = "postgresql+asyncpg"
EXAMPLE = f"{DRIVER}://user:password@host:5432/database"

SCHEMES = (DRIVER, "postgresql", "postgres")

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

PARAMETERS = (
    *("application_name", "gsslib", "host", "krbsrvname", "options", "passfile", "port", "service"),
    *("ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert", "sslcrl", "sslkey", "sslmode"),
    *("sslnegotiation", "sslpassword", "sslrootcert", "target_session_attrs"),
)
"""libpq's parameters that asyncpg knows. It would send any other to the server, which rejects it."""


def to_dsn(url: str) -> str:
    """Convert a URL of SQLAlchemy or libpq. Raises ValueError with the end of a sentence about it."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a URL; write it as {EXAMPLE}") from None
    if parsed.drivername not in SCHEMES:
        raise ValueError(f"starts with {parsed.drivername}://, but is PostgreSQL's; write it as {EXAMPLE}")
    if unknown := parsed.query.keys() - set(PARAMETERS):
        raise ValueError(
            f"has the parameter {min(unknown)}; asyncpg knows {', '.join(PARAMETERS)}"
            " (for TLS write sslmode=require, or sslmode=verify-full&sslrootcert=/path/to/ca.pem)"
        )
    if parsed.query.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"has an unknown sslmode; choose from {', '.join(SSL_MODES)}")
    return parsed.set(drivername="postgresql").render_as_string(hide_password=False)
