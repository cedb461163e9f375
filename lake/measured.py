"""What a step of a run, or an ingest, took: seconds and how they divide, memory of the process tree, what was spilled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from lake.spans import Division, listened, span
from lake.tree_memory import TreeMemory, watched
from schemas.arrow import arrow_schema
from schemas.contracts import contract

RUNS = "ops.runs"


@dataclass
class Measured:
    """One step; ``division`` is there when it has ended."""

    name: str
    memory: TreeMemory = field(default_factory=TreeMemory)
    division: Division | None = None

    @property
    def columns(self) -> dict[str, float | int | None]:
        """What ``ops.runs`` says of it."""
        assert self.division is not None, f"{self.name} has not ended"
        d, m = self.division, self.memory
        return {
            "seconds": round(d.seconds, 3),
            **{f"{kind}_seconds": round(s, 3) for kind, s in d.parts.items()},
            "workers_seconds": round(d.task_seconds, 3),
            **{f"workers_{kind}_seconds": round(s, 3) for kind, s in d.task_parts.items()},
            "tasks": d.tasks,
            "peak_memory_mb": round(m.peak_mb, 1),
            "main_memory_mb": round(m.main_peak_mb, 1),
            "spilled_mb": None if m.spilled_mb is None else round(m.spilled_mb, 1),
        }


@contextmanager
def measuring(name: str, spills: Path | None) -> Iterator[Measured]:
    """Measure the block as a step. ``spills`` is where its engine spills; absent, what it spilled is not known."""
    with listened() as spans, watched(spills) as memory, span("step", name):
        found, began = Measured(name, memory), time.perf_counter()
        yield found
        found.division = spans.division(time.perf_counter() - began)


def remember_steps(lake: Lake, run_id: str, steps: Sequence[dict[str, Any]]) -> None:
    """One row a step into ``ops.runs``, in one publication."""
    now = datetime.now(UTC)
    rows = [{"run_id": run_id, "state": "done", "created_at": now, **step} for step in steps]
    with lock(lake, RUNS, wait_seconds=30):
        lake.ensure(RUNS)
        folder = lake.stage(RUNS, run_id)
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(contract(RUNS))), folder / "steps.parquet")
        publish(lake, RUNS, folder, replace=None, read_version=None, run_id=run_id, key=f"runs-{run_id}")
