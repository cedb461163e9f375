"""Map task of ``ingest --replay``: rows in quarantine once more through the mapping as it is now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.sources import Mapping
from jobs.ingest.file_columns import TextBlock
from jobs.ingest.file_counts import FileCounts
from jobs.ingest.landing import content_of
from jobs.ingest.outputs import in_contract, open_writer
from jobs.ingest.parsing import Task, connection
from jobs.ingest.reading import json_columns
from jobs.ingest.same_keys import BLANKED
from lake.lake import partition_path
from schemas.contracts import contract


def parse_again(item: dict[str, Any]) -> dict[str, Any]:
    """As ``jobs.ingest.parsing:parse_files``, with ``slices`` (batch and files of quarantine) in place of files.

    Rows that pass, or that the mapping now leaves to another feed, are marked with the replay's batch; the others stay
    with the reasons of today. Gives ``files``, ``silver`` and ``slices``, the batches whose slices were staged anew.
    """
    task = Task(item)
    staged = []
    for slice_ in item["slices"]:
        paths = slice_["paths"]
        if not paths:
            continue
        table = pa.concat_tables([pq.read_table(p, partitioning=None, use_threads=False) for p in paths])
        changed = _slice_again(task, table, slice_["landed"])
        if changed is not None:
            _stage_slice(item, task.mapping, slice_["batch_id"], changed)
            staged.append(slice_["batch_id"])
    found = task.finished()
    files = [f for f in found["files"] if f["rows_read"]]
    return {"files": files, "silver": found["silver"], "slices": staged}


def _slice_again(task: Task, table: pa.Table, landed: dict[str, str]) -> pa.Table | None:
    """The slice with its rows' new state; None where no row passes. ``landed`` gives the landing copy of each file."""
    waiting = np.flatnonzero(pc.is_null(table["replayed_batch_id"]).to_numpy(zero_copy_only=False))
    if not len(waiting):
        return None
    raw = table["raw"].take(pa.array(waiting)).combine_chunks()
    raw = raw if isinstance(raw, pa.Array) else pa.concat_arrays(raw.chunks)
    columns = task.mapping.columns
    parsed, _ = json_columns(raw, waiting.astype(np.int64), columns, connection())
    if not len(parsed):
        return None
    place = parsed["row"].to_numpy()
    cleaned = task.cleaner(parsed, columns)
    selected = place[cleaned.position]
    failing = selected[cleaned.refused]
    if task.mapping.blanks == "refuse":
        # What they blank stands in another row of their file; only the mapping can say now that it is meant.
        blanked = pc.match_substring(table["reasons"], BLANKED).to_numpy(zero_copy_only=False)
        resolved = np.setdiff1d(place, [*failing, *selected[blanked[selected]]])
    else:
        resolved = np.setdiff1d(place, failing)
    if not len(resolved):
        return None
    _take(task, table, parsed, columns, resolved, landed)
    marks = np.zeros(len(table), dtype=bool)
    marks[resolved] = True
    column = pc.if_else(pa.array(marks), task.batch_id, table["replayed_batch_id"])
    reasons = table["reasons"].to_pylist()
    for at, reason in zip(failing.tolist(), cleaned.reasons.to_pylist(), strict=True):
        reasons[at] = reason
    table = table.set_column(table.schema.get_field_index("replayed_batch_id"), "replayed_batch_id", column)
    return table.set_column(table.schema.get_field_index("reasons"), "reasons", pa.array(reasons, pa.string()))


def _take(
    task: Task,
    table: pa.Table,
    parsed: pa.Table,
    columns: tuple[str, ...],
    resolved: np.ndarray,
    landed: dict[str, str],
) -> None:
    """Rows that pass go the way of delivered rows, under the file and row number that they came with."""
    mine = parsed.filter(pc.is_in(parsed["row"], value_set=pa.array(resolved)))
    places = mine["row"]
    files, rows = table["_file"].take(places), table["_row"].take(places)
    mine = mine.set_column(mine.schema.get_field_index("row"), "row", rows)
    for name in pc.unique(files).to_pylist():
        block = TextBlock(columns, mine.filter(pc.equal(files, name)), [])
        task.add(_index_of(task, name), block, content_of(Path(landed[name])))


def _index_of(task: Task, name: str) -> int:
    for n, counts in enumerate(task.files):
        if counts.name == name:
            return n
    task.files.append(FileCounts(name))
    return len(task.files) - 1


def _stage_slice(item: dict[str, Any], mapping: Mapping, batch: str, table: pa.Table) -> None:
    c = contract(f"quarantine.{mapping.feed}")
    typed = in_contract(c, {n: table[n] for n in table.column_names}, batch)
    path = Path(item["folders"]["quarantine"]) / partition_path({"_batch_id": batch}) / f"{item['part']}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(path, typed.schema) as writer:
        writer.write_table(typed)
