"""``huaxiang status --timing``: where the time of the newest runs and of the ingests before them went."""

from __future__ import annotations

from typing import Any

from lake.measured import RUNS
from lake.spans import PARTS
from lake.sql import connect
from project.folder import Project

ROWS = """
with runs as (select run_id, max(created_at) as noted from ops.runs where as_of is not null group by run_id),
     ranked as (select noted, row_number() over (order by noted desc) as nth from runs)
select {columns} from ops.runs
where created_at > coalesce((select max(noted) from ranked where nth > ?), '-infinity'::timestamptz)
"""
COLUMNS = (
    *("run_id", "step", "as_of", "engine", "created_at", "seconds", *(f"{kind}_seconds" for kind in PARTS)),
    *("tasks", "workers_seconds", "workers_read_seconds", "workers_write_seconds"),
    *("rows_in", "rows_out", "rows_quarantined", "peak_memory_mb", "main_memory_mb", "spilled_mb"),
)


def timing(project: Project, runs: int = 1) -> list[dict[str, Any]]:
    """Every step of the newest ``runs`` runs and every ingest since the run before them, in the order in which they ran.

    What is not known is absent: parts of rows that older versions wrote, rows that a step read, what Spark spilled.
    ``rest_seconds`` is what no part claims; ``workers_compute_seconds`` what tasks neither read nor wrote.
    """
    lake = project.lake
    if lake.version(RUNS) is None:
        return []
    there = set(lake.schema(RUNS).names)
    columns = ", ".join(n if n in there else f"null as {n}" for n in COLUMNS)
    with connect(lake, None, ("ops",)) as con:
        found = con.sql(ROWS.format(columns=columns), params=[runs]).to_arrow_table().to_pylist()
    # Rows of one run have one stamp and are read as they were written: in its order.
    return [_with_rest(r) for r in sorted(found, key=lambda r: r["created_at"])]


def _with_rest(row: dict[str, Any]) -> dict[str, Any]:
    parts = [row[f"{kind}_seconds"] for kind in PARTS]
    workers = [row[f"workers{part}_seconds"] for part in ("", "_read", "_write")]
    rest = None if None in parts else round(max(0.0, row["seconds"] - sum(parts)), 3)
    computing = None if None in workers else round(workers[0] - workers[1] - workers[2], 3)
    return {**row, "rest_seconds": rest, "workers_compute_seconds": computing}
