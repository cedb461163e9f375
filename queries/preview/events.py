"""What users did, as columns in the kernel's order: a bucket's made from its files once and shared by all releases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.facts import ORDERING, Fact
from features.instants import day_number
from features.kernel import Products, compute, merge_files
from features.kernel.arrays import from_arrow, to_arrow
from features.kernel.chosen import chosen, columns_of_fact
from features.kernel.rows import NEVER, NULLABLE, USERS_PER_BUCKET, Rows
from lake.local_cache import LocalCache
from queries.preview.files import BucketedFiles

USER = "user"
"""The place of a row's user in the bucket."""
Codes = dict[str, dict[str, int]]


class Events:
    """``files`` are those of ``activity`` at the release, whose day is ``as_of``."""

    def __init__(self, files: BucketedFiles, cache: LocalCache, as_of: date, zone: str):
        self.files, self.cache, self.as_of, self.zone = files, cache, as_of, zone
        self._columns: dict[tuple[int, str], tuple[np.ndarray, dict[str, int]]] = {}

    def counted(
        self, fact: Fact, uid: np.ndarray, products: Products | None, codes: Codes
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The fact of every user of ``uid`` (ascending), and who has one; None: everybody.

        What the kernel counts of whole buckets it counts here of the rows that can count.
        """
        buckets = self.files.buckets_of(uid)
        borders = np.searchsorted(uid, [b * USERS_PER_BUCKET for b in buckets])
        ends = [*borders[1:], len(uid)] if buckets else []
        for bucket in buckets:
            self._make(bucket, columns_of_fact(fact))

        def of_bucket(bucket: int, first: int, end: int) -> tuple[np.ndarray, np.ndarray | None]:
            return self._of_bucket(fact, bucket, uid[first:end] - bucket * USERS_PER_BUCKET, products, codes)

        found = [of_bucket(*one) for one in zip(buckets, borders, ends, strict=True)]
        values = np.concatenate([np.empty(0, np.int64), *(v for v, _ in found)])
        if all(known is None for _, known in found):
            return values, None
        return values, np.concatenate([np.ones(len(v), np.bool_) if k is None else k for v, k in found])

    def _of_bucket(
        self, fact: Fact, bucket: int, place: np.ndarray, products: Products | None, codes: Codes
    ) -> tuple[np.ndarray, np.ndarray | None]:
        as_of = day_number(self.as_of)
        rows = chosen(
            fact, as_of, USERS_PER_BUCKET, self._column(bucket, USER)[0], lambda n: self._effective(bucket, n)
        )
        column = compute(rows, [fact], self.as_of, products=products, codes=codes, zone=self.zone)[fact.column]
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        known = None
        if whole.null_count:
            known = from_arrow(whole.is_valid(), np.dtype(np.bool_), None, fact.column).take(place)
        if pa.types.is_float64(whole.type):
            return np.frombuffer(whole.buffers()[1], np.float64, len(whole)).take(place), known
        dtype = np.dtype(np.int32) if pa.types.is_date32(whole.type) else np.dtype(str(whole.type))
        return from_arrow(whole, dtype, 0, fact.column).take(place), known

    def _effective(self, bucket: int, name: str) -> np.ndarray | None:
        """A column of the bucket; None where it excludes no row on the day."""
        values, about = self._column(bucket, name)
        as_of = day_number(self.as_of)
        if name in NULLABLE and about["least"] > as_of:
            return None
        if name == "valid_from_day" and about["most"] <= as_of:
            return None
        return values

    def _column(self, bucket: int, name: str) -> tuple[np.ndarray, dict[str, int]]:
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
        for name in lacking:
            made = _to_table(_values(rows, name))
            self._columns[bucket, name] = _from_table(self.cache.put(self._name(bucket, name), made))

    def _name(self, bucket: int, name: str) -> str:
        return f"bucket-{bucket}-{self.files.key(bucket)}/{name}"

    def _merged(self, bucket: int, names: Sequence[str]) -> Rows:
        wanted = list(dict.fromkeys((*ORDERING, *names)))
        tables = [pq.ParquetFile(path).read(wanted) for path in self.files.local([bucket])]
        return merge_files(tables, wanted, base=bucket * USERS_PER_BUCKET)


def _values(rows: Rows, name: str) -> np.ndarray:
    """A column in order of user and time; empty where the day that it says is never."""
    if name == USER:
        return np.repeat(np.arange(rows.users, dtype=np.int32), np.diff(rows.begin))
    return rows.column(name) if name in rows.stored else np.empty(0, np.int32)


def _to_table(values: np.ndarray) -> pa.Table:
    """In the fewest bytes that hold the numbers."""
    least, most = (int(values.min()), int(values.max())) if len(values) else (NEVER, NEVER)
    if values.dtype == np.bool_:
        values = values.view(np.uint8)
    kinds: list[Any] = [np.uint8, np.int16, np.int32, np.int64]
    kind = next(k for k in kinds if np.iinfo(k).min <= least and (most <= np.iinfo(k).max or not len(values)))
    narrow = values.astype(kind)
    made = pa.table([to_arrow(narrow, None, pa.from_numpy_dtype(narrow.dtype))], names=["v"])
    return made.replace_schema_metadata({"about": json.dumps({"least": least, "most": most})})


def _from_table(table: pa.Table) -> tuple[np.ndarray, dict[str, int]]:
    column = table["v"]
    about = json.loads(table.schema.metadata[b"about"])
    return from_arrow(column, np.dtype(str(column.type)), None, "v"), about
