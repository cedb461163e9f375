"""Rows of one file that say again what the row before them of their key said: found before they are written.

A file that was put together from overlapping exports holds such rows everywhere. Found later, by ``jobs.ingest.settling``,
each would have its whole file written a second time.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.quarantine import quoted

HASH_WORDS = 4
"""A ``row_hash``, 32 digits, as 64-bit numbers."""
_MIX = np.array([1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


def repeats(rows: pa.Table, good: np.ndarray, key: Sequence[str], con: duckdb.DuckDBPyConnection) -> np.ndarray:
    """Places of the ``good`` rows (typed, with lineage) that are what all rows of their file and key before them are.

    Where another row of the key stands before, the second of two equal ones may be a version of its own, or blank what was
    said: that is for others to judge (``jobs.ingest.same_keys``, ``jobs.ingest.settling``).
    """
    codes = _codes(rows["row_hash"])
    ordered = np.sort(codes[good])
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.zeros(0, dtype=np.int64)
    among = good & (twice[np.minimum(np.searchsorted(twice, codes), len(twice) - 1)] == codes)
    keys_twice = [rows[name].filter(pa.array(among)) for name in key]
    among = good
    for name, values in zip(key, keys_twice, strict=True):
        among = among & pc.is_in(rows[name], value_set=values).to_numpy()
    places = pa.array(np.flatnonzero(among))
    keys = ", ".join(quoted(k) for k in key)
    con.register("chosen", rows.select(["_file", "_row", "row_hash", *key]).take(places).append_column("n", places))
    try:
        found = con.sql(
            "select n from chosen "
            f"window before as (partition by _file, {keys} order by _row rows between unbounded preceding and current row) "
            "qualify row_number() over before > 1 and min(row_hash) over before = max(row_hash) over before"
        ).to_arrow_table()["n"]
    finally:
        con.unregister("chosen")
    return found.to_numpy()


def _codes(hashes: pa.ChunkedArray) -> np.ndarray:
    """A number for each hash; equal hashes have equal numbers."""
    pieces = [_words(chunk) for chunk in hashes.chunks if len(chunk)]
    found: np.ndarray = (
        (np.concatenate(pieces) * _MIX).sum(axis=1, dtype=np.uint64) if pieces else np.zeros(0, np.uint64)
    )
    return found


def _words(hashes: pa.StringArray) -> np.ndarray:
    _, offsets, text = hashes.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[hashes.offset : hashes.offset + len(hashes) + 1]
    return np.frombuffer(text, dtype=np.uint8)[ends[0] : ends[-1]].view(np.uint64).reshape(-1, HASH_WORDS)
