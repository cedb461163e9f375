"""What a benchmark keeps: figures of every run in ``results/NAME.json``, a chart beside them, and the judgement.

A record is one JSON object. Records are compared that have the same users, days, cores and engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

RESULTS = Path(__file__).parent / "results"
WORSE = 1.25
"""A figure that is above so many times the kept one is worse."""
SAME = ("users", "days", "cores", "engine")
EMBEDDED = "embedded"
"""The engine of a record that names none."""
Record = dict[str, Any]


def heading(users: int, days: int) -> Record:
    """The first figures of every record: what was measured, on how many cores, when, and how busy the machine was then.

    ``load`` is the machine's own mean over the last minute: above the cores, what is measured holds them too, or others do.
    """
    return {
        "users": users,
        "days": days,
        "cores": len(os.sched_getaffinity(0)),
        "measured_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "load": round(os.getloadavg()[0], 1),
    }


def kept(name: str, results: Path = RESULTS) -> list[Record]:
    """Every record of a benchmark, the oldest first."""
    path = results / f"{name}.json"
    found: list[Record] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return found


def size(record: Record) -> tuple[int, int, int, str]:
    """What makes records comparable."""
    return record["users"], record["days"], record["cores"], record.get("engine", EMBEDDED)


def title(of: tuple[int, int, int, str]) -> str:
    users, days, cores, engine = of
    said = f"{users:,} users, {days} days, {cores} cores"
    return said if engine == EMBEDDED else f"{said}, {engine}"


def newest(records: Sequence[Record]) -> list[Record]:
    """The last record of each size, by size."""
    by_size = {size(r): r for r in records}
    return [by_size[each] for each in sorted(by_size)]


def settled(
    console: Console, name: str, found: Record, judged: Sequence[str], *, record: bool, results: Path = RESULTS
) -> int:
    """The exit code: 1 if a judged figure is worse than the last record of the same size. ``record`` keeps ``found``."""
    before = kept(name, results)
    same = [r for r in before if size(r) == size(found)]
    if record:
        from benchmarks.charts import draw

        results.mkdir(exist_ok=True)
        path = results / f"{name}.json"
        path.write_text(json.dumps([*before, found], indent=1) + "\n", encoding="utf-8")
        draw(path)
    worse = [k for k in judged if k in same[-1] and found[k] > same[-1][k] * WORSE] if same else []
    for key in worse:
        console.print(f"WORSE: {key} {found[key]} where {same[-1][key]} was kept at {same[-1]['measured_at']}")
    return 1 if worse else 0
