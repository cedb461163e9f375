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


def costs(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a run or ingest of :func:`timing`, the newest first: when, of which day, seconds, the most memory, rows written."""
    found: dict[str, dict[str, Any]] = {}
    for step in steps:
        row = found.setdefault(
            step["run_id"],
            {n: step[n] for n in ("run_id", "as_of", "engine", "created_at")}
            | {
                "steps": 0,
                "seconds": 0.0,
                "peak_memory_mb": None,
                "spilled_mb": None,
                "rows_out": 0,
                "longest": ("", 0.0),
            },
        )
        row["steps"] += 1
        row["seconds"] += step["seconds"] or 0.0
        row["rows_out"] += step["rows_out"] or 0
        row["longest"] = max(row["longest"], (step["step"], step["seconds"] or 0.0), key=lambda x: x[1])
        for name in ("peak_memory_mb", "spilled_mb"):
            known = [v for v in (row[name], step[name]) if v is not None]
            row[name] = max(known) if known else None
    return list(reversed(found.values()))
