"""Everybody of a release's profile in order of uid, with tags as bits: made from the files once, mapped ever after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiences.bit_slices import encoded
from audiences.bits import BitColumn, Bits, everybody
from features.kernel.arrays import from_arrow, to_arrow
from lake.local_cache import LocalCache
from lake.releases import Release
from project.audience import refuse_missing
from queries.preview.files import BucketedFiles
from schemas.contracts import Type

AT_ONCE = 8
"""Columns that are read together: so many are in memory as they are stored."""
PREFIX_BYTES = 8


class ProfileBits:
    """Rows are users, in order of uid. ``files`` are those of the release's day."""

    def __init__(self, at: Release, files: BucketedFiles, cache: LocalCache, name: str):
        self.at, self.files, self.cache, self.name = at, files, cache, name
        self._columns: dict[str, BitColumn] = {}

    @cached_property
    def uid(self) -> np.ndarray:
        table = self.cache.made(f"{self.name}/uid", self._uids)
        return from_arrow(table["uid"], np.dtype(np.int64), None, "uid")

    def _uids(self) -> pa.Table:
        return pa.table([to_arrow(np.sort(self._stored_uids()), None, pa.int64())], names=["uid"])

    @cached_property
    def everybody(self) -> Bits:
        return everybody(len(self.uid))

    def columns(self, wanted: Mapping[str, Type]) -> dict[str, BitColumn]:
        """Columns by name, each of its type; those that lack are made in one go. NotThereError for a tag that is newer."""
        for name in wanted:
            if name not in self._columns:
                table = self.cache.table(f"{self.name}/{name}")
                if table is not None:
                    self._columns[name] = _from_table(table)
        lacking = [n for n in wanted if n not in self._columns]
        for start in range(0, len(lacking), AT_ONCE):
            names = lacking[start : start + AT_ONCE]
            stored = self._read(names, [n for n in names if wanted[n] == "string"])
            for name in names:
                made = encoded(stored[name], wanted[name])
                self._columns[name] = _from_table(self.cache.put(f"{self.name}/{name}", _to_table(made)))
                stored = stored.drop_columns([name])
        return {name: self._columns[name] for name in wanted}

    def stored(self, name: str) -> pa.ChunkedArray:
        """A column as it is stored, in order of uid."""
        return self._read([name], [])[name]

    def _read(self, names: Sequence[str], texts: Sequence[str]) -> pa.Table:
        """Columns of all files in order of uid; ``texts`` come as numbers of a dictionary, as the files have them."""
        parts = [self._of_file(path, names, texts) for path in self.files.local()]
        if not parts:
            return pa.table([pa.chunked_array([pa.nulls(0)])] * len(names), names=list(names))
        table = pa.concat_tables(parts)
        order = self._order
        return table if order is None else table.take(to_arrow(order, None, pa.int64()))

    def _of_file(self, path: str, names: Sequence[str], texts: Sequence[str]) -> pa.Table:
        about = pq.read_metadata(path)
        refuse_missing(self.at, about.schema.names, names)
        return pq.ParquetFile(path, metadata=about, read_dictionary=list(texts)).read(list(names))

    @cached_property
    def _order(self) -> np.ndarray | None:
        """Where each row lies in the files one after the other; None: in order as they are."""
        uid = self._stored_uids()
        return None if (uid[1:] > uid[:-1]).all() else np.argsort(uid, kind="stable")

    def _stored_uids(self) -> np.ndarray:
        files = (pq.ParquetFile(path).read(["uid"])["uid"] for path in self.files.local())
        parts = [from_arrow(uids, np.dtype(np.int64), None, "uid") for uids in files]
        return np.concatenate([np.empty(0, np.int64), *parts])

    # --- some of them ---

    def first_by_user_id(self, rows: np.ndarray, most: int, columns: Iterable[str]) -> list[dict[str, Any]]:
        """Of users by their rows the first in the order of ``user_id`` (a hash: a fair sample), with columns as stored."""
        if most and len(rows) > most:
            prefix = self._prefix[rows]
            rows = rows[prefix <= np.partition(prefix, most - 1)[most - 1]]
        names = list(dict.fromkeys(["user_id", *columns]))
        found = self._of_users(self.uid[rows] if most else self.uid[:0], names)
        return sorted(found, key=lambda row: str(row["user_id"]))[:most]

    def _of_users(self, uid: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
        wanted = to_arrow(np.ascontiguousarray(uid), None, pa.int64())
        found: list[dict[str, Any]] = []
        for path in self.files.local(self.files.buckets_of(uid)):
            table = self._of_file(path, list(dict.fromkeys(["uid", *names])), [])
            found += table.filter(pc.is_in(table["uid"], value_set=wanted)).select(list(names)).to_pylist()
        return found

    @cached_property
    def _prefix(self) -> np.ndarray:
        """The first bytes of everybody's ``user_id`` as a number, so that the ids need not be read to be compared."""
        table = self.cache.made(f"{self.name}/_prefix", self._prefixes)
        return from_arrow(table["prefix"], np.dtype(np.uint64), None, "prefix")

    def _prefixes(self) -> pa.Table:
        parts = [_first_bytes(chunk) for chunk in self.stored("user_id").chunks]
        return pa.table(
            [to_arrow(np.concatenate([np.empty(0, np.uint64), *parts]), None, pa.uint64())], names=["prefix"]
        )


def _first_bytes(texts: pa.StringArray) -> np.ndarray:
    """Of every text its first bytes as a number that compares as the texts do; what is shorter is filled up with zeros."""
    if not len(texts):
        return np.empty(0, np.uint64)
    _, offsets, data = texts.buffers()
    begin = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4).astype(np.int64)
    held = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    found = np.zeros(len(texts), np.uint64)
    for i in range(PREFIX_BYTES):
        place = begin[:-1] + i
        byte = held.take(place, mode="clip").astype(np.uint64)
        byte[place >= begin[1:]] = 0
        found = (found << np.uint64(8)) | byte
    return found


def _to_table(column: BitColumn) -> pa.Table:
    names = ["known", *map(str, range(len(column.planes)))]
    arrays = [to_arrow(bits, None, pa.uint64()) for bits in (column.known, *column.planes)]
    about = {"low": column.low, "values": column.values}
    return pa.table(arrays, names=names).replace_schema_metadata({"bits": json.dumps(about, ensure_ascii=False)})


def _from_table(table: pa.Table) -> BitColumn:
    about = json.loads(table.schema.metadata[b"bits"])
    bits = [from_arrow(column, np.dtype(np.uint64), None, "bits") for column in table.columns]
    return BitColumn(bits[0], bits[1:], about["low"], about["values"])
