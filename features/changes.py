"""Two snapshots of the same users side by side: what changed, who moved where, how much is known.

Values are compared as the process keeps them: ``unknown`` is null, and a number with bands stands for its band. Texts and
bands are compared by their codes, numbers as they are: a tag of 100,000 users costs a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.kernel.arrays import from_arrow, numbers_and_known, to_arrow
from features.tags import UNKNOWN

NEW, LOST = "NEW", "LOST"
Bands = Sequence[int] | None
_INT32 = np.dtype(np.int32)
_LOG = pa.schema([("uid", pa.int64()), ("tag", pa.string()), ("value", pa.string())])
_ABSENT = -1
"""Code of what is not known, and the place of a user who is not in a snapshot."""


@dataclass(frozen=True)
class KeptColumn:
    """A column as the process keeps it: numbers with 0 for what is ``known`` nowhere, or codes of ``names``."""

    values: np.ndarray
    known: np.ndarray
    names: pa.Array | None = None

    def at(self, rows: np.ndarray | None) -> KeptColumn:
        """Of the users in these rows; nothing is known of ``_ABSENT`` ones. None: of all as they are."""
        if rows is None:
            return self
        absent = self.values.dtype.type(0 if self.names is None else _ABSENT)
        return KeptColumn(np.append(self.values, absent)[rows], np.append(self.known, np.False_)[rows], self.names)

    def differs(self, other: KeptColumn) -> np.ndarray:
        """Where two columns of the same users differ, unknown being equal to unknown."""
        theirs = other.values
        if self.names is not None and other.names is not None and not self.names.equals(other.names):
            theirs = np.append(_places(other.names, self.names), np.int32(_ABSENT))[theirs]
        return (self.values != theirs) | (self.known != other.known)


class TwoSnapshots:
    """Rows are the users of either snapshot: those of ``current`` in its order, then those that left.

    Both tables have ``uid`` (ascending), ``is_member`` and tags, texts also encoded by a dictionary; ``previous`` is None
    where there is none, and a tag that one of them lacks is unknown there. ``log`` holds ``uid``, ``tag`` and ``value`` of
    later changes than ``previous`` knows, one row per user and tag.
    """

    def __init__(self, current: pa.Table, previous: pa.Table | None, log: pa.Table | None = None):
        self._current, self._previous = current, previous
        self._log = None if log is None else log.cast(_LOG)
        self._compared: tuple[Any, KeptColumn, KeptColumn, np.ndarray] | None = None
        self._rows: np.ndarray | None = None
        self._earlier: np.ndarray | None = None
        mine = current["uid"].combine_chunks()
        self.uid = mine
        if previous is None:
            self._earlier = np.full(len(mine), _ABSENT)
        elif not mine.equals(theirs := previous["uid"].combine_chunks()):
            self.uid = pa.concat_arrays([mine, theirs.filter(pc.invert(pc.is_in(theirs, mine)))])
            self._rows, self._earlier = _places(self.uid, mine), _places(self.uid, theirs)

    @cached_property
    def here(self) -> np.ndarray:
        """In ``current``."""
        return _present(self._rows, len(self.uid))

    @cached_property
    def there(self) -> np.ndarray:
        """In ``previous``."""
        return _present(self._earlier, len(self.uid))

    @cached_property
    def is_member(self) -> np.ndarray:
        """A member in the newer of the snapshots that the user is in."""
        now = _kept_of(self._current, "is_member", None, pa.bool_()).at(self._rows)
        was = _kept_of(self._previous, "is_member", None, pa.bool_()).at(self._earlier)
        return np.where(now.known, now.values, was.values)

    def values(self, name: str, bands: Bands, kind: pa.DataType) -> tuple[pa.Array, pa.Array]:
        """The tag now and before, as the process keeps it."""
        return (
            as_kept(_side(self._current, self._rows, name, kind, len(self.uid)), bands),
            as_kept(_side(self._previous, self._earlier, name, kind, len(self.uid)), bands),
        )

    def _tag(self, name: str, bands: Bands, kind: pa.DataType) -> tuple[KeptColumn, KeptColumn, np.ndarray]:
        """The tag now and before, and where it differs; kept until another one is asked for."""
        if self._compared is None or self._compared[0] != (name, bands):
            now = _kept_of(self._current, name, bands, kind).at(self._rows)
            was = _kept_of(self._previous, name, bands, kind).at(self._earlier)
            self._compared = ((name, bands), now, was, now.differs(was))
        return self._compared[1:]

    def changes(self, name: str, bands: Bands, kind: pa.DataType) -> pa.Table:
        """``uid``, ``tag``, ``value`` of those whose value differs from what the process last said; null is unknown.

        Texts are encoded: on a first day every user has a row a tag.
        """
        if self._log is not None:
            return self._changes_since_log(name, bands, kind, self._log)
        now, _, differs = self._tag(name, bands, kind)
        changed = np.flatnonzero(differs)
        if now.names is not None:
            codes, names = to_arrow(now.values[changed], ~now.known[changed], pa.int32()), now.names
        else:
            side = _side(self._current, self._rows, name, kind, len(self.uid))
            encoded = _of_rows(side, changed).dictionary_encode()
            codes, names = encoded.indices, as_text(encoded.dictionary)
        return _changes(self.uid.take(_indices(changed)), name, pa.DictionaryArray.from_arrays(codes, names))

    def _changes_since_log(self, name: str, bands: Bands, kind: pa.DataType, log: pa.Table) -> pa.Table:
        of_tag = log.filter(pc.equal(log["tag"], name)).combine_chunks()
        now, was = (as_text(side) for side in self.values(name, bands, kind))
        if len(of_tag):
            at = pc.index_in(self.uid, of_tag["uid"].combine_chunks())
            was = pc.if_else(pc.is_valid(at), of_tag["value"].combine_chunks().take(at), was)
        equal = pc.fill_null(pc.equal(now, was), False)
        differs = pc.invert(pc.or_(equal, pc.and_(pc.is_null(now), pc.is_null(was))))
        # users whom only the log knows, with a value that has to end
        lasting = of_tag["uid"].filter(pc.is_valid(of_tag["value"])).combine_chunks()
        gone = lasting.filter(pc.invert(pc.is_in(lasting, self.uid)))
        uid = pa.concat_arrays([self.uid.filter(differs), gone])
        value = pa.concat_arrays([now.filter(differs), pa.nulls(len(gone), pa.string())])
        return _changes(uid, name, value.dictionary_encode())

    def quality(self, name: str, bands: Bands, kind: pa.DataType) -> list[dict[str, Any]]:
        """Users of the base, with a value, and with another value than before, members and visitors apart."""
        now, _, differs = self._tag(name, bands, kind)
        changed = differs & self._in_both
        found = []
        for member, group in self._groups:
            counts = {"base_users": group, "known_users": now.known & group, "changed_users": changed & group}
            figures = {k: int(np.count_nonzero(v)) for k, v in counts.items()}
            found.append({"tag": name, "is_member": member, **figures})
        return found

    @cached_property
    def _in_both(self) -> np.ndarray:
        return self.here & self.there

    @cached_property
    def _groups(self) -> list[tuple[bool, np.ndarray]]:
        """Visitors and members of the base, as far as there are any."""
        groups = [(member, self.here & (self.is_member == member)) for member in (False, True)]
        return [(member, group) for member, group in groups if group.any()]

    def flows(self, scheme: str) -> list[dict[str, Any]]:
        """Users by membership, where they were and where they are; the newer snapshot says who is a member."""
        now, was, _ = self._tag(scheme, None, pa.string())
        origins, start = _named(was, self.there, NEW)
        goals, end = _named(now, self.here, LOST)
        counts = np.bincount(
            (start * len(goals) + end) * 2 + self.is_member, minlength=2 * len(origins) * len(goals)
        ).reshape(len(origins), len(goals), 2)
        return [
            {
                "scheme": scheme,
                "is_member": bool(m),
                "from_segment": origins[i],
                "to_segment": goals[j],
                "users": int(counts[i, j, m]),
            }
            for i, j, m in zip(*(a.tolist() for a in np.nonzero(counts)), strict=True)
        ]


# --- as the process keeps it ---


def as_kept(column: pa.Array, bands: Bands) -> pa.Array:
    """A column as the process keeps it, not encoded."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    if pa.types.is_string(column.type):
        return pc.if_else(pc.equal(column, UNKNOWN), pa.scalar(None, pa.string()), column)
    if not bands:
        return column
    kept = _in_bands(column, bands)
    assert kept.names is not None
    return kept.names.take(to_arrow(kept.values, ~kept.known, pa.int32()))


def as_text(column: pa.Array) -> pa.Array:
    """Values as the process writes them: days as 2026-03-01, booleans as true or false, floats as short as is exact."""
    if pa.types.is_floating(column.type):
        return pa.array([None if v is None else repr(v) for v in column.to_pylist()], pa.string())
    return column.cast(pa.string())


def _kept_of(table: pa.Table | None, name: str, bands: Bands, kind: pa.DataType) -> KeptColumn:
    column = pa.nulls(0, kind) if table is None else _side(table, None, name, kind, len(table))
    if pa.types.is_string(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        codes, names = from_arrow(column.indices, _INT32, _ABSENT, name), column.dictionary
        unknown = names.index(UNKNOWN).as_py()
        if unknown >= 0:
            codes = np.where(codes == unknown, np.int32(_ABSENT), codes)
        return KeptColumn(codes, codes != _ABSENT, names)
    if bands:
        return _in_bands(column, bands)
    values, known = numbers_and_known(column)
    return KeptColumn(values, np.ones(len(values), np.bool_) if known is None else known)


def band_names(bands: Sequence[int]) -> list[str]:
    """What the process of a tag calls its bands."""
    return [f"<{bands[0]}", *(f"{low}..{high - 1}" for low, high in pairwise(bands)), f">={bands[-1]}"]


def _in_bands(column: pa.Array, bands: Sequence[int]) -> KeptColumn:
    names = band_names(bands)
    values, known = numbers_and_known(column)
    codes = np.searchsorted(np.asarray(bands), values, side="right").astype(np.int32)
    if known is None:
        return KeptColumn(codes, np.ones(len(codes), np.bool_), pa.array(names, pa.string()))
    return KeptColumn(np.where(known, codes, np.int32(_ABSENT)), known, pa.array(names, pa.string()))


def _named(kept: KeptColumn, present: np.ndarray, absent: str) -> tuple[list[str], np.ndarray]:
    """Values, among them ``unknown`` and what users outside have, and the place of each row's among them."""
    assert kept.names is not None
    names = [*kept.names.to_pylist(), UNKNOWN, absent]
    at = np.where(kept.known, kept.values, len(names) - 2).astype(np.int64)
    return names, np.where(present, at, len(names) - 1)


# --- rows ---


def _changes(uid: pa.Array, name: str, value: pa.Array) -> pa.Table:
    tag = pa.DictionaryArray.from_arrays(to_arrow(np.zeros(len(uid), np.int32), None, pa.int32()), pa.array([name]))
    return pa.table({"uid": uid, "tag": tag, "value": value})


def _side(table: pa.Table | None, rows: np.ndarray | None, name: str, kind: pa.DataType, users: int) -> pa.Array:
    at = -1 if table is None else table.schema.get_field_index(name)
    if table is None or at < 0:
        return pa.nulls(users, kind)
    whole = table.column(at)
    # combining copies what is a slice of one chunk
    column = _of_rows(whole.chunk(0) if whole.num_chunks == 1 else whole.combine_chunks(), rows)
    return column if column.type == kind or pa.types.is_dictionary(column.type) else column.cast(kind)


def _of_rows(column: pa.Array, rows: np.ndarray | None) -> pa.Array:
    return column if rows is None else column.take(_indices(rows))


def _indices(rows: np.ndarray) -> pa.Array:
    """Rows as Arrow takes them: null for who is absent."""
    absent = rows == _ABSENT
    return to_arrow(rows.astype(np.int64), absent if absent.any() else None, pa.int64())


def _places(values: pa.Array, among: pa.Array) -> np.ndarray:
    """Where each value stands among others; ``_ABSENT`` for who does not."""
    return from_arrow(pc.index_in(values, among), _INT32, _ABSENT, "place")


def _present(rows: np.ndarray | None, n: int) -> np.ndarray:
    return np.ones(n, np.bool_) if rows is None else rows != _ABSENT
