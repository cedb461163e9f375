"""Two snapshots of one bucket side by side: what changed, who moved where, how much is known.

Values are compared as the process keeps them: ``unknown`` is null, and a number with bands stands for its band.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.tags import UNKNOWN

NEW, LOST = "NEW", "LOST"
Bands = Sequence[int] | None


class TwoSnapshots:
    """Rows are the users of either snapshot: those of ``current`` in its order, then those that left.

    Both tables have ``uid`` (ascending), ``is_member`` and tags; ``previous`` is None where there is none, and a tag
    that one of them lacks is unknown there. ``log`` holds ``uid``, ``tag`` and ``value`` of later changes than
    ``previous`` knows, one row per user and tag.
    """

    def __init__(self, current: pa.Table, previous: pa.Table | None, log: pa.Table | None = None):
        self._current, self._previous, self._log = current, previous, log
        mine = current["uid"].combine_chunks()
        if previous is None:
            self.uid, self._rows, self._earlier = mine, None, pa.nulls(len(mine), pa.int64())
        elif mine.equals(theirs := previous["uid"].combine_chunks()):
            self.uid, self._rows, self._earlier = mine, None, None
        else:
            left = theirs.filter(pc.invert(pc.is_in(theirs, mine)))
            self.uid = pa.concat_arrays([mine, left])
            self._rows = pc.index_in(self.uid, mine)
            self._earlier = pc.index_in(self.uid, theirs)

    def _side(self, table: pa.Table | None, rows: pa.Array | None, name: str, kind: pa.DataType) -> pa.Array:
        if table is None or name not in table.column_names:
            return pa.nulls(len(self.uid), kind)
        column = table[name].combine_chunks()
        return column if rows is None else column.take(rows)

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
        now = self._side(self._current, self._rows, "is_member", pa.bool_())
        was = self._side(self._previous, self._earlier, "is_member", pa.bool_())
        return np.asarray(pc.coalesce(now, was).to_numpy(zero_copy_only=False), dtype=bool)

    def values(self, name: str, bands: Bands, kind: pa.DataType) -> tuple[pa.Array, pa.Array]:
        """The tag now and before, as the process keeps it."""
        return (
            as_kept(self._side(self._current, self._rows, name, kind), bands),
            as_kept(self._side(self._previous, self._earlier, name, kind), bands),
        )

    def changed(self, now: pa.Array, was: pa.Array) -> np.ndarray:
        """Where two columns differ, unknown being equal to unknown."""
        equal = pc.fill_null(pc.equal(now, was), False)
        both_unknown = pc.and_(pc.is_null(now), pc.is_null(was))
        return ~np.asarray(pc.or_(equal, both_unknown).to_numpy(zero_copy_only=False), dtype=bool)

    def changes(self, name: str, bands: Bands, kind: pa.DataType) -> pa.Table:
        """``uid``, ``tag``, ``value`` of those whose value differs from what the process last said; null is unknown."""
        now, was = self.values(name, bands, kind)
        if self._log is not None:
            now, was = as_text(now), self._logged(name, as_text(was))
        rows = pa.array(np.flatnonzero(self.changed(now, was)))
        uid, value = self.uid.take(rows), as_text(now.take(rows))
        if self._log is not None:
            gone = self._gone(name)
            uid, value = pa.concat_arrays([uid, gone]), pa.concat_arrays([value, pa.nulls(len(gone), pa.string())])
        return pa.table({"uid": uid, "tag": pa.array([name] * len(uid), pa.string()), "value": value})

    def _gone(self, name: str) -> pa.Array:
        """Users whom only the log knows, with a value that has to end."""
        assert self._log is not None
        log = self._log.filter(pc.and_(pc.equal(self._log["tag"], name), pc.is_valid(self._log["value"])))
        uid = log["uid"].combine_chunks()
        return uid.filter(pc.invert(pc.is_in(uid, self.uid)))

    def _logged(self, name: str, was: pa.Array) -> pa.Array:
        assert self._log is not None
        log = self._log.filter(pc.equal(self._log["tag"], name)).combine_chunks()
        if not len(log):
            return was
        at = pc.index_in(self.uid, log["uid"].combine_chunks())
        return pc.if_else(pc.is_valid(at), log["value"].combine_chunks().take(at), was)

    def quality(self, name: str, bands: Bands, kind: pa.DataType) -> list[dict[str, Any]]:
        """Users of the base, with a value, and with another value than before, members and visitors apart."""
        now, was = self.values(name, bands, kind)
        known = np.asarray(pc.is_valid(now).to_numpy(zero_copy_only=False), dtype=bool)
        changed = self.changed(now, was) & self.here & self.there
        found = []
        for member in (False, True):
            group = self.here & (self.is_member == member)
            if group.any():
                counts = {"base_users": group, "known_users": known & group, "changed_users": changed & group}
                figures = {k: int(np.count_nonzero(v)) for k, v in counts.items()}
                found.append({"tag": name, "is_member": member, **figures})
        return found

    def flows(self, scheme: str) -> list[dict[str, Any]]:
        """Users by membership, where they were and where they are; the newer snapshot says who is a member."""
        now, was = self.values(scheme, None, pa.string())
        origins, start = _coded(was, self.there, NEW)
        goals, end = _coded(now, self.here, LOST)
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


def as_kept(column: pa.Array, bands: Bands) -> pa.Array:
    """A column as the process keeps it."""
    if pa.types.is_string(column.type):
        return pc.if_else(pc.equal(column, UNKNOWN), pa.scalar(None, pa.string()), column)
    if not bands:
        return column
    names = [f"<{bands[0]}"]
    names += [f"{low}..{high - 1}" for low, high in pairwise(bands)]
    names.append(f">={bands[-1]}")
    unknown = pc.is_null(column).to_numpy(zero_copy_only=False)
    place = np.searchsorted(np.asarray(bands), pc.fill_null(column, 0).to_numpy(zero_copy_only=False), side="right")
    return pa.array(names, pa.string()).take(pa.array(place, mask=unknown))


def as_text(column: pa.Array) -> pa.Array:
    """Values as the process writes them: days as 2026-03-01, booleans as true or false, floats as short as is exact."""
    if pa.types.is_floating(column.type):
        return pa.array([None if v is None else repr(v) for v in column.to_pylist()], pa.string())
    return column.cast(pa.string())


def _coded(column: pa.Array, present: np.ndarray, absent: str) -> tuple[list[str], np.ndarray]:
    """Values, among them ``unknown`` and what users outside have, and the place of each row's among them."""
    encoded = column.dictionary_encode()
    names = [*encoded.dictionary.to_pylist(), UNKNOWN, absent]
    at = pc.fill_null(encoded.indices, len(names) - 2).to_numpy(zero_copy_only=False).astype(np.int64)
    return names, np.where(present, at, len(names) - 1)


def _present(rows: pa.Array | None, n: int) -> np.ndarray:
    if rows is None:
        return np.ones(n, dtype=bool)
    return np.asarray(pc.is_valid(rows).to_numpy(zero_copy_only=False), dtype=bool)
