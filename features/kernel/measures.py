"""Counts, sums, extremes, days, visits and first and last values of a selection, each per user and window.

Every function gives an array over users and, for what may be absent, a second one that says where there is a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from features.facts import Fact
from features.kernel.pairs import Pairs
from features.kernel.selection import FROM_ONE, Selection, key_column, running
from schemas.behaviours import BEHAVIOURS
from schemas.measures import KEY_COLUMNS, MEASURES

VISIT_GAP_US = 30 * 60 * 1_000_000
Result = tuple[np.ndarray, np.ndarray | None]


class Measures:
    """All facts of one selection. What several facts need (prefix sums, runs, sorted pairs) is made once and kept."""

    def __init__(self, selection: Selection, facts: Sequence[Fact]):
        self.selection = selection
        self._windows: dict[str, set[int | None]] = {}
        for fact in facts:
            self._windows.setdefault(fact.measure, set()).add(fact.window)
        self._sums: dict[str, np.ndarray] = {}
        self._keyed: dict[str, Selection] = {}
        self._pairs: dict[str, Pairs] = {}

    def of(self, fact: Fact) -> Result:
        s, measure, agg, window = self.selection, fact.measure, fact.agg, fact.window
        if measure == "rows":
            return s.hi - s.first(window), None
        if measure == "days":
            return self._between(s, self._day_number, window), None
        if measure == "visits":
            return self._between(s, self._visit_number, window), None
        if measure == "orders":
            return self._orders(window), None
        if measure == "day":
            if agg in ("returned", "reached"):
                return self._returned(fact) if agg == "returned" else self._reached(fact)
            return self._edge_day(agg, window)
        if measure == "gap_days":
            return self._gaps(agg, window)
        if measure not in KEY_COLUMNS and measure != "hour":
            return self._values(fact)
        keys, found = self._keys(fact)
        return keys - 1 if measure in FROM_ONE and found is not None else keys, found

    @staticmethod
    def _between(s: Selection, numbers: np.ndarray, window: int | None) -> np.ndarray:
        return numbers[s.hi] - numbers[s.first(window)]

    # days and visits: a window begins with a day, so what opens a day or a visit in it opens one in all

    @cached_property
    def _day_number(self) -> np.ndarray:
        return running(self.selection.opens_day)

    @cached_property
    def _visit_number(self) -> np.ndarray:
        at = self.selection.column("occurred_at")
        opens = self.selection.opens_day.copy()
        opens[1:] |= at[1:] - at[:-1] > VISIT_GAP_US
        return running(opens)

    def _edge_day(self, agg: str, window: int | None) -> Result:
        s = self.selection
        first = s.first(window)
        return _picked(s.column("day"), first if agg == "first" else s.hi - 1, first < s.hi)

    # gaps between consecutive distinct days

    @cached_property
    def _distinct_day(self) -> np.ndarray:
        return self.selection.column("day")[self.selection.opens_day]

    def _days_in(self, window: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Per user where the window's distinct days begin and end."""
        return self._day_number[self.selection.first(window)], self._day_number[self.selection.hi]

    def _gaps(self, agg: str, window: int | None) -> Result:
        day = self._distinct_day
        lo, hi = self._days_in(window)
        found = hi - lo >= 2
        if agg == "max":
            gap = np.diff(day) if len(day) > 1 else np.zeros(0, day.dtype)
            return _reduced(np.maximum, gap, lo, hi - 1)
        last, _ = _picked(day, hi - 1, found)
        if agg == "last":
            before, _ = _picked(day, hi - 2, found)
            return last - before, found
        first, _ = _picked(day, lo, found)
        return _quotient(last - first, hi - lo - 1, found), found

    def _returned(self, fact: Fact) -> Result:
        """The last day that follows the one before it, both in the window, by at least the days of silence asked for."""
        day = self._distinct_day
        lo, hi = self._days_in(fact.window)
        back = np.full(len(day), -1, np.int32)
        silence = np.diff(day) >= self._least_silence(fact, lo, hi)
        back[1:] = np.where(silence, np.arange(1, len(day), dtype=np.int32), -1)
        latest = np.maximum.accumulate(back)
        at, _ = _picked(latest, hi - 1, hi - lo >= 2)
        # a day after ``lo`` has its predecessor in the window too
        return _picked(day, at, (hi - lo >= 2) & (at > lo))

    def _least_silence(self, fact: Fact, lo: np.ndarray, hi: np.ndarray) -> int | np.ndarray:
        """Days of silence that make the day after it a return; by row where the days before the silence decide."""
        if fact.min_gap is not None:
            return fact.min_gap
        if fact.min_gaps is None:
            raise ValueError(f"fact {fact.column!r}: the numbers of break {fact.min_gap_of!r} have not been put in")
        return np.asarray(fact.min_gaps)[np.minimum(self._days_before(lo, hi)[1:], len(fact.min_gaps)) - 1]

    def _days_before(self, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
        """Of every distinct day how many of its user's days in the window came before it; 0 outside the window."""
        before = np.zeros(len(self._distinct_day), np.int64)
        count = hi - lo
        inside = np.repeat(lo - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        before[inside] = inside - np.repeat(lo, count)
        return before

    def _reached(self, fact: Fact) -> Result:
        """The day on which the number of distinct days in the window went beyond the greatest count it is beyond."""
        if fact.counts is None:
            raise ValueError(f"fact {fact.column!r}: the numbers of break {fact.counts_of!r} have not been put in")
        lo, hi = self._days_in(fact.window)
        counts = np.asarray((0, *fact.counts))
        beyond = counts[np.searchsorted(counts, hi - lo, side="left") - 1]
        return _picked(self._distinct_day, lo + beyond, hi > lo)

    # orders

    def _orders(self, window: int | None) -> np.ndarray:
        number = self._order_number
        if number is None:
            return self._pairs_of("orders").distinct(window)
        return self._between(self._keyed_by("orders"), number, window)

    @cached_property
    def _order_number(self) -> np.ndarray | None:
        """Runs of one order, counted at their last row; None if an order's rows do not all lie together."""
        s = self._keyed_by("orders")
        key = s.column("order_key")
        closes = np.empty(s.count, np.bool_)
        closes[:-1] = key[1:] != key[:-1]
        closes[s.hi[s.lo < s.hi] - 1] = True
        once = np.sort(key[closes])
        return None if (once[1:] == once[:-1]).any() else running(closes)

    # values: sums are differences of prefix sums, extremes a pass over the window's rows

    def _values(self, fact: Fact) -> Result:
        s, reads = self.selection, MEASURES[fact.measure].columns
        column = reads[0] if len(reads) == 1 else fact.measure
        first = s.first(fact.window)
        if fact.agg in ("min", "max"):
            return _reduced(np.minimum if fact.agg == "min" else np.maximum, s.column(column), first, s.hi)
        if fact.measure not in self._sums:
            values = s.column(column)
            if fact.measure == "net_amount":
                values = np.where(s.column("behaviour_code") == BEHAVIOURS["pay"], values, -values)
            self._sums[fact.measure] = running(values, np.int64)
        total = self._between(s, self._sums[fact.measure], fact.window)
        if fact.agg == "sum":
            return total, None
        return _quotient(total, s.hi - first, first < s.hi), first < s.hi

    # keys: brand, category, sku, seller, channel, peer, hour

    def _keys(self, fact: Fact) -> Result:
        users = self.selection.users
        if not self._keyed_by(fact.measure).count:
            return np.zeros(users, np.int64), None if fact.agg == "distinct" else np.zeros(users, np.bool_)
        if fact.agg in ("first", "last"):
            return self._edge_key(fact)
        pairs = self._pairs_of(fact.measure)
        if fact.agg == "distinct":
            return pairs.distinct(fact.window), None
        return pairs.mode(fact.window, fact.min_share) if fact.agg == "mode" else pairs.preferred(fact)

    def _edge_key(self, fact: Fact) -> Result:
        """The key of the first or last instant in the window; of several at that instant the smallest."""
        s = self._keyed_by(fact.measure)
        key, moment = s.column(key_column(fact.measure)), s.moment
        first = s.first(fact.window)
        found = first < s.hi
        opens = np.flatnonzero(np.diff(moment, prepend=0))
        smallest = key if len(opens) == s.count else np.minimum.reduceat(key, opens)
        at, _ = _picked(moment, first if fact.agg == "first" else s.hi - 1, found)
        return _picked(smallest, at - 1, found)

    def _keyed_by(self, measure: str) -> Selection:
        """The rows of the longest window that have a key."""
        if measure not in self._keyed:
            s = self.selection
            s = _without_zero(s, s.column(key_column(measure)))
            windows = [w for w in self._windows[measure] if w is not None]
            if len(windows) == len(self._windows[measure]) and s.count:
                start, day = s.day_rows.start_day(max(windows)), s.column("day")
                s = s if int(day.min()) >= start else s.narrowed(day >= start)
            self._keyed[measure] = s
        return self._keyed[measure]

    def _pairs_of(self, measure: str) -> Pairs:
        if measure not in self._pairs:
            s = self._keyed_by(measure)
            self._pairs[measure] = Pairs(s, s.column(key_column(measure)))
        return self._pairs[measure]


def _without_zero(s: Selection, values: np.ndarray) -> Selection:
    present = values != 0
    return s if present.all() else s.narrowed(present)


def _picked(values: np.ndarray, at: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``values[at]`` where ``found``, 0 elsewhere."""
    out = np.zeros(len(at), values.dtype)
    out[found] = values[at[found]]
    return out, found


def _quotient(total: np.ndarray, count: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.zeros(len(total)), where=found)


def _reduced(function: np.ufunc, values: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``function`` over ``values[lo:hi]`` per user where that is not empty."""
    found = lo < hi
    out = np.zeros(len(lo), values.dtype)
    if found.any():
        borders = np.stack((lo[found], hi[found]), axis=1).ravel()
        # reduceat wants every border inside; the last run goes to the end by itself
        borders = borders[:-1] if borders[-1] == len(values) else borders
        out[found] = function.reduceat(values, borders)[::2]
    return out, found
