"""`python -m api.pulse`: exit code 0 when a worker of this host has been at its database lately, else 1.

A worker need not listen on a port; PostgreSQL knows when each of its sessions was last used.
"""

import asyncio
import sys

from api import settings
from api.database import DATABASE_AWAY, connect
from api.worker import APPLICATION

IDLE = """
SELECT extract(epoch FROM now() - max(state_change))::float FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database()
    AND client_addr IS NOT DISTINCT FROM inet_client_addr()
"""


async def idle_seconds(config: settings.Settings) -> float | None:
    """Since a worker of this host last used the database; None without one. Raises DATABASE_AWAY."""
    connection = await connect(config, "movie-review-pulse")
    try:
        seconds: float | None = await connection.fetchval(IDLE, APPLICATION)
    finally:
        await connection.close()
    return seconds


def patience(config: settings.Settings) -> float:
    """Seconds: it looks for work at least every WORKER_POLL_SECONDS, unless the Bento takes all its time."""
    return 2 * config.worker_poll_seconds + 2 * config.api_bento_timeout_seconds + 10


def main() -> int:
    config = settings.load()
    try:
        seconds = asyncio.run(idle_seconds(config))
    except DATABASE_AWAY as error:
        print(f"api.pulse: the database cannot be used ({error})", file=sys.stderr)
        return 1
    if seconds is None or seconds > patience(config):
        since = "no worker of this host is connected" if seconds is None else f"idle for {seconds:.0f} s"
        print(f"api.pulse: {since}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
