"""Hand-made silver rows in a lake: what the steps after ingest are tested on."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from lake.lake import Lake, partition_path
from lake.publish import publish
from schemas.arrow import arrow_schema
from schemas.contracts import contract


def at(text: str, zone: str = "Asia/Shanghai") -> datetime:
    """A UTC stamp from local text such as ``2026-03-01 08:30``."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def write_silver(
    lake: Lake, feed: str, rows: Sequence[Mapping[str, Any]], ingested: str = "2026-03-31 06:00", batch: str = "b1"
) -> None:
    """Append rows to ``silver.<feed>``; lineage that a row does not give is filled in."""
    c = contract(f"silver.{feed}")
    lake.ensure(c.name)
    by_month: dict[int, list[dict[str, Any]]] = {}
    for i, row in enumerate(rows, 1):
        stamp = next((row[f] for f in c.event_time if row.get(f)), at(ingested))
        local = stamp.astimezone(ZoneInfo(lake.zone))
        full = {
            "_batch_id": batch,
            "_file": f"{feed}-{batch}",
            "_row": i,
            "_ingested_at": at(ingested),
            "row_hash": hashlib.md5(repr(sorted(row.items())).encode()).hexdigest(),
            **row,
        }
        by_month.setdefault(local.year * 100 + local.month, []).append(full)
    run_id = f"silver-{uuid.uuid4().hex[:8]}"
    folder = lake.stage(c.name, run_id)
    schema = pa.schema([f for f in arrow_schema(c) if f.name != "event_month"])
    for month, found in by_month.items():
        target = folder / partition_path({"event_month": month})
        target.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(found, schema), target / "rows.parquet")
    publish(lake, c.name, folder, replace=None, read_version=None, run_id=run_id, key=run_id)
