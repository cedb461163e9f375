"""Map task of ingest, first half: delivered files to bronze, quarantine and candidate silver files.

One item holds files of one mapping. Small files are cleaned together and written to one file a table (and month); a
large file is alone in its item and goes through block by block. A file that cannot be read leaves nothing behind.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.cleaning import Cleaned, Cleaner
from features.cleaning_texts import PLACE
from features.instants import NO_TIME
from features.sources import Mapping
from jobs.deliveries import content_of
from jobs.file_columns import Block
from jobs.reading import read_blocks
from lake.lake import partition_path
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import Contract, contract
from schemas.errors import InputError

FLUSH_ROWS = 131_072
FLUSH_BYTES = 64 << 20
MOST_OPEN_ROWS = 2_000_000
FIRST = "-1"
"""Ordinal of the first of equal rows: most generated keys end so, and ``jobs.settling`` mends the others."""


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """This process's DuckDB: one thread, because the pool has a process a core, and order is kept."""
    # Raw rows may be spilled: a folder that only its owner reads, gone with the process (of a pool as well).
    spill = tempfile.TemporaryDirectory(prefix="huaxiang-")
    Finalize(None, spill.cleanup, exitpriority=0)
    found = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": "2GB",
            "preserve_insertion_order": True,
            "temp_directory": spill.name,
        }
    )
    found.execute("set enable_progress_bar = false")
    # The statements are long and have little in them to improve: planning them took most of a small file's time.
    found.execute("set disabled_optimizers = 'expression_rewriter,statistics_propagation'")
    Finalize(None, found.close, exitpriority=1)
    return found


@dataclass
class FileCounts:
    """What one file held. ``late`` counts rows by whole business days between event and ingest."""

    name: str
    error: str | None = None
    columns: list[str] = field(default_factory=list)
    rows_read: int = 0
    rows_not_selected: int = 0
    rows_quarantined: int = 0
    rows_good: int = 0
    dst_moved: int = 0
    late: dict[int, int] = field(default_factory=dict)
    event_first_us: int | None = None
    event_last_us: int | None = None

    def add_events(self, event_us: np.ndarray, days_late: np.ndarray) -> None:
        if len(event_us) == 0:
            return
        first, last = int(event_us.min()), int(event_us.max())
        self.event_first_us = first if self.event_first_us is None else min(first, self.event_first_us)
        self.event_last_us = last if self.event_last_us is None else max(last, self.event_last_us)
        counts = Counter(self.late)
        for days, n in zip(*(a.tolist() for a in np.unique(days_late, return_counts=True)), strict=True):
            counts[days] += n
        self.late = dict(counts)


def parse(item: dict[str, Any]) -> dict[str, Any]:
    """``mapping``, ``zone``, ``currency``, ``guest_ids``, ``salt``, ``received_at``, ``batch_id``, ``part``, ``folders``, ``files``.

    Gives ``files`` (FileCounts of each) and ``silver`` (path, month, rows of each candidate file, in order).
    """
    task = Task(item)
    for file in item["files"]:
        task.take(Path(file["path"]), file["name"], hold=len(item["files"]) > 1)
    return task.finished()


@dataclass
class _Pending:
    """Blocks of one header that wait to be cleaned together, with the index of the file that each came from."""

    columns: tuple[str, ...] = ()
    blocks: list[tuple[int, Block]] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.rows >= FLUSH_ROWS or self.bytes >= FLUSH_BYTES


class Task:
    """The files of one item on their way."""

    def __init__(self, item: dict[str, Any]):
        self.mapping = Mapping.model_validate(item["mapping"])
        self.cleaner = Cleaner(
            self.mapping,
            zone=item["zone"],
            currency=item["currency"],
            guest_ids=item["guest_ids"],
            connection=connection(),
            salt=item["salt"],
        )
        self.batch_id: str = item["batch_id"]
        self.received_at = datetime.fromisoformat(item["received_at"])
        self.zone: str = item["zone"]
        self.files: list[FileCounts] = []
        self.pending = _Pending()
        self.out = Outputs(item["folders"], item["part"], self.mapping.feed, self.batch_id)

    def take(self, path: Path, name: str, *, hold: bool) -> None:
        """Read one file; with ``hold`` nothing of it goes further before it was read to its end."""
        counts = FileCounts(name)
        self.files.append(counts)
        index = len(self.files) - 1
        blocks = read_blocks(path, name, self.mapping, connection())
        try:
            for block in list(blocks) if hold else blocks:
                counts.columns = list(block.columns)
                self.add(index, block, content_of(path))
        except InputError as e:
            if not hold:
                self.pending = _Pending()
                self.out.discard()
            self.files[index] = FileCounts(name, error=str(e))

    def add(self, index: int, block: Block, content: str) -> None:
        """``content`` tells what the block's file holds from what any other holds."""
        if self.cleaner.composer.needs_place:
            place = pc.binary_join_element_wise(content, block.table["row"].cast(pa.string()), "-")
            block = replace(block, table=block.table.append_column(PLACE, place))
        if self.pending.blocks and (block.columns != self.pending.columns or self.pending.is_full):
            self._flush()
        self.pending.columns = block.columns
        self.pending.blocks.append((index, block))
        self.pending.rows += block.rows
        self.pending.bytes += block.table.nbytes

    def _flush(self) -> None:
        pending, self.pending = self.pending, _Pending()
        if not pending.blocks:
            return
        sizes = [len(b.table) for _, b in pending.blocks]
        indexes = np.repeat(np.array([i for i, _ in pending.blocks], dtype=np.int32), sizes)
        table = pa.concat_tables([b.table for _, b in pending.blocks])
        for index, block in pending.blocks:
            self.files[index].rows_read += block.rows
            self._set_aside(index, block.torn)
        if len(table):
            self._write(self.cleaner(table, pending.columns), table["row"].to_numpy(), indexes)

    def _set_aside(self, index: int, torn: Sequence[tuple[int, str, str]]) -> None:
        if not torn:
            return
        self.files[index].rows_quarantined += len(torn)
        rows, raw, reasons = zip(*torn, strict=True)
        names = [self.files[index].name] * len(torn)
        lineage = self._lineage(pa.array(names), pa.array(rows, pa.int64()))
        base = {"source": self._same(self.mapping.name, len(torn)), "raw": pa.array(raw), **lineage}
        self.out.write("bronze", None, base)
        self.out.write("quarantine", None, {**base, "reasons": pa.array(reasons)})

    def _write(self, cleaned: Cleaned, all_rows: np.ndarray, all_files: np.ndarray) -> None:
        files, rows, refused = all_files[cleaned.position], all_rows[cleaned.position], cleaned.refused
        names = pa.array([f.name for f in self.files], pa.string()).take(pa.array(files))
        lineage = self._lineage(names, pa.array(rows))
        base = {"source": self._same(self.mapping.name, len(rows)), "raw": cleaned.raw, **lineage}
        self.out.write("bronze", None, base)
        typed: dict[str, Any] = {n: cleaned.rows[n] for n in cleaned.rows.column_names} | lineage
        event_us, month = cleaned.event_us, cleaned.month
        if refused.any():
            mask = pa.array(refused)
            bad = {k: v.filter(mask) for k, v in base.items()}
            self.out.write("quarantine", None, {**bad, "reasons": cleaned.reasons})
            good = pc.invert(mask)
            typed = {k: v.filter(good) for k, v in typed.items()}
            event_us, month = event_us[~refused], month[~refused]
        generated = self.mapping.contract.generated
        if generated is not None and generated not in self.mapping.fields:
            typed[generated] = pc.binary_join_element_wise(typed["row_hash"], FIRST, "")
        for m in np.unique(month).tolist():
            part = typed
            if len(month) and (month != m).any():
                chosen = pa.array(month == m)
                part = {k: v.filter(chosen) for k, v in typed.items()}
            self.out.write("silver", int(m), part)
        self._count(cleaned, all_files, files, event_us)

    def _count(self, cleaned: Cleaned, all_files: np.ndarray, files: np.ndarray, event_us: np.ndarray) -> None:
        good_files, days_late = files[~cleaned.refused], self._days_late(event_us)
        for index in np.unique(all_files).tolist():
            counts, mine = self.files[index], good_files == index
            chosen = files == index
            counts.rows_not_selected += int((all_files == index).sum() - chosen.sum())
            counts.rows_quarantined += int(cleaned.refused[chosen].sum())
            counts.rows_good += int(mine.sum())
            counts.dst_moved += int((cleaned.moved & ~cleaned.refused)[chosen].sum())
            known = mine & (event_us != NO_TIME)
            counts.add_events(event_us[known], days_late[known])

    def _days_late(self, event_us: np.ndarray) -> np.ndarray:
        """Whole business days from the event to when it was learned; 0 for what lies ahead."""
        instants = pa.array(np.where(event_us == NO_TIME, 0, event_us)).cast(pa.timestamp("us", self.zone))
        days = pc.local_timestamp(instants).cast(pa.date32(), safe=False).cast(pa.int32()).to_numpy()
        learned = self.received_at.astimezone(ZoneInfo(self.zone)).date().toordinal() - 719163
        found: np.ndarray = np.maximum(learned - days, 0)
        return found

    def _lineage(self, names: pa.Array, rows: pa.Array) -> dict[str, pa.Array]:
        stamp = pa.scalar(self.received_at, pa.timestamp("us", tz="UTC"))
        return {"_file": names, "_row": rows, "_ingested_at": pa.repeat(stamp, len(rows))}

    def _same(self, text: str, count: int) -> pa.Array:
        return pa.repeat(pa.scalar(text, pa.string()), count)

    def finished(self) -> dict[str, Any]:
        self._flush()
        return {"files": [asdict(f) for f in self.files], "silver": self.out.close()}


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
        self.writers[key].write_table(pa.concat_tables(tables), row_group_size=4 * FLUSH_ROWS)

    def close(self) -> list[dict[str, Any]]:
        """Finish every file; gives path, month and rows of the silver ones."""
        for key in list(self.waiting):
            self._flush(key)
        for writer in self.writers.values():
            writer.close()
        return [
            {"path": str(path), "month": month, "rows": self.rows[layer, month]}
            for (layer, month), path in self.paths.items()
            if layer == "silver"
        ]

    def discard(self) -> None:
        """Remove what was written."""
        for key, writer in self.writers.items():
            with suppress(OSError, pa.ArrowException):
                writer.close()
            self.paths[key].unlink(missing_ok=True)
        for gathered in (self.writers, self.paths, self.waiting, self.rows, self.held):
            gathered.clear()


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


def text_of_columns(columns: Sequence[str]) -> str:
    """Column names of a file for the manifest."""
    return json.dumps(list(columns), ensure_ascii=False)


def row_groups(path: Path) -> Iterator[pa.Table]:
    """A Parquet file's rows in order, a batch at a time."""
    file = pq.ParquetFile(path)
    for batch in file.iter_batches(batch_size=FLUSH_ROWS, use_threads=False):
        yield pa.Table.from_batches([batch])
