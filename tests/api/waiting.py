"""Waiting for what happens in another process."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Raises TimeoutError when it does not come true."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)
