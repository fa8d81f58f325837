"""A circuit breaker: who asks while the Bento is away is told so at once, and does not wait for it too."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from circuitbreaker import CircuitBreaker

from api.errors import GatewayTimeoutError, UnavailableError

log = logging.getLogger(__name__)

AWAY = (UnavailableError, GatewayTimeoutError)
"""What counts as a failure. All else says that somebody is there, an answer that makes no sense included."""


class Breaker:
    """Opens after `failures` in a row; then, every `seconds`, lets one request find out whether to close."""

    def __init__(self, failures: int, seconds: float) -> None:
        self._circuit = CircuitBreaker(failures, seconds, expected_exception=AWAY)
        self._probing = self._away = False

    @property
    def is_open(self) -> bool:
        """Whether whoever asks now is refused."""
        # The library would let everybody through between the end of its seconds and the first answer.
        return bool(self._circuit.opened or (self._probing and not self._circuit.closed))

    def check(self) -> None:
        """Raises UnavailableError while it is open."""
        if self.is_open:
            seconds = max(1, self._circuit.open_remaining)
            raise UnavailableError("The sentiment model is away; try again.", seconds)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one request: its failure is counted, its answer closes the circuit."""
        self.check()
        probe = not self._circuit.closed
        self._probing = self._probing or probe
        try:
            with self._circuit:
                yield
        finally:
            if probe:  # and not one that was under way when the circuit opened
                self._probing = False
            self._tell()

    def _tell(self) -> None:
        if self._away is self._circuit.closed:
            self._away = not self._away
            log.warning("bento: %s", "away, not asked for a while" if self._away else "answers again")
