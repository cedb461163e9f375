"""Which rows count, and where each user's window begins among them.

A row counts on day D if its day and ``valid_from_day`` are <= D, it was known by then where that is asked, it is not
flagged by D (unless the fact includes flagged rows or asks for them only), and, in the behaviour view, not void by D,
or not known to be.
These are comparisons of days: nothing that became known of a row after D can be seen on D.
"""

from __future__ import annotations

from datetime import date
from functools import cached_property

import numpy as np

from features.instants import day_number
from features.kernel.local_time import local_hour
from features.kernel.products import Codes, Products
from features.kernel.rows import NEVER, Rows, gathered
from schemas.behaviours import BEHAVIOURS, DETAILS
from schemas.measures import CATEGORY_KEYS, CONDITION_COLUMNS, KEY_COLUMNS, PRODUCT_KEYS, Where

FROM_ONE = ("hour", "peer")
"""Derived keys that are counted from 1, so that 0 is "none" in every key."""
SPARSE = 4
"""Below one row in SPARSE, taking rows by number is cheaper than compressing by mask (measured)."""
FEW = 4
"""Up to so many values, comparing with each is cheaper than a look-up table (measured)."""
_ALWAYS_WHOLE = ("day", "behaviour_code")


def last_days(as_of: int, known_at: int | None) -> dict[str, int]:
    """The last day that a row which counts may have in each of these columns."""
    days = {"day": as_of, "valid_from_day": as_of}
    return days if known_at is None else {**days, "known_day": known_at}


def not_void(void_day: np.ndarray, void_known_day: np.ndarray | None, as_of: int, known_at: int | None) -> np.ndarray:
    """A flag per row: not void on the day, or not known to be; ``void_known_day`` is None if NEVER throughout."""
    valid = void_day > as_of
    if known_at is not None and void_known_day is not None:
        valid |= (void_known_day > known_at) & (void_known_day < NEVER)
    return valid


def paid(rows: Rows, as_of: date, known_at_day: date | None = None) -> Selection:
    """Paid rows that count on the day in the behaviour view."""
    known_at = None if known_at_day is None else day_number(known_at_day)
    return DayRows(rows, day_number(as_of), known_at, Products.none(), {}, "UTC").select(("pay",), "behaviour")


class DayRows:
    """One bucket's rows on one day: what every selection shares."""

    def __init__(self, rows: Rows, as_of: int, known_at: int | None, products: Products, codes: Codes, zone: str):
        self.rows = rows
        self.as_of = as_of
        self.known_at = known_at
        self.products = products
        self.codes = codes
        self.zone = zone
        self._starts: dict[int, np.ndarray] = {}
        self._columns: dict[str, np.ndarray] = {}
        self._flagged: dict[str, np.ndarray | None] = {}

    def column(self, name: str) -> np.ndarray:
        """A whole column in order of user and time; kept, because every selection reads it."""
        if name not in self._columns:
            self._columns[name] = self.rows.column(name)
        return self._columns[name]

    def start_day(self, window: int) -> int:
        return self.as_of - window + 1

    def first(self, window: int) -> np.ndarray:
        """Per user the number of the first row in the window; the row after the user's last if none is."""
        if window not in self._starts:
            begin, day = self.rows.begin, self.column("day")
            start = self.start_day(window)
            if not len(day) or int(day.min()) >= start:
                self._starts[window] = begin[:-1]
            else:
                older = running(day < start)
                self._starts[window] = begin[:-1] + (older[begin[1:]] - older[begin[:-1]])
        return self._starts[window]

    @cached_property
    def _standing(self) -> np.ndarray | None:
        """Rows that count in the cash view; None for all."""
        limits = last_days(self.as_of, self.known_at).items()
        conditions = [self.rows.column(name) <= day for name, day in limits if name in self.rows.stored]
        conditions = [c for c in conditions if not c.all()]
        return np.logical_and.reduce(conditions) if conditions else None

    @cached_property
    def _valid(self) -> np.ndarray | None:
        """Rows that count in the behaviour view; None for all."""
        if "void_day" not in self.rows.stored:
            return self._standing
        told = self.rows.column("void_known_day") if "void_known_day" in self.rows.stored else None
        valid = not_void(self.rows.column("void_day"), told, self.as_of, self.known_at)
        return valid if self._standing is None else valid & self._standing

    def _flags(self, flagged: str) -> np.ndarray | None:
        """Rows that count by their flags; None for all."""
        if flagged == "include" or (flagged == "exclude" and "flagged_day" not in self.rows.stored):
            return None
        if flagged not in self._flagged:
            if "flagged_day" in self.rows.stored:
                later = self.rows.column("flagged_day") > self.as_of
                self._flagged["exclude"], self._flagged["only"] = None if later.all() else later, ~later
            else:
                self._flagged["only"] = np.zeros(len(self.rows), np.bool_)
        return self._flagged[flagged]

    def select(self, behaviours: tuple[str, ...], view: str, flagged: str = "exclude") -> Selection:
        """Rows of the behaviours that count on the day in the view."""
        code = self.column("behaviour_code")
        numbers = [BEHAVIOURS[b] for b in behaviours]
        mask = code == numbers[0]
        if len(numbers) <= FEW:
            for number in numbers[1:]:
                mask |= code == number
        else:
            wanted = np.zeros(256, np.bool_)
            wanted[numbers] = True
            mask = wanted.take(code)
        counts = self._standing if view == "cash" else self._valid
        for rows in (counts, self._flags(flagged)):
            if rows is not None:
                mask &= rows
        begin = self.rows.begin
        return Selection(self, mask, begin[:-1], begin[1:], self)


class Selection:
    """Rows that share a filter, in order of user and time: those of user i are ``lo[i]`` to ``hi[i]``.

    Columns are compressed when first asked for, and once for all facts and windows of the selection.
    """

    def __init__(self, day_rows: DayRows, mask: np.ndarray, lo: np.ndarray, hi: np.ndarray, wider: DayRows | Selection):
        self.day_rows = day_rows
        self._wider = wider
        self._mask: np.ndarray | None = mask
        self._numbers: np.ndarray | None = None
        self._columns: dict[str, np.ndarray] = {}
        self._firsts: dict[int, np.ndarray] = {}
        self._rank: np.ndarray | None = None
        self.count = int(np.count_nonzero(mask))
        if self.count == len(mask):
            self.lo, self.hi = lo, hi
            self._mask = None
        else:
            self._rank = running(mask)
            self.lo, self.hi = self._rank[lo].astype(np.int64), self._rank[hi].astype(np.int64)
            if self.count * SPARSE < len(mask):
                self._numbers = np.flatnonzero(mask)

    @property
    def users(self) -> int:
        return len(self.lo)

    def first(self, window: int | None) -> np.ndarray:
        """Per user the first row in the window (``hi`` if none); ``lo`` for ever."""
        if window is None:
            return self.lo
        if window not in self._firsts:
            wider = self._wider.first(window)
            self._firsts[window] = wider if self._rank is None else self._rank[wider].astype(np.int64)
        return self._firsts[window]

    def column(self, name: str) -> np.ndarray:
        """A column of ``activity``, or a derived one: a product key by its name, ``discount``, ``hour``, ``peer``."""
        if name not in self._columns:
            self._columns[name] = self._derived(name) if name in _DERIVED else self._compressed(name)
        return self._columns[name]

    def _compressed(self, name: str) -> np.ndarray:
        if isinstance(self._wider, DayRows) and self._places is not None and name not in _ALWAYS_WHOLE:
            # straight from the files: the column is never put in order as a whole
            return gathered(self.day_rows.rows.stored[name], self._places)
        wider = self._wider.column(name)
        if self._mask is None:
            return wider
        if self._numbers is not None:
            return wider.take(self._numbers)
        return wider.compress(self._mask)

    @cached_property
    def _places(self) -> np.ndarray | None:
        """Where the selection's rows lie in the files; None where the files are in order as they are."""
        places = self.day_rows.rows.places
        if places is None or self._mask is None:
            return places
        return places.compress(self._mask) if self._numbers is None else places.take(self._numbers)

    def _derived(self, name: str) -> np.ndarray:
        if name == "hour":
            return local_hour(self.column("occurred_at"), self.day_rows.zone) + 1
        if name == "peer":
            peer = self.column("peer_uid")
            return np.where(peer == self.user + np.int64(self.day_rows.rows.base), 0, peer + 1)
        if name == "discount":
            return self.column("list_amount_minor") - self.column("amount_minor")
        return self.day_rows.products.of(name, self.column("sku_code"))

    @cached_property
    def user(self) -> np.ndarray:
        """The user of every row."""
        return np.repeat(np.arange(self.users, dtype=np.int32), self.hi - self.lo)

    @cached_property
    def _opens_user(self) -> np.ndarray:
        """Numbers of the rows that are a user's first."""
        return self.lo[self.lo < self.hi]

    def changes(self, different: np.ndarray) -> np.ndarray:
        """A flag per row: it is its user's first, or ``different`` (said of each row but the first) from the last."""
        flags = np.empty(self.count, np.bool_)
        flags[1:] = different
        flags[self._opens_user] = True
        return flags

    @cached_property
    def opens_day(self) -> np.ndarray:
        """A flag per row: the first of its user on its day."""
        day = self.column("day")
        return self.changes(day[1:] != day[:-1])

    @cached_property
    def moment(self) -> np.ndarray:
        """A number per row that grows with time and is shared by one user's rows of the same instant."""
        at = self.column("occurred_at")
        return np.cumsum(self.changes(at[1:] != at[:-1]), dtype=np.int32)

    def narrowed(self, mask: np.ndarray) -> Selection:
        """The rows of the selection for which ``mask`` holds."""
        return Selection(self.day_rows, mask, self.lo, self.hi, self)

    def until(self, ago: int) -> Selection:
        """The rows of days that lie at least so many before the day."""
        return self.narrowed(self.column("day") <= self.day_rows.as_of - ago) if ago else self

    def where(self, where: Where) -> Selection:
        """The rows that fulfil the conditions; a name that never occurred matches nothing."""
        masks = [self._condition(name, wanted) for name, wanted in where.conditions().items()]
        return self.narrowed(np.logical_and.reduce(masks)) if masks else self

    def _condition(self, name: str, wanted: bool | tuple[str, ...]) -> np.ndarray:
        if name == "peer":
            return (self.column("peer") != 0) == wanted
        if isinstance(wanted, bool):
            return self.column(name) == wanted
        if name == "detail":
            return _one_of(self.column(CONDITION_COLUMNS[name]), {DETAILS[w] for w in wanted})
        if name == "in_category":
            return np.logical_or.reduce([self._condition(key, wanted) for key in CATEGORY_KEYS])
        known = self.day_rows.codes.get(name, {})
        numbers: set[int] = set()
        for code in (known[w] for w in wanted if w in known):
            numbers |= {code} if isinstance(code, int) else {*code}
        return _one_of(self.column(key_column(name)), numbers)


_DERIVED = (*PRODUCT_KEYS, "discount", *FROM_ONE)


def key_column(measure: str) -> str:
    """The column of a selection that holds the measure's keys; 0 is none."""
    if measure == "orders":
        return "order_key"
    return measure if measure in _DERIVED else KEY_COLUMNS[measure]


def running(values: np.ndarray, dtype: type = np.int32) -> np.ndarray:
    """Prefix sums with a leading 0: ``running(x)[b] - running(x)[a]`` is the sum of ``x[a:b]``."""
    out: np.ndarray = np.empty(len(values) + 1, dtype)
    out[0] = 0
    np.cumsum(values, dtype=dtype, out=out[1:])
    return out


def _one_of(column: np.ndarray, numbers: set[int]) -> np.ndarray:
    if len(numbers) <= FEW:
        mask = np.zeros(len(column), np.bool_)
        for number in numbers:
            mask |= column == number
        return mask
    table = np.zeros(max(int(column.max(initial=0)), *numbers) + 1, np.bool_)
    table[list(numbers)] = True
    return table.take(column)
