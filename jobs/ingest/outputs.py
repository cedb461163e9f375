"""The Parquet files that one task of ingest writes, and how all of ingest writes and reads such files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake.lake import partition_path
from lake.spans import each, span
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import Contract, contract
from schemas.quarantine import literal

FLUSH_ROWS = 131_072
MOST_OPEN_ROWS = 2_000_000


class Outputs:
    """The Parquet files of one task: one a table, and one a month of silver; rows are gathered to large row groups."""

    def __init__(self, folders: dict[str, str], part: str, feed: str, batch_id: str):
        self.folders, self.part, self.feed, self.batch_id = folders, part, feed, batch_id
        self.writers: dict[tuple[str, int | None], pq.ParquetWriter] = {}
        self.paths: dict[tuple[str, int | None], Path] = {}
        self.waiting: dict[tuple[str, int | None], list[pa.Table]] = {}
        self.rows: Counter[tuple[str, int | None]] = Counter()
        self.held: Counter[tuple[str, int | None]] = Counter()

    def write(self, layer: str, month: int | None, columns: dict[str, Any]) -> None:
        if layer not in self.folders:
            return
        c = contract(f"{layer}.{self.feed}")
        table = in_contract(c, columns, self.batch_id)
        if not len(table):
            return
        key = (layer, month)
        self.waiting.setdefault(key, []).append(table)
        self.rows[key] += len(table)
        self.held[key] += len(table)
        if self.held[key] >= FLUSH_ROWS:
            self._flush(key)
        while self.held.total() > MOST_OPEN_ROWS:
            self._flush(max(self.held, key=lambda k: self.held[k]))

    def _flush(self, key: tuple[str, int | None]) -> None:
        tables = self.waiting.pop(key, [])
        self.held.pop(key, None)
        if not tables:
            return
        if key not in self.writers:
            layer, month = key
            slice_ = {"_batch_id": self.batch_id} if month is None else {"event_month": month}
            path = Path(self.folders[layer]) / partition_path(slice_) / f"{self.part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.paths[key] = path
            self.writers[key] = open_writer(path, tables[0].schema)
        with span("write", key[0]):
            self.writers[key].write_table(pa.concat_tables(tables), row_group_size=4 * FLUSH_ROWS)

    def finish(self, *layers: str) -> None:
        """Finish the files of some layers, so that they can be read."""
        for key in [k for k in self.waiting if k[0] in layers]:
            self._flush(key)
        for key in [k for k in self.writers if k[0] in layers]:
            self.writers.pop(key).close()

    def written(self, layer: str) -> list[Path]:
        return [path for (its, _), path in self.paths.items() if its == layer]

    def take_out(self, rows: pa.Table, con: duckdb.DuckDBPyConnection) -> pa.Array:
        """Take rows (_file, _row) out of the finished silver files; gives them as received, in their order."""
        con.register("leaving", rows.select(["_file", "_row"]))
        try:
            for path in self.written("silver"):
                places = con.sql(
                    f"select file_row_number as n from read_parquet({literal(str(path))}, file_row_number = true) "
                    "semi join leaving using (_file, _row)"
                ).to_arrow_table()
                if len(places):
                    self._write_without(path, places["n"].to_numpy())
            return _raw_of(self.written("bronze"), len(rows), con)
        finally:
            con.unregister("leaving")

    def _write_without(self, path: Path, places: np.ndarray) -> None:
        keep = np.ones(pq.read_metadata(path).num_rows, dtype=bool)
        keep[places] = False
        [key] = [k for k, p in self.paths.items() if p == path]
        self.rows[key] -= len(places)
        part, at = path.with_suffix(".part"), 0
        writer = open_writer(part, pq.read_schema(path))
        for table in row_groups(path):
            writer.write_table(table.filter(pa.array(keep[at : at + len(table)])))
            at += len(table)
        writer.close()
        part.replace(path)
        if not keep.any():
            path.unlink()

    def close(self) -> list[dict[str, Any]]:
        """Finish every file; gives path, month and rows of the silver ones."""
        self.finish(*{layer for layer, _ in (*self.waiting, *self.writers)})
        return [
            {"path": str(path), "month": month, "rows": self.rows[layer, month]}
            for (layer, month), path in self.paths.items()
            if layer == "silver" and path.exists()
        ]

    def discard(self) -> None:
        """Remove what was written."""
        for writer in self.writers.values():
            with suppress(OSError, pa.ArrowException):
                writer.close()
        for path in self.paths.values():
            path.unlink(missing_ok=True)
        for gathered in (self.writers, self.paths, self.waiting, self.rows, self.held):
            gathered.clear()


def _raw_of(bronze: Sequence[Path], count: int, con: duckdb.DuckDBPyConnection) -> pa.Array:
    """The rows ``leaving`` as received; all absent where no bronze is written (files that are parsed again)."""
    if not bronze:
        return pa.nulls(count, pa.string())
    files = ", ".join(literal(str(p)) for p in bronze)
    found = con.sql(
        f"select raw from leaving join read_parquet([{files}], hive_partitioning = false) using (_file, _row) "
        "order by _file, _row"
    ).to_arrow_table()["raw"]
    return found.combine_chunks()


UNIQUE_TEXT = ("raw", "row_hash", "reasons")


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer as all of ingest uses it. Text that never repeats is not tried as a dictionary first."""
    ids = {c for c in schema.names if c in UNIQUE_TEXT or c in ("line_id", "event_id", "refund_id", "_row")}
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[n for n in schema.names if n not in ids],
    )


def in_contract(c: Contract, columns: dict[str, Any], batch_id: str) -> pa.Table:
    """A table of the contract's file columns in order; columns that are not given are absent."""
    schema = file_schema(arrow_schema(c), c.partitions)
    count = len(next(iter(columns.values())))
    arrays = []
    for f in schema:
        if f.name in columns:
            arrays.append(columns[f.name])
        elif f.name == "_batch_id":
            arrays.append(pa.repeat(pa.scalar(batch_id, pa.string()), count))
        else:
            arrays.append(pa.nulls(count, f.type))
    return pa.table(arrays, schema=schema)


def row_groups(path: Path) -> Iterator[pa.Table]:
    """A Parquet file's rows in order, a batch at a time."""
    file = pq.ParquetFile(path)
    for batch in each("read", "parquet", file.iter_batches(batch_size=FLUSH_ROWS, use_threads=False)):
        yield pa.Table.from_batches([batch])
