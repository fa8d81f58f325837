"""`python -m api.pulse`: exits with 0 if a worker on this host has used its database recently, else with 1.

The worker does not have to listen on a port: PostgreSQL records when each session was last active.
"""

import asyncio
import sys

from api import settings
from api.database import DATABASE_ERRORS, connect, describe
from api.worker import APPLICATION

IDLE = """
SELECT extract(epoch FROM now() - max(state_change))::float FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database()
    AND client_addr IS NOT DISTINCT FROM inet_client_addr()
"""


async def idle_seconds(config: settings.Settings) -> float | None:
    """Seconds since a worker on this host last used the database; None if none is connected.

    Raises DATABASE_ERRORS.
    """
    connection = await connect(config, "movie-review-pulse")
    try:
        seconds: float | None = await connection.fetchval(IDLE, APPLICATION)
    finally:
        await connection.close()
    return seconds


def max_idle_seconds(config: settings.Settings) -> float:
    """A worker polls every WORKER_POLL_SECONDS, unless it is waiting for the Bento."""
    return 2 * config.worker_poll_seconds + 2 * config.api_bento_timeout_seconds + 10


def main() -> int:
    config = settings.load()
    try:
        seconds = asyncio.run(idle_seconds(config))
    except DATABASE_ERRORS as error:
        print(f"api.pulse: the database cannot be used ({describe(error)})", file=sys.stderr)
        return 1
    if seconds is None or seconds > max_idle_seconds(config):
        state = "no worker of this host is connected" if seconds is None else f"idle for {seconds:.0f} s"
        print(f"api.pulse: {state}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
