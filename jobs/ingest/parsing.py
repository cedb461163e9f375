"""Map task of ingest, first half: delivered files to bronze, quarantine and candidate silver files.

One item holds files of one mapping. Small files are cleaned together and written to one file a table (and month); a
large file is alone in its item and goes through block by block. A file that cannot be read leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.cleaning import Cleaned, Cleaner
from features.cleaning_texts import PLACE
from features.instants import NO_TIME
from features.sources import Mapping
from jobs.ingest.file_columns import TextBlock
from jobs.ingest.file_counts import FileCounts
from jobs.ingest.findings import Finding, by_kind, of_reasons
from jobs.ingest.landing import content_of
from jobs.ingest.outputs import FLUSH_ROWS, Outputs
from jobs.ingest.reading import read_blocks
from jobs.ingest.repeats import repeats
from jobs.ingest.same_keys import SameKeys, find_same_keys
from jobs.ingest.side_by_side import InOrder, ahead
from lake.budget import in_memory
from lake.spans import each
from schemas.errors import InputError

FLUSH_BYTES = 64 << 20
MOST_BYTES = 2 << 30
HELD_BYTES = 256 << 20
"""Typed rows that wait, to be held against each other before they are written."""
SET_ASIDE = -1
"""In place of the month of a row that does not go to silver."""
FIRST = "-1"
"""Ordinal of the first of equal rows: most generated keys end so, and ``jobs.ingest.settling`` mends the others."""


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """This process's DuckDB: one thread, because the pool has a process a core, and order is kept."""
    found = in_memory(threads=1, most_bytes=MOST_BYTES, preserve_insertion_order=True)
    found.execute("set enable_progress_bar = false")
    # The statements are long and have little in them to improve: planning them took most of a small file's time.
    found.execute("set disabled_optimizers = 'expression_rewriter,statistics_propagation'")
    Finalize(None, found.close, exitpriority=1)
    return found


def parse_files(item: dict[str, Any]) -> dict[str, Any]:
    """``mapping``, ``zone``, ``currency``, ``guest_ids``, ``salt``, ``received_at``, ``batch_id``, ``part``, ``folders``, ``files``,
    and ``threads`` (1 if absent), how many clean blocks beside the one that reads.

    Gives ``files`` (FileCounts of each) and ``silver`` (path, month, rows of each candidate file, in order).
    Files with too many bad rows are found out at their end: then the others are taken once more, without them. Files that
    were taken before (``again``) are not judged so: their rows are in the lake.
    """
    task = _taken(item, item["files"])
    refused = {} if item.get("again") else {f.name: f for f in task.files if _refuse(f, task.mapping)}
    if refused:
        task.out.discard()
        task = _taken(item, [f for f in item["files"] if f["name"] not in refused])
    found = task.finished()
    found["files"] += [f.as_item() for f in refused.values()]
    return found


def _taken(item: dict[str, Any], files: Sequence[dict[str, Any]]) -> Task:
    task = Task(item)
    try:
        for file in files:
            task.take(Path(file["path"]), file["name"], hold=len(item["files"]) > 1)
        task.settle_keys()
    finally:
        task.cleaning.close()
    return task


def _cleaned(cleaner: Cleaner, table: pa.Table, columns: Sequence[str]) -> Cleaned | None:
    """None where all rows of a block were torn."""
    return cleaner(table, columns) if len(table) else None


def _refuse(counts: FileCounts, mapping: Mapping) -> bool:
    if counts.error is None:
        counts.error = counts.refusal(mapping)
        return counts.error is not None
    return False


@dataclass
class _Pending:
    """Blocks of one header that wait to be cleaned together, with the index of the file that each came from."""

    columns: tuple[str, ...] = ()
    blocks: list[tuple[int, TextBlock]] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.rows >= FLUSH_ROWS or self.bytes >= FLUSH_BYTES


class Task:
    """The files of one item on their way."""

    def __init__(self, item: dict[str, Any]):
        self.mapping = Mapping.model_validate(item["mapping"])
        self.threads: int = item.get("threads", 1)
        cleaners = [self._cleaner(item, n) for n in range(self.threads)]
        self.cleaner = cleaners[0]
        self.cleaning = InOrder([partial(_cleaned, c) for c in cleaners])
        self.batch_id: str = item["batch_id"]
        self.received_at = datetime.fromisoformat(item["received_at"])
        self.zone: str = item["zone"]
        self.files: list[FileCounts] = []
        self.pending = _Pending()
        self.held: list[tuple[pa.Table, np.ndarray]] = []
        self.held_bytes = 0
        self.out = Outputs(item["folders"], item["part"], self.mapping.feed, self.batch_id)

    def _cleaner(self, item: dict[str, Any], n: int) -> Cleaner:
        """Cleaners that work side by side have a connection each."""
        return Cleaner(
            self.mapping,
            zone=item["zone"],
            currency=item["currency"],
            guest_ids=item["guest_ids"],
            connection=connection().cursor() if n else connection(),
            salt=item["salt"],
        )

    def take(self, path: Path, name: str, *, hold: bool) -> None:
        """Read one file; with ``hold`` nothing of it goes further before it was read to its end."""
        counts = FileCounts(name)
        self.files.append(counts)
        index = len(self.files) - 1
        several = self.threads > 1
        found = read_blocks(path, name, self.mapping, connection().cursor() if several else connection())
        blocks = each("read", self.mapping.feed, ahead(found) if several else found)
        try:
            for block in list(blocks) if hold else blocks:
                counts.columns = list(block.columns)
                self.add(index, block, content_of(path))
        except InputError as e:
            if not hold:
                self.cleaning.finish()
                self.pending, self.held, self.held_bytes = _Pending(), [], 0
                self.out.discard()
            self.files[index] = FileCounts(name, error=str(e))

    def add(self, index: int, block: TextBlock, content: str) -> None:
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

    def _end(self) -> None:
        """All that was read is written."""
        self._flush()
        self.cleaning.finish()
        self._let_go()

    def _flush(self) -> None:
        pending, self.pending = self.pending, _Pending()
        if pending.blocks:
            table = pa.concat_tables([b.table for _, b in pending.blocks])
            self.cleaning.give(partial(self._put, pending, table["row"].to_numpy()), table, pending.columns)

    def _put(self, pending: _Pending, rows: np.ndarray, cleaned: Cleaned | None) -> None:
        sizes = [len(b.table) for _, b in pending.blocks]
        indexes = np.repeat(np.array([i for i, _ in pending.blocks], dtype=np.int32), sizes)
        for index, block in pending.blocks:
            self.files[index].rows_read += block.rows
            self.files[index].rows_not_selected += block.blank
            for remark in block.remarks:
                self.files[index].remarks.add(remark)
            self._set_aside(index, block.torn)
        if cleaned is not None:
            self._write(cleaned, rows, indexes)

    def _set_aside(self, index: int, torn: Sequence[tuple[int, str, str]]) -> None:
        if not torn:
            return
        self.files[index].rows_quarantined += len(torn)
        rows, raw, reasons = zip(*torn, strict=True)
        for found in by_kind(pa.array(reasons, pa.string()), np.array(rows, dtype=np.int64)):
            self.files[index].reasons.add(found)
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
        generated = self.mapping.contract.generated
        if generated is not None and generated not in self.mapping.fields:
            typed[generated] = pc.binary_join_element_wise(typed["row_hash"], FIRST, "")
        if refused.any():
            mask = pa.array(refused)
            bad = {k: v.filter(mask) for k, v in base.items()}
            self.out.write("quarantine", None, {**bad, "reasons": cleaned.reasons})
        self._hold(pa.table(typed), np.where(refused, SET_ASIDE, cleaned.month))
        self._count(cleaned, all_files, files)
        self._find(cleaned, files, rows)

    def _hold(self, typed: pa.Table, month: np.ndarray) -> None:
        self.held.append((typed, month))
        self.held_bytes += typed.nbytes
        if self.held_bytes >= HELD_BYTES:
            self._let_go()

    def _let_go(self) -> None:
        """Write the rows that are held, those apart that only say again what was said."""
        held, self.held, self.held_bytes = self.held, [], 0
        if not held:
            return
        typed, month = pa.concat_tables([t for t, _ in held]), np.concatenate([m for _, m in held])
        c = self.mapping.contract
        if c.generated is None or c.generated in self.mapping.fields:
            again = repeats(typed, month != SET_ASIDE, c.key, connection())
            for f in pc.value_counts(typed["_file"].take(pa.array(again))).to_pylist():
                self._counts_of(f["values"]).rows_duplicate += f["counts"]
            month[again] = SET_ASIDE
        for m in np.unique(month).tolist():
            if m != SET_ASIDE:
                chosen = month == m
                part = typed if chosen.all() else typed.filter(pa.array(chosen))
                self.out.write("silver", m, {n: part[n] for n in part.column_names})

    def _counts_of(self, name: str) -> FileCounts:
        return next(f for f in self.files if f.name == name)

    def _find(self, cleaned: Cleaned, files: np.ndarray, rows: np.ndarray) -> None:
        """Why rows are refused, and which texts of the others are no phone or address."""
        bad = cleaned.refused
        for index in np.unique(files[bad]).tolist():
            mine = files[bad] == index
            for found in of_reasons(cleaned.reasons.filter(pa.array(mine)), rows[bad][mine]):
                self.files[index].reasons.add(found)
        for name, forms in cleaned.unread.items():
            odd = pc.is_valid(forms).to_numpy(zero_copy_only=False) & ~bad
            for index in np.unique(files[odd]).tolist():
                mine = odd & (files == index)
                for found in by_kind(forms.filter(pa.array(mine)), rows[mine]):
                    self.files[index].unread.add(Finding(f"{name}: {found.what}", found.rows, found.row))

    def _count(self, cleaned: Cleaned, all_files: np.ndarray, files: np.ndarray) -> None:
        event_us = cleaned.event_us[~cleaned.refused]
        good_files, days_late = files[~cleaned.refused], self._days_late(event_us)
        for index in np.unique(all_files).tolist():
            counts, mine = self.files[index], good_files == index
            chosen = files == index
            counts.rows_not_selected += int((all_files == index).sum() - chosen.sum())
            counts.rows_quarantined += int(cleaned.refused[chosen].sum())
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

    def settle_keys(self) -> None:
        """With every file read: rows that only blank an earlier one of their key go to quarantine, others are remarked on."""
        self._end()
        self.out.finish("silver", "bronze")
        found = find_same_keys(self.out.written("silver"), self.mapping, connection())
        if found is None:
            return
        indexes = {f.name: n for n, f in enumerate(self.files)}
        for name, finding in found.differing.items():
            self.files[indexes[name]].remarks.add(finding)
        if len(found.blanked):
            self._set_aside_blanked(found, indexes)

    def _set_aside_blanked(self, found: SameKeys, indexes: dict[str, int]) -> None:
        blanked = found.blanked
        raw = self.out.take_out(blanked, connection())
        lineage = self._lineage(blanked["_file"], blanked["_row"])
        source = self._same(self.mapping.name, len(blanked))
        self.out.write("quarantine", None, {"source": source, "raw": raw, "reasons": blanked["reason"], **lineage})
        us = pc.fill_null(blanked["event_us"], int(NO_TIME)).to_numpy()
        late, rows = self._days_late(us), blanked["_row"].to_numpy()
        for name in pc.unique(blanked["_file"]).to_pylist():
            counts, mine = self.files[indexes[name]], pc.equal(blanked["_file"], name)
            chosen = mine.to_numpy()
            counts.rows_quarantined += int(chosen.sum())
            counts.remove_late(late[chosen & (us != NO_TIME)])
            for reason in by_kind(blanked["reason"].filter(mine), rows[chosen]):
                counts.reasons.add(reason)

    def finished(self) -> dict[str, Any]:
        self._end()
        return {"files": [f.as_item() for f in self.files], "silver": self.out.close()}
