"""Wait for a condition that another process or task brings about."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 60) -> None:
    """Poll until the condition is true. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - no event tells when
            await asyncio.sleep(0.01)
