"""How often one person or address may ask."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

MOST_KNOWN = 50_000
"""Whoever asked longest ago is forgotten first: memory stays flat whoever knocks."""


class TooManyError(Exception):
    """Somebody asks too often."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds


class Pace:
    """So many requests a minute for each key, all of them at once where none came before."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic):
        self._per_second = per_minute / 60
        self._most = float(per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def ask(self, key: str) -> None:
        """TooManyError says how long to wait."""
        now = self._clock()
        with self._lock:
            left, seen = self._left.pop(key, (self._most, now))
            left = min(self._most, left + (now - seen) * self._per_second)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, now)
            if len(self._left) > MOST_KNOWN:
                self._left.popitem(last=False)
        if not allowed:
            raise TooManyError((1 - left) / self._per_second)
