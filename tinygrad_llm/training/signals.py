"""Ctrl-C and SIGTERM as a wish to stop between two steps, so that a run can save what it has."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequest:
    """signal: the number of the signal that arrived, or None."""

    signal: int | None = None

    def _arrived(self, number: int, frame: object) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait for the step
        self.signal = number


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Inside this block the two signals set `request.signal` instead of ending the process."""
    request = StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, request._arrived) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)
