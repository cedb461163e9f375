"""Opens the activity files of one bucket: the one reader of facts, fission, offers, gaps and the conditions of audiences.

What a file's own statistics show to be without use is left on disk: row groups outside the days, behaviours or users
asked for, and validity days that exclude nothing on the day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.facts import ORDERING
from features.kernel import Rows, merge_files
from features.kernel.rows import USERS_PER_BUCKET, kernel_values
from lake.spans import each, span

SMALL_FILE_ROWS = 1_000_000
BATCH_ROWS = 1 << 19


@dataclass(frozen=True)
class Wanted:
    """Which rows are asked for, as of a day.

    Days from ``first`` (None: from the beginning) to ``as_of``. ``known_at_day`` is the day that must have known a row
    (None: any). ``behaviours`` are codes (None: all), ``uid`` asks for one user, ``without`` leaves users out (retired
    ones: their rows stand under the elder too).
    """

    as_of: date
    first: date | None = None
    known_at_day: date | None = None
    behaviours: tuple[int, ...] | None = None
    uid: int | None = None
    without: Sequence[int] | np.ndarray = ()

    @property
    def by_row(self) -> bool:
        """Rows are chosen one by one; otherwise only whole row groups are left out."""
        return self.behaviours is not None or self.uid is not None or len(self.without) > 0


class BucketFiles:
    """The activity files of one bucket (none is fine), opened for what is wanted of them."""

    def __init__(self, paths: Sequence[str], wanted: Wanted):
        self.wanted = wanted
        self.files = [_File(path, wanted) for path in paths]

    def without_effect(self) -> set[str]:
        """Validity columns that exclude no row on the day, as the statistics of all files show."""
        as_of, known_at_day = self.wanted.as_of, self.wanted.known_at_day
        found = {c for c in ("void_day", "flagged_day") if all(f.never_at_or_below(c, as_of) for f in self.files)}
        for name, limit in (("valid_from_day", as_of), ("known_day", known_at_day), ("void_known_day", known_at_day)):
            if limit is not None and all(f.never_above(name, limit) for f in self.files):
                found.add(name)
        return found

    def rows(self, columns: Sequence[str], *, base: int, users: int = USERS_PER_BUCKET) -> Rows:
        """The rows of all files in one order, with the columns that have an effect.

        Rows outside the days may be among them unless ``by_row``: whoever selects looks at the days.
        """
        without_effect = self.without_effect()
        names = [c for c in dict.fromkeys((*ORDERING, *columns)) if c not in without_effect]
        if self.wanted.by_row:
            return merge_files([f.chosen(names) for f in self.files], names, base=base, users=users)
        for file in self.files:
            file.expect(names)
        return merge_files(self.files, names, base=base, users=users)

    def batches(self, columns: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """Rows file by file, at most ``BATCH_ROWS`` at a time, as the kernel holds them: memory is one batch's.

        Columns without effect are missing. Users left out are left out; days and behaviours are the caller's to judge.
        """
        without_effect = self.without_effect()
        names = [c for c in dict.fromkeys(("uid", *columns)) if c not in without_effect]
        left_out = np.asarray(self.wanted.without, np.int64)
        for file in self.files:
            for batch in file.batches(names):
                rows = {n: kernel_values(batch.column(n), n) for n in names}
                if len(left_out) and (gone := np.isin(rows["uid"], left_out)).any():
                    rows = {n: values[~gone] for n, values in rows.items()}
                yield rows


class _File:
    """One activity file. A large one is read column by column, so that never all of it is in memory twice."""

    def __init__(self, path: str, wanted: Wanted):
        self._file, self._wanted = pq.ParquetFile(path), wanted
        meta = self._file.metadata
        first_group = meta.row_group(0) if meta.num_row_groups else None
        names = [first_group.column(i).path_in_schema for i in range(meta.num_columns)] if first_group else []
        self._position = {name: i for i, name in enumerate(names)}
        self.groups = [group for group in range(meta.num_row_groups) if self._may_hold(group)]
        self.num_rows = sum(meta.row_group(group).num_rows for group in self.groups)
        self._expected: list[str] = []
        self._read: pa.Table | None = None

    def expect(self, columns: Sequence[str]) -> None:
        """These will be asked for, each once: a small file is then read in one go (30 % less time for month files)."""
        self._expected = list(columns) if self.num_rows <= SMALL_FILE_ROWS else []

    @span("read", "activity")
    def column(self, name: str) -> pa.ChunkedArray:
        if name not in self._expected:
            return self._file.read_row_groups(self.groups, columns=[name], use_threads=False).column(0)
        if self._read is None:
            self._read = self._file.read_row_groups(self.groups, columns=self._expected, use_threads=False)
        found = self._read.column(name)
        self._expected.remove(name)
        self._read = self._read.drop_columns([name]) if self._expected else None
        return found

    def chosen(self, columns: Sequence[str]) -> pa.Table:
        """The wanted rows only; of a large file batch by batch, so that memory is theirs."""
        judged = [c for c in ("uid", "day", "behaviour_code") if c not in columns]
        names = [*columns, *judged]
        parts = [b.filter(self._mask(b)).select(list(columns)) for b in self._tables(names)]
        return pa.concat_tables(parts) if parts else pa.table({name: pa.array([], pa.int64()) for name in columns})

    def _tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        if self.num_rows <= SMALL_FILE_ROWS:
            if self.groups:
                with span("read", "activity"):
                    found = self._file.read_row_groups(self.groups, columns=list(names), use_threads=False)
                yield found
            return
        for batch in self.batches(names):
            yield pa.Table.from_batches([batch])

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if self.groups:
            found = self._file.iter_batches(
                BATCH_ROWS, row_groups=self.groups, columns=list(columns), use_threads=False
            )
            yield from each("read", "activity", found)

    def _mask(self, rows: pa.Table) -> pa.ChunkedArray:
        wanted = self._wanted
        mask = pc.less_equal(rows["day"], pa.scalar(wanted.as_of, pa.date32()))
        if wanted.first is not None:
            mask = pc.and_(mask, pc.greater_equal(rows["day"], pa.scalar(wanted.first, pa.date32())))
        if wanted.behaviours is not None:
            codes = pa.array(wanted.behaviours, rows.schema.field("behaviour_code").type)
            mask = pc.and_(mask, pc.is_in(rows["behaviour_code"], codes))
        if wanted.uid is not None:
            mask = pc.and_(mask, pc.equal(rows["uid"], wanted.uid))
        if len(wanted.without):
            gone = pc.is_in(rows["uid"], pa.array(wanted.without, pa.int64()))
            mask = pc.and_(mask, pc.invert(gone))
        return mask

    def _may_hold(self, group: int) -> bool:
        """Whether the statistics leave room for a wanted row."""
        wanted = self._wanted
        low, high = self._range(group, "day")
        if (low is not None and low > wanted.as_of) or (
            high is not None and wanted.first is not None and high < wanted.first
        ):
            return False
        if wanted.behaviours is not None:
            low, high = self._range(group, "behaviour_code")
            if low is not None and not any(low <= code <= high for code in wanted.behaviours):
                return False
        if wanted.uid is not None:
            low, high = self._range(group, "uid")
            return low is None or low <= wanted.uid <= high
        return True

    def _range(self, group: int, name: str) -> tuple[Any, Any]:
        found = self._file.metadata.row_group(group).column(self._position[name]).statistics
        return (found.min, found.max) if found is not None and found.has_min_max else (None, None)

    def never_above(self, name: str, limit: date) -> bool:
        """The statistics say so."""
        highs = [self._range(group, name)[1] for group in self.groups]
        return all(high is not None and high <= limit for high in highs)

    def never_at_or_below(self, name: str, limit: date) -> bool:
        """The statistics say so; absent values count as never."""
        for group in self.groups:
            found = self._file.metadata.row_group(group).column(self._position[name]).statistics
            all_null = found is not None and found.null_count == found.num_values + found.null_count
            low = self._range(group, name)[0]
            if not all_null and (low is None or low <= limit):
                return False
        return True
