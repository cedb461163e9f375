"""Map task of ``activity``: a slice without the rows that are made anew, written only where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.contracts import contract

MAX_FILES_OF_A_SLICE = 8
"""More files than this in one slice cost the kernel more than writing it anew does."""
GROUP_ROWS = 1 << 18
"""Rows of a row group: what a reader of one user, or of few days, must decode at least."""

IN_ORDER = ("uid", "occurred_at")
MANY_VALUED = (*IN_ORDER, "order_key")
"""Columns for which a dictionary would be as long as they are; those in order are packed by their differences. A slice of
1.5 M rows is written in 0.21 s and 18.6 MB where dictionaries alone take 0.26 s and 23.0 MB, and read in 0.07 s for 0.09."""


def without_remade(item: dict[str, Any]) -> dict[str, Any]:
    """Write the rows of ``files`` (one slice) that stay, sorted, to ``out``; the result says whether it was done.

    ``persons`` are files with the ``uid`` of persons whose rows of the slice go, ``orders`` files with the ``order_key`` of
    orders whose rows go. Where no row goes and the files are few, nothing is written and ``files`` stay as they are. A
    slice of which nothing stays has no file.
    """
    out, files = Path(item["out"]), item["files"]
    going = _going(files, _values(item["persons"], "uid"), _values(item["orders"], "order_key"))
    if not going.any() and len(files) <= MAX_FILES_OF_A_SLICE:
        return {**item["slice"], "is_written": False}
    if not going.all():
        rows = _read(files, None).filter(pa.array(~going))
        if len(files) > 1:
            rows = rows.sort_by([(name, "ascending") for name in contract("activity.activity").sort])
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            rows,
            out,
            row_group_size=GROUP_ROWS,
            use_dictionary=[name for name in rows.column_names if name not in MANY_VALUED],
            column_encoding=dict.fromkeys(IN_ORDER, "DELTA_BINARY_PACKED"),
        )
    return {**item["slice"], "is_written": True}


def _going(files: Sequence[str], persons: np.ndarray, orders: np.ndarray) -> np.ndarray:
    keys = _read(files, ["uid", "order_key"])
    uid, order = (keys[name].to_numpy() for name in ("uid", "order_key"))
    going: np.ndarray = np.isin(uid, persons)
    # Nine rows of ten are about no order: looking for them all takes eight times as long.
    about = np.flatnonzero(order)
    going[about[np.isin(order[about], orders)]] = True
    return going


def _values(files: Sequence[str], column: str) -> np.ndarray:
    if not files:
        return np.empty(0, np.int64)
    return _read(files, [column])[column].to_numpy()


def _read(files: Sequence[str], columns: Sequence[str] | None) -> pa.Table:
    named = None if columns is None else list(columns)
    tables = [pq.ParquetFile(path).read(columns=named, use_threads=False) for path in files]
    # Writers differ in what they say can be absent.
    return pa.concat_tables(tables, promote_options="default")
