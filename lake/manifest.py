"""``landing.manifest``: one row a file that was taken or refused, with what became of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake.budget import in_memory
from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from schemas.arrow import arrow_schema
from schemas.contracts import contract

MANIFEST = "landing.manifest"
MANY_FILES = 32
"""Manifest files beyond which the next publication writes them together."""


@dataclass
class ManifestRow:
    """One file as one batch took it, the conservation rule holds for every row; or one that was refused, and why."""

    feed: str
    source: str
    file: str
    path: str
    checksum: str
    bytes: int
    columns: str
    rows_read: int
    rows_not_selected: int
    rows_silver: int
    rows_duplicate: int
    rows_quarantined: int
    rows_late: int
    dst_moved: int
    late_days_p95: float | None
    late_days_max: int | None
    event_first_us: int | None
    event_last_us: int | None
    state: str
    batch_id: str
    ingested_us: int
    message: str | None = None

    @property
    def lost(self) -> int:
        """Rows that are neither in silver nor accounted for: 0, or nothing is published."""
        kept = self.rows_not_selected + self.rows_silver + self.rows_duplicate + self.rows_quarantined
        return self.rows_read - kept


_RENAMED = {"file": "_file", "batch_id": "_batch_id"}
_STAMPS = {"event_first_us": "event_first_at", "event_last_us": "event_last_at", "ingested_us": "_ingested_at"}


def manifest(lake: Lake, feeds: Iterable[str] | None = None) -> list[ManifestRow]:
    """Every row of the manifest, of some feeds if given, in order of ingest."""
    files = tuple(f.path for f in lake.files(MANIFEST))
    if not files:
        return []
    held = _read.get(lake.address)
    if held is None or held[0] != files:
        held = _read[lake.address] = (files, _rows(lake))
    wanted = None if feeds is None else set(feeds)
    return [ManifestRow(**row) for row in held[1] if wanted is None or row["feed"] in wanted]


_read: dict[str, tuple[tuple[str, ...], list[dict[str, Any]]]] = {}
"""By lake, what was read last, and of which files: a day asks two dozen times, and files never change."""


def _rows(lake: Lake) -> list[dict[str, Any]]:
    there = lake.schema(MANIFEST).names
    chosen = ", ".join(_selected(n, there) for n in ManifestRow.__dataclass_fields__)
    with in_memory(threads=1) as con:
        con.register("manifest", lake.dataset(MANIFEST))
        found = con.sql(f"select {chosen} from manifest order by ingested_us, source, file, batch_id").to_arrow_table()
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def _selected(name: str, there: Sequence[str]) -> str:
    """A column of the manifest under its short name; absent in a lake that was made before there was such a column."""
    column = _STAMPS.get(name) or _RENAMED.get(name, name)
    if column not in there:
        return f'null as "{name}"'
    return f'epoch_us("{column}") as "{name}"' if name in _STAMPS else f'"{column}" as "{name}"'


def publish_manifest(
    lake: Lake,
    new: Sequence[ManifestRow],
    changed: Sequence[ManifestRow],
    run_id: str,
    key: str,
    gone: Sequence[ManifestRow] = (),
) -> int:
    """Add rows; ``changed`` take the place of rows of the same source, checksum and batch, and ``gone`` are left out."""
    with lock(lake, MANIFEST, wait_seconds=60):
        lake.ensure(MANIFEST)
        delta = lake.delta(MANIFEST)
        assert delta is not None
        if delta.transaction_version(key) is not None:
            return delta.version()
        rows = list(new)
        whole = bool(changed or gone) or len(lake.files(MANIFEST)) >= MANY_FILES
        if whole:
            instead = {(r.source, r.checksum, r.batch_id): r for r in changed}
            out = {(r.source, r.checksum, r.batch_id) for r in gone}
            there = [r for r in manifest(lake) if (r.source, r.checksum, r.batch_id) not in out]
            rows = [instead.get((r.source, r.checksum, r.batch_id), r) for r in there] + rows
        folder = lake.stage(MANIFEST, run_id)
        pq.write_table(_manifest_table(rows), folder / "manifest.parquet")
        return publish(
            lake,
            MANIFEST,
            folder,
            replace="all" if whole else None,
            read_version=delta.version(),
            run_id=run_id,
            key=key,
            metadata={},
        )


def _manifest_table(rows: Sequence[ManifestRow]) -> pa.Table:
    schema = arrow_schema(contract(MANIFEST))
    columns: dict[str, list[Any]] = {f.name: [] for f in schema}
    for row in rows:
        for name, value in asdict(row).items():
            columns[_STAMPS.get(name) or _RENAMED.get(name, name)].append(value)
    return pa.table(
        [
            pa.array(columns[f.name], pa.int64()).cast(f.type)
            if pa.types.is_timestamp(f.type)
            else pa.array(columns[f.name], f.type)
            for f in schema
        ],
        schema=schema,
    )
