"""What a run warned of, kept so that it can be listed later: one row a warning in ``ops.warnings``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from schemas.arrow import arrow_schema
from schemas.contracts import contract

WARNINGS = "ops.warnings"


def remember_warnings(lake: Lake, run_id: str, as_of: date, warnings: Sequence[str]) -> None:
    """Keep what a run warned of, in its order; a run without a warning writes nothing."""
    if not warnings:
        return
    now = datetime.now(UTC)
    rows = [
        {"run_id": run_id, "position": n, "as_of": as_of, "message": w, "created_at": now}
        for n, w in enumerate(dict.fromkeys(warnings), 1)
    ]
    with lock(lake, WARNINGS, wait_seconds=30):
        lake.ensure(WARNINGS)
        folder = lake.stage(WARNINGS, run_id)
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(contract(WARNINGS))), folder / "warnings.parquet")
        publish(lake, WARNINGS, folder, replace=None, read_version=None, run_id=run_id, key=f"warnings-{run_id}")
