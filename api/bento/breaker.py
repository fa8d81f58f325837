"""A circuit breaker: while the Bento is unavailable, calls fail at once instead of timing out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from circuitbreaker import CircuitBreaker

from api.errors import GatewayTimeoutError, UnavailableError

log = logging.getLogger(__name__)

FAILURES = (UnavailableError, GatewayTimeoutError)
"""What counts as a failure. Any other outcome, an invalid answer included, shows that the Bento runs."""


class Breaker:
    """Opens after `failures` consecutive failures, then admits one request every `seconds` as a probe."""

    def __init__(self, failures: int, seconds: float) -> None:
        self._circuit = CircuitBreaker(failures, seconds, expected_exception=FAILURES)
        self._probing = self._logged_open = False

    @property
    def is_open(self) -> bool:
        """Whether a request made now is rejected."""
        # After its recovery timeout the library admits every request until the first one has been answered.
        return bool(self._circuit.opened or (self._probing and not self._circuit.closed))

    def check(self) -> None:
        """Raise UnavailableError if the circuit is open."""
        if self.is_open:
            seconds = max(1, self._circuit.open_remaining)
            raise UnavailableError("The sentiment model is unavailable; try again later.", seconds)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Wrap one request: a failure is counted, an answer closes the circuit."""
        self.check()
        probe = not self._circuit.closed
        self._probing = self._probing or probe
        try:
            with self._circuit:
                yield
        finally:
            if probe:  # not a request that was in flight when the circuit opened
                self._probing = False
            self._log_transition()

    def _log_transition(self) -> None:
        if self._logged_open is self._circuit.closed:
            self._logged_open = not self._logged_open
            state = "unavailable, circuit opened" if self._logged_open else "available again, circuit closed"
            log.warning("bento: %s", state)
