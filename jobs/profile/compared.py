"""What became of the tags of one bucket, or a slice of its users, since an earlier snapshot: changes, flows, quality.

Every tag is gone through once: its values now and before are brought side by side, and what is asked of them is counted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.changes import TwoSnapshots
from features.kernel.arrays import from_arrow
from features.quality import aged_distribution
from jobs.profile.base import Item, read_columns, table_of
from lake.lake import partition_path
from lake.spans import span
from schemas.arrow import ARROW

COMPRESSION = "zstd"
EVERYBODY = (0, 2**62)
CHANGES_AT_ONCE = 200_000
"""Rows of a row group of changes: tags with fewer share one, so that a quiet day has no hundred groups of ten rows."""


def snapshot(files: Sequence[str], tags: Sequence[Sequence[Any]], uids: Sequence[int] = EVERYBODY) -> pa.Table | None:
    """A snapshot's files with these tags (name, type) as far as they have them, texts encoded; None without files."""
    texts = [t[0] for t in tags if t[1] == "string"]
    return table_of(files, ["uid", "is_member", *(t[0] for t in tags)], uids, texts)


def compared_with_before(profile: pa.Table | None, item: Item, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Write the changes of dynamic tags; count flows, quality, and ages as time alone would have them.

    ``log`` of the item names changes of days without a snapshot.
    """
    previous = snapshot(item["previous"], shared["tags"], item["uids"])
    if profile is None:
        profile = _nobody()
    found = TwoSnapshots(profile, previous, _log(item["log"], item["uids"]) if item["log"] else None)
    dynamic, schemes, before = set(shared["dynamic"]), set(shared["schemes"]), shared["previous_as_of"]
    quality: list[dict[str, Any]] = []
    flows: list[dict[str, Any]] = []
    with _ChangesFile(item, shared["as_of"]) as file:
        for name, kind, bands in sorted(shared["tags"], key=lambda t: t[0]):
            quality += found.quality(name, bands, ARROW[kind])
            if name in schemes and before:
                flows += [{"from_as_of": before, **row} for row in found.flows(name)]
            if name in dynamic:
                file.add(found.changes(name, bands, ARROW[kind]))
    return {
        "changes": file.rows,
        "flows": [*flows, *flows_from(profile, item.get("spans", {}), shared["schemes"], item["uids"])],
        "quality": quality,
        "aged": {} if previous is None or before is None else _aged(previous, before, shared),
    }


def flows_from(
    profile: pa.Table | None,
    earlier: Mapping[str, Sequence[str]],
    schemes: Sequence[str],
    uids: Sequence[int] = EVERYBODY,
) -> list[dict[str, Any]]:
    """Flows of the segmentations from each of these days (with the files of its snapshot) to ``profile``."""
    rows = []
    for day, files in earlier.items():
        before = snapshot(files, [[s, "string"] for s in schemes], uids)
        found = TwoSnapshots(_nobody() if profile is None else profile, before)
        rows += [{"from_as_of": day, **row} for s in schemes for row in found.flows(s)]
    return rows


def _aged(previous: pa.Table, before: str, shared: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    """How the ages of the snapshot before would be spread now, had nothing but time passed."""
    is_member = from_arrow(previous["is_member"], np.dtype(np.bool_), None, "is_member")
    measured, now = dt.date.fromisoformat(before), dt.date.fromisoformat(shared["as_of"])
    there = [n for n in shared["aging"] if n in previous.column_names]
    return {n: aged_distribution(previous[n].combine_chunks(), is_member, measured, now) for n in there}


def _nobody() -> pa.Table:
    empty = {"uid": ARROW["int64"], "is_member": ARROW["bool"]}
    return pa.table({name: pa.array([], kind) for name, kind in empty.items()})


def _log(files: Sequence[Sequence[str]], uids: Sequence[int]) -> pa.Table:
    """The last change of every user and tag in these files (day and path, oldest first)."""
    parts = []
    for _, path in files:
        inside = [("uid", ">=", uids[0]), ("uid", "<=", uids[1])]
        parts.append(read_columns(path, ["uid", "tag", "value"], inside))
    whole = pa.concat_tables(parts).append_column("row", pa.array(np.arange(sum(map(len, parts)))))
    last = whole.group_by(["uid", "tag"], use_threads=False).aggregate([("row", "max")])
    return whole.take(last["row_max"]).drop_columns(["row"])


class _ChangesFile:
    """The changes of a bucket or slice in order of tag, written as they come; none without a change.

    A first snapshot, in which every user has a row a tag, is never held whole.
    """

    def __init__(self, item: Item, as_of: str):
        name = f"bucket-{item['bucket']}-{item.get('slice', 0)}.parquet"
        self._path = Path(item["changes_out"]) / partition_path({"from_day": as_of}) / name
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def add(self, changes: pa.Table) -> None:
        """Those of one more tag."""
        if len(changes):
            self._waiting.append(changes)
            self.rows += len(changes)
            if sum(map(len, self._waiting)) >= CHANGES_AT_ONCE:
                self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        whole, self._waiting = pa.concat_tables(self._waiting).unify_dictionaries(), []
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, whole.schema, compression=COMPRESSION, store_schema=False)
        with span("write", "changes"):
            self._writer.write_table(whole, row_group_size=len(whole))

    def __enter__(self) -> _ChangesFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        if self._writer is not None:
            self._writer.close()
