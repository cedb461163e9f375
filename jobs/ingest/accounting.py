"""What a unit of ingest took, as rows of the manifest; every row obeys the conservation rule or nothing is published."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.ingest.file_counts import text_of_columns
from jobs.ingest.units import Batch, Staged
from lake.lake import Lake
from lake.manifest import ManifestRow, manifest


def manifest_rows(lake: Lake, s: Staged) -> tuple[list[ManifestRow], list[ManifestRow]]:
    """(rows of files taken now, rows of earlier files that change: replaced ones, and ones whose rows came back)."""
    new = []
    for batch in s.unit.batches:
        by_name = {f["name"]: f for f in batch.files}
        for (batch_id, name), counts in s.counts.items():
            if batch_id == batch.batch_id and name in by_name:
                new.append(_manifest_row(s, batch, by_name[name], counts))
    if not s.unit.remove:
        return new, []
    gone = {(b, n) for b, n in s.unit.remove}
    changed = []
    for row in manifest(lake, [s.unit.feed]):
        came_back = s.taken[row.batch_id, row.file]
        if (row.batch_id, row.file) in gone:
            row.state = "replaced"
            changed.append(row)
        elif came_back:
            row.rows_silver += came_back
            row.rows_duplicate -= came_back
            changed.append(row)
    return new, changed


def _manifest_row(s: Staged, batch: Batch, file: dict[str, Any], counts: dict[str, Any]) -> ManifestRow:
    late = {int(d): n for d, n in counts["late"].items()}
    received = datetime.fromisoformat(s.unit.received_at)
    key = (batch.batch_id, file["name"])
    return ManifestRow(
        feed=s.unit.feed,
        source=batch.source,
        file=file["name"],
        path=file["landing"],
        checksum=file["checksum"],
        bytes=file["bytes"],
        columns=file.get("columns") or text_of_columns(counts["columns"]),
        rows_read=counts["rows_read"],
        rows_not_selected=counts["rows_not_selected"],
        rows_silver=s.taken[key],
        rows_duplicate=s.duplicates[key],
        rows_quarantined=counts["rows_quarantined"],
        rows_late=sum(n for days, n in late.items() if days > 1),
        dst_moved=counts["dst_moved"],
        late_days_p95=percentile(late, 0.95),
        late_days_max=max(late) if late else None,
        event_first_us=counts["event_first_us"],
        event_last_us=counts["event_last_us"],
        state="taken",
        batch_id=batch.batch_id,
        ingested_us=int(received.timestamp() * 1_000_000),
    )


def percentile(counts: dict[int, int], q: float) -> float | None:
    """Type-7 percentile of values given as counts; None where there are none."""
    total = sum(counts.values())
    if not total:
        return None
    place = (total - 1) * q
    low, high = int(place), min(int(place) + 1, total - 1)
    ends, values = [], sorted(counts)
    seen = 0
    for v in values:
        seen += counts[v]
        ends.append(seen)
    at = [next(v for v, end in zip(values, ends, strict=True) if i < end) for i in (low, high)]
    return at[0] + (at[1] - at[0]) * (place - low)
