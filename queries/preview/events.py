"""What users did, as columns in the kernel's order: a bucket's made from its files once and shared by all releases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.facts import ORDERING, VALIDITY, Fact
from features.instants import day_number
from features.kernel import Followed, Products, compute, merge_files
from features.kernel.arrays import from_arrow, to_arrow
from features.kernel.chosen import chosen, columns_of_fact
from features.kernel.products import Codes
from features.kernel.rows import NULLABLE, USERS_PER_BUCKET, Rows
from lake.local_cache import LocalCache
from queries.preview.files import BucketedFiles
from schemas.behaviours import BEHAVIOURS

USER = "user"
"""The place of a row's user in the bucket."""
Bounds = dict[int, tuple[int, int]]
"""Of a day that a row must have reached to count, or not: by behaviour the least and the greatest."""


class Events:
    """``files`` are those of ``activity`` at the release, whose day is ``as_of``."""

    def __init__(self, files: BucketedFiles, cache: LocalCache, as_of: date, zone: str):
        self.files, self.cache, self.as_of, self.zone = files, cache, as_of, zone
        self._columns: dict[tuple[int, str], tuple[np.ndarray, Bounds]] = {}

    def counted(
        self, fact: Fact, uid: np.ndarray, products: Products | None, codes: Codes
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The fact of every user of ``uid`` (ascending), and who has one; None: everybody.

        What the kernel counts of whole buckets it counts here of the rows that can count.
        """
        buckets = self.files.buckets_of(uid)
        self._make_all(buckets, [fact])
        found = [
            self._of_bucket(fact, bucket, uid[here] - bucket * USERS_PER_BUCKET, products, codes)
            for bucket, here in buckets.items()
        ]
        values = np.concatenate([np.empty(0, np.int64), *(v for v, _ in found)])
        if all(known is None for _, known in found):
            return values, None
        return values, np.concatenate([np.ones(len(v), np.bool_) if k is None else k for v, k in found])

    def followed(
        self, sequence: Followed, uid: np.ndarray, products: Products | None, codes: Codes
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of every user of ``uid`` (ascending) whether the sequence holds, and whether that is known."""
        buckets = self.files.buckets_of(uid)
        self._make_all(buckets, [sequence.first, sequence.second], timed=True)
        values, known = np.zeros(len(uid), np.bool_), np.zeros(len(uid), np.bool_)
        for bucket, here in buckets.items():
            first, second = (self._rows(fact, bucket, timed=True) for fact in (sequence.first, sequence.second))
            flags = sequence.of(first, second, self.as_of, products=products, codes=codes, zone=self.zone)
            place = uid[here] - bucket * USERS_PER_BUCKET
            values[here], known[here] = (f.take(place) for f in flags)
        return values, known

    def _make_all(self, buckets: Iterable[int], facts: Sequence[Fact], *, timed: bool = False) -> None:
        names = dict.fromkeys(name for fact in facts for name in columns_of_fact(fact, timed=timed))
        for bucket in buckets:
            self._make(bucket, list(names))

    def _of_bucket(
        self, fact: Fact, bucket: int, place: np.ndarray, products: Products | None, codes: Codes
    ) -> tuple[np.ndarray, np.ndarray | None]:
        rows = self._rows(fact, bucket)
        if fact.measure == "rows" and not fact.where.conditions():
            return np.diff(rows.begin).take(place), None
        computed = compute(rows, [fact], self.as_of, products=products, codes=codes, zone=self.zone)
        values, known = _numbers(computed[fact.column].combine_chunks())
        return values.take(place), None if known is None else known.take(place)

    def _rows(self, fact: Fact, bucket: int, *, timed: bool = False) -> Rows:
        """The rows of a bucket that can count for a fact."""
        user, codes_read = self._column(bucket, USER)[0], [BEHAVIOURS[b] for b in fact.reads]

        def column(name: str) -> np.ndarray | None:
            return self._effective(bucket, name, codes_read)

        base = bucket * USERS_PER_BUCKET
        return chosen(fact, day_number(self.as_of), base, USERS_PER_BUCKET, user, column, timed=timed)

    def _effective(self, bucket: int, name: str, behaviours: Sequence[int]) -> np.ndarray | None:
        """A column of the bucket; None where it excludes no row of the behaviours on the day."""
        values, bounds = self._column(bucket, name)
        as_of = day_number(self.as_of)
        held = [bounds[b] for b in behaviours if b in bounds]
        if name in NULLABLE and all(least > as_of for least, _ in held):
            return None
        if name == "valid_from_day" and all(most <= as_of for _, most in held):
            return None
        return values

    def _column(self, bucket: int, name: str) -> tuple[np.ndarray, Bounds]:
        if (bucket, name) not in self._columns:
            self._make(bucket, [name])
        return self._columns[bucket, name]

    def _make(self, bucket: int, names: Sequence[str]) -> None:
        """Bring columns of a bucket into memory's reach, those that lack out of its files."""
        lacking = []
        for name in dict.fromkeys((USER, *names)):
            if (bucket, name) in self._columns:
                continue
            table = self.cache.table(self._name(bucket, name))
            if table is None:
                lacking.append(name)
            else:
                self._columns[bucket, name] = _from_table(table)
        if not lacking:
            return
        rows = self._merged(bucket, [n for n in lacking if n != USER])
        behaviour = rows.column("behaviour_code")
        for name in lacking:
            values = _values(rows, name)
            made = _to_table(values, _bounds(values, behaviour) if name in VALIDITY else {})
            self._columns[bucket, name] = _from_table(self.cache.put(self._name(bucket, name), made))

    def _name(self, bucket: int, name: str) -> str:
        return f"bucket-{bucket}-{self.files.key(bucket)}/{name}"

    def _merged(self, bucket: int, names: Sequence[str]) -> Rows:
        wanted = list(dict.fromkeys((*ORDERING, "behaviour_code", *names)))
        tables = [pq.ParquetFile(path).read(wanted) for path in self.files.local([bucket])]
        return merge_files(tables, wanted, base=bucket * USERS_PER_BUCKET)


def _values(rows: Rows, name: str) -> np.ndarray:
    """A column in order of user and time; empty where the day that it says is never."""
    if name == USER:
        return np.repeat(np.arange(rows.users, dtype=np.int32), np.diff(rows.begin))
    return rows.column(name) if name in rows.stored else np.empty(0, np.int32)


def _bounds(values: np.ndarray, behaviour: np.ndarray) -> Bounds:
    found = {}
    for code in np.flatnonzero(np.bincount(behaviour)).tolist() if len(values) else ():
        here = values[behaviour == code]
        found[code] = (int(here.min()), int(here.max()))
    return found


def _numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """A fact's values, and of whom there is one; None: everybody."""
    known = None
    if column.null_count:
        known = from_arrow(column.is_valid(), np.dtype(np.bool_), None, "known")
    if pa.types.is_float64(column.type):
        return np.frombuffer(column.buffers()[1], np.float64, len(column), column.offset * 8), known
    kind = np.int32 if pa.types.is_date32(column.type) else np.int64
    return from_arrow(column, np.dtype(kind), 0, "values"), known


def _to_table(values: np.ndarray, bounds: Bounds) -> pa.Table:
    """In the fewest bytes that hold the numbers."""
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if values.dtype == np.bool_:
        values = values.view(np.uint8)
    kinds: list[Any] = [np.uint8, np.int16, np.int32, np.int64]
    kind = next(k for k in kinds if np.iinfo(k).min <= least and most <= np.iinfo(k).max)
    made = pa.table([to_arrow(values.astype(kind), None, pa.from_numpy_dtype(kind))], names=["v"])
    return made.replace_schema_metadata({"bounds": json.dumps(bounds)})


def _from_table(table: pa.Table) -> tuple[np.ndarray, Bounds]:
    column, bounds = table["v"], json.loads(table.schema.metadata[b"bounds"])
    values = from_arrow(column, np.dtype(str(column.type)), None, "v")
    return values, {int(code): (least, most) for code, (least, most) in bounds.items()}
