"""Distinct values, the most frequent and the preferred one: rows sorted once by (user, value) for all windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from features.facts import Fact
from features.kernel.selection import Selection, running
from schemas.behaviours import BEHAVIOURS

WEIGHT_SCALE = float(2**32)
"""Weights are summed as whole multiples of 2^-32: a sum that does not depend on the order of its rows."""


class Pairs:
    """The (user, value) pairs of a selection, by user and value; rows of one pair lie together in time order.

    Pairs of user i are ``lo[i]`` to ``hi[i]``; rows of pair p are ``begin[p]`` to ``begin[p + 1]`` of ``rows``.
    """

    def __init__(self, selection: Selection, values: np.ndarray):
        self.selection = selection
        # Values are above 0. Those too wide to share 63 bits with the user are numbered in their own order first.
        user_bits = max(selection.users - 1, 1).bit_length()
        numbered: np.ndarray | None = None
        if user_bits + int(values.max(initial=0)).bit_length() > 63 or int(values.min(initial=0)) < 0:
            numbered, values = np.unique(values, return_inverse=True)
        bits = int(values.max(initial=0)).bit_length()
        packed = selection.user.astype(np.int64)
        packed <<= bits
        packed |= values
        # Stable on purpose: it keeps time order, and on rows grouped by user its merge sort is 4 times faster than
        # numpy's default (13 ms against 59 ms per million).
        self.rows = np.argsort(packed, kind="stable")
        packed = packed[self.rows]
        opens = np.empty(selection.count, np.bool_)
        opens[:1] = True
        opens[1:] = packed[1:] != packed[:-1]
        before = running(opens)
        self.lo, self.hi = before[selection.lo].astype(np.int64), before[selection.hi].astype(np.int64)
        self.begin = np.append(np.flatnonzero(opens), selection.count)
        found = packed[self.begin[:-1]] & ((1 << bits) - 1)
        self.value = found if numbered is None else numbered[found]

    @cached_property
    def _day(self) -> np.ndarray:
        return self.selection.column("day")[self.rows]

    @cached_property
    def _last_day(self) -> np.ndarray:
        return self.selection.column("day")[self.rows[self.begin[1:] - 1]]

    @cached_property
    def _user(self) -> np.ndarray:
        return np.repeat(np.arange(self.selection.users, dtype=np.int32), self.hi - self.lo)

    def distinct(self, window: int | None) -> np.ndarray:
        """Per user the number of values in the window: those whose last day lies in it."""
        if window is None:
            return self.hi - self.lo
        recent = running(self._last_day >= self.selection.day_rows.start_day(window))
        return recent[self.hi] - recent[self.lo]

    def _events(self, window: int | None) -> np.ndarray:
        """Per pair the number of its rows in the window."""
        if window is None:
            return np.diff(self.begin)
        recent = running(self._day >= self.selection.day_rows.start_day(window))
        return np.diff(recent[self.begin])

    def mode(self, window: int | None, min_share: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Per user the value with most rows in the window (ties: the latest, then the smallest), and if there is one.

        With ``min_share`` the value must hold at least that share of the user's rows in the window.
        """
        events = self._events(window)
        best, found = self._best(events > 0, events)
        if min_share is not None:
            rows = self.selection.hi - self.selection.first(window)
            found &= np.divide(events[best], rows, out=np.zeros(len(rows)), where=rows > 0) >= min_share
        return self.value[best], found

    def preferred(self, fact: Fact) -> tuple[np.ndarray, np.ndarray]:
        """Per user the value with the greatest decayed weight in the window, among those with ``min_events`` rows."""
        day = self.selection.column("day")
        age = self.selection.day_rows.as_of - day
        ages = np.arange(int(age.max(initial=0)) + 1)
        decay = 0.5 ** (ages / fact.half_life)
        worth = np.zeros((256, len(ages)), np.int64)
        for behaviour in fact.behaviours:
            worth[BEHAVIOURS[behaviour]] = np.rint(fact.weight(behaviour) * decay * WEIGHT_SCALE)
        if fact.window is not None:
            worth[:, fact.window :] = 0
        age += self.selection.column("behaviour_code") * np.int32(len(ages))
        weights = running(worth.ravel().take(age).take(self.rows), np.int64)
        best, found = self._best(self._events(fact.window) >= (fact.min_events or 1), np.diff(weights[self.begin]))
        return self.value[best], found

    def _best(self, allowed: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Per user the allowed pair with the greatest score; of several the latest, then the smallest value."""
        at = self.selection.column("occurred_at")
        candidates = self._greatest(np.flatnonzero(allowed), score)
        # most users have one candidate left: only those are compared by time
        candidates = self._greatest(candidates, lambda pairs: at[self.rows[self.begin[pairs + 1] - 1]])
        best = np.zeros(self.selection.users, np.int64)
        found = np.zeros(self.selection.users, np.bool_)
        user = self._user[candidates]
        first = np.ones(len(user), np.bool_)
        first[1:] = user[1:] != user[:-1]
        best[user[first]] = candidates[first]
        found[user] = True
        return best, found

    def _greatest(self, pairs: np.ndarray, score: np.ndarray | Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Those of the pairs that have their user's greatest score."""
        if not len(pairs):
            return pairs
        user = self._user[pairs]
        starts = np.concatenate(([0], np.flatnonzero(user[1:] != user[:-1]) + 1))
        if len(starts) == len(pairs):
            return pairs
        held = score(pairs) if callable(score) else score[pairs]
        greatest = np.repeat(np.maximum.reduceat(held, starts), np.diff(starts, append=len(pairs)))
        return pairs[held == greatest]
