"""One more day against the first build: ``python -m benchmarks.day [--users N] [--days N] [--folder DIR] [--record]``.

A shop is simulated; all of it but its last day is taken and run, then that day (1/180 of the data, late and corrected rows of
earlier days among it) in processes of their own, by the verbs that a user calls. Shown are seconds by step from ``ops.runs``,
the walls of the verbs, the ratio, and the peak of memory. What ``--record`` keeps in ``benchmarks/results/`` is compared with
what was kept before on as many cores: exit code 1 where a wall is more than a quarter above it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measured import Measured, measured
from lake.sql import connect
from project import setup
from project.folder import Project
from simulator import shop as simulator

RESULTS = Path(__file__).parent / "results"
WORSE = 1.25


def main() -> int:
    options = _options()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="huaxiang-day-", dir=options.folder) as below:
        folder, later = Path(below) / "shop", Path(below) / "last-day"
        subprocess.run([*_me(), "--prepare", below, *_size(options)], check=True)
        day = simulator.LAST_DAY
        first = _taken_and_run(folder, day - timedelta(days=1))
        shutil.copytree(later, folder / "inbox", dirs_exist_ok=True)
        second = _taken_and_run(folder, day)
        steps = _by_step(folder, day)
    found = _figures(options, first, second, steps)
    _show(console, found)
    kept = RESULTS / "day.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    same = [r for r in before if all(r[k] == found[k] for k in ("users", "days", "cores"))]
    if options.record:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps([*before, found], indent=1) + "\n", encoding="utf-8")
    return _judged(console, found, same[-1]) if same else 0


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--users", type=int, default=20_000)
    asked.add_argument("--days", type=int, default=180)
    asked.add_argument("--folder", type=Path, help="where the shop is made (default: the system's folder for such)")
    asked.add_argument("--record", action="store_true")
    asked.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.prepare:
        _prepare(options.prepare, options.users, options.days)
        sys.exit(0)
    return options


def _me() -> list[str]:
    return [sys.executable, "-m", "benchmarks.day"]


def _size(options: argparse.Namespace) -> list[str]:
    return ["--users", str(options.users), "--days", str(options.days)]


def _prepare(below: Path, users: int, days: int) -> None:
    """A project whose inbox holds all but the last day, and the files of that day beside it."""
    folder, later = below / "shop", below / "last-day"
    setup.init(folder)
    inbox = Project.load(folder).folder / "inbox"
    shop, last = simulator.simulate(users=users, days=days, seed=11), simulator.LAST_DAY
    simulator.write_arrivals(shop, inbox, last_day=last - timedelta(days=1))
    there = {p for p in inbox.rglob("*") if p.is_file()}
    simulator.write_arrivals(shop, inbox, last_day=last)
    for path in [p for p in inbox.rglob("*") if p.is_file() and p not in there]:
        target = later / path.relative_to(inbox)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)


def _taken_and_run(folder: Path, day: date) -> list[Measured]:
    """The verbs ``ingest`` and ``run`` of a day."""
    received = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).isoformat()
    verbs = (["ingest", "--received-at", received], ["run", "--as-of", day.isoformat()])
    command = [sys.executable, "-m", "cli.main"]
    return [measured([*command, *verb, "--project", str(folder), "--json"], {}, timeout=7200) for verb in verbs]


def _by_step(folder: Path, day: date) -> dict[str, list[float]]:
    """Seconds of each step on the first day and on the next."""
    with connect(Project.load(folder).lake, None, ["ops"]) as con:
        rows = con.execute(
            "select step, list(seconds order by created_at) from ops.runs group by step order by min(created_at)"
        ).fetchall()
    return {step: seconds for step, seconds in rows if len(seconds) == 2}


def _figures(
    options: argparse.Namespace, first: list[Measured], second: list[Measured], steps: dict[str, list[float]]
) -> dict[str, Any]:
    walls = [sum(m.wall for m in verbs) for verbs in (first, second)]
    return {
        "users": options.users,
        "days": options.days,
        "cores": len(os.sched_getaffinity(0)),
        "measured_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "first_seconds": round(walls[0], 1),
        "day_seconds": round(walls[1], 1),
        "ratio": round(walls[1] / walls[0], 3),
        "first_cpu_seconds": round(sum(m.cpu for m in first), 1),
        "day_cpu_seconds": round(sum(m.cpu for m in second), 1),
        "peak_mb": round(max(m.peak_mb for m in [*first, *second])),
        "day_peak_mb": round(max(m.peak_mb for m in second)),
        "steps": {name: [round(s, 2) for s in seconds] for name, seconds in steps.items()},
    }


def _show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=f"{found['users']:,} users, {found['days']} days, {found['cores']} cores")
    for name in ("step", "first build (s)", "one more day (s)", "ratio"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for step, (a, b) in found["steps"].items():
        table.add_row(step, f"{a:.1f}", f"{b:.1f}", f"{b / a:.2f}" if a else "")
    table.add_row("both verbs", f"{found['first_seconds']:.1f}", f"{found['day_seconds']:.1f}", f"{found['ratio']:.2f}")
    console.print(table)
    console.print(f"processor seconds {found['first_cpu_seconds']} and {found['day_cpu_seconds']}")
    console.print(f"peak of the process tree {found['peak_mb']:,} MiB, on the further day {found['day_peak_mb']:,} MiB")


def _judged(console: Console, found: dict[str, Any], before: dict[str, Any]) -> int:
    worse = [k for k in ("first_seconds", "day_seconds") if found[k] > before[k] * WORSE]
    for name in worse:
        console.print(f"WORSE: {name} {found[name]} where {before[name]} was kept at {before['measured_at']}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
