"""A bucket's rows as arrays: sorted by user and time, with the first row of every user.

Files of one bucket (closed periods, recent months, overlays of merged users) are each sorted by uid and time. They are
brought together by a scatter: a row's place is its user's first place plus what earlier files hold of that user, so
nothing is compared. Only users whose rows then are out of time order (a row may lie in the month of what drove it) are
sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from features.facts import ORDERING
from features.kernel.arrays import from_arrow

NEVER = np.iinfo(np.int32).max
"""Day number that stands for an absent ``void_day``, ``void_known_day`` or ``flagged_day``."""
USERS_PER_BUCKET = 100_000
PIECE = 1 << 18

DTYPES: dict[str, type] = {
    "uid": np.int64,
    "occurred_at": np.int64,
    "day": np.int32,
    "behaviour_code": np.uint8,
    "detail_code": np.uint8,
    "sku_code": np.int32,
    "seller_code": np.int32,
    "channel_code": np.int32,
    "order_key": np.int64,
    "quantity": np.int64,
    "list_amount_minor": np.int64,
    "amount_minor": np.int64,
    "on_promotion": np.bool_,
    "peer_uid": np.int64,
    "valid_from_day": np.int32,
    "void_day": np.int32,
    "void_known_day": np.int32,
    "flagged_day": np.int32,
    "known_day": np.int32,
}
NULLABLE = ("void_day", "void_known_day", "flagged_day")


def kernel_values(column: pa.ChunkedArray | pa.Array, name: str) -> np.ndarray:
    """A column of ``activity`` as the kernel holds it."""
    return from_arrow(column, np.dtype(DTYPES[name]), NEVER if name in NULLABLE else None, name)


class Columns(Protocol):
    """Anything that gives columns by name: a table, or a file that reads a column when it is asked for."""

    @property
    def num_rows(self) -> int: ...

    def column(self, name: str, /) -> pa.ChunkedArray: ...


@dataclass(frozen=True)
class Rows:
    """Rows of users ``base`` to ``base + users - 1``: those of user i are ``begin[i]`` to ``begin[i + 1]``.

    ``stored`` holds columns in the order of the files, ``places`` says where each row lies there (None: in order), so
    that a column of which few rows are wanted is never moved as a whole. Days are day numbers since 1970, ``at`` is
    microseconds in UTC. Days that may be absent (``void_day`` and such) are NEVER then; left out if NEVER throughout.
    """

    base: int
    begin: np.ndarray
    stored: dict[str, np.ndarray]
    places: np.ndarray | None = None

    @property
    def users(self) -> int:
        return len(self.begin) - 1

    def __len__(self) -> int:
        return int(self.begin[-1])

    def of_users(self, first: int, last: int) -> Rows:
        """The rows of users ``first`` to ``last - 1`` of these, without a copy."""
        begin = self.begin[first : last + 1]
        rows = slice(int(begin[0]), int(begin[-1]))
        if self.places is not None:
            return Rows(self.base + first, begin - begin[0], self.stored, self.places[rows])
        stored = {name: values[rows] for name, values in self.stored.items()}
        return Rows(self.base + first, begin - begin[0], stored)

    def column(self, name: str) -> np.ndarray:
        """A whole column in the order of users and time."""
        values = self.stored[name]
        return values if self.places is None else gathered(values, self.places)


def gathered(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """``values[places]`` in pieces: numpy widens 32-bit places to 64 bits, which a piece does within the cache."""
    out = np.empty(len(places), values.dtype)
    for start in range(0, len(places), PIECE):
        piece = slice(start, start + PIECE)
        values.take(places[piece], out=out[piece], mode="clip")
    return out


def merge_files(
    files: Sequence[Columns], columns: Iterable[str], *, base: int = 0, users: int = USERS_PER_BUCKET
) -> Rows:
    """The files' rows in one order, with the named columns; users without rows have none, an empty bucket has none.

    Every file should be sorted by uid (one that is not is sorted here). ValueError if a row belongs to another bucket
    or a required column holds nulls.
    """
    names = [c for c in dict.fromkeys((*ORDERING, *columns)) if c != "uid"]
    files = [f for f in files if f.num_rows]
    count = sum(f.num_rows for f in files)
    if count > np.iinfo(np.int32).max:
        raise ValueError(f"a bucket of {count:,} rows is more than one task can hold; use smaller buckets")
    stored: dict[str, np.ndarray] = {}
    parts, start = [], 0
    for file in files:
        parts.append(_Part(file, start, base, users))
        for name in names:
            _store(stored, name, file.column(name), start, count)
        start += file.num_rows
    for name in names:
        if not files and name not in NULLABLE:
            stored[name] = np.empty(0, DTYPES[name])
    begin = np.zeros(users + 1, np.int64)
    for part in parts:
        begin[1:][part.present] += part.lengths
    np.cumsum(begin, out=begin)
    if len(parts) == 1 and parts[0].order is None:
        return _in_time_order(Rows(base, begin, stored))
    return _in_time_order(Rows(base, begin, stored, _places(parts, stored["occurred_at"], begin)))


class _Part:
    """The users of one file, how many rows each has, and the file's place among all rows."""

    def __init__(self, file: Columns, start: int, base: int, users: int):
        uid = kernel_values(file.column("uid"), "uid")
        self.start, self.count = start, len(uid)
        self.order: np.ndarray | None = None
        if (uid[1:] < uid[:-1]).any():
            self.order = np.argsort(uid, kind="stable").astype(np.int32)
            uid = uid[self.order]
        if uid[0] < base or uid[-1] >= base + users:
            outside = uid[0] if uid[0] < base else uid[-1]
            raise ValueError(f"uid {outside} is not in the bucket of uids {base} to {base + users - 1}")
        starts = np.concatenate(([0], np.flatnonzero(uid[1:] != uid[:-1]) + 1))
        self.present = uid[starts] - base
        self.lengths = np.diff(starts, append=self.count)


def _places(parts: list[_Part], at: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Where each row of the merged order lies: by user, and within a user file after file by their earliest rows."""
    parts.sort(key=lambda part: int(at[part.start : part.start + part.count].min()))
    places = np.empty(len(at), np.int32)
    filled = begin[:-1].copy()
    for part in parts:
        # a user's run goes from its place in the file to the user's next free places
        shift = filled[part.present] - (np.cumsum(part.lengths) - part.lengths)
        filled[part.present] += part.lengths
        own = np.arange(part.count, dtype=np.int32)
        places[np.repeat(shift, part.lengths) + own] = (own if part.order is None else part.order) + part.start
    return places


def _store(stored: dict[str, np.ndarray], name: str, column: pa.ChunkedArray, start: int, count: int) -> None:
    """Put one file's column beside the others'; a nullable column gets room with its first value."""
    dtype = np.dtype(DTYPES[name])
    absent = name in NULLABLE and column.null_count == len(column)
    if absent and name not in stored:
        return
    if len(column) == count and not absent:
        stored[name] = kernel_values(column, name)
        return
    if name not in stored:
        stored[name] = np.full(count, NEVER, dtype) if name in NULLABLE else np.empty(count, dtype)
    stored[name][start : start + len(column)] = NEVER if absent else kernel_values(column, name)


def _in_time_order(rows: Rows) -> Rows:
    """The same rows with those of every user in order of day and time; only users that need it are touched."""
    at, day, begin = rows.column("occurred_at"), rows.column("day"), rows.begin
    back = at[1:] < at[:-1]
    back |= day[1:] < day[:-1]
    borders = begin[1:-1]
    back[borders[(borders > 0) & (borders < len(at))] - 1] = False
    found = np.flatnonzero(back)
    if not len(found):
        return rows
    late = np.unique(np.searchsorted(begin, found, side="right") - 1)
    lengths = begin[late + 1] - begin[late]
    user = np.repeat(np.arange(len(late), dtype=np.int32), lengths)
    touched = np.arange(len(user)) + np.repeat(begin[late] - (np.cumsum(lengths) - lengths), lengths)
    order = touched[np.lexsort((at[touched], day[touched], user))]
    places = np.arange(len(at), dtype=np.int32) if rows.places is None else rows.places
    places[touched] = places[order]
    return Rows(rows.base, begin, rows.stored, places)
