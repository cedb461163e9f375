"""One more day against the first build: ``python -m benchmarks.day [--engine spark] [--users N] [--days N] [--folder DIR] [--record]``.

A shop is simulated; all of it but its last day is taken and run, then that day (1/180 of the data, late and corrected rows of
earlier days among it) in processes of their own, by the verbs that a user calls. With ``--engine spark`` all of it on local
Spark, which each verb starts for itself: its start is in the figures. Shown are seconds by step from ``ops.runs``, the walls of
the verbs, the ratio, and the peak of memory. What ``--record`` keeps in ``benchmarks/results/`` is compared with what was kept
before on as many cores and the same engine: exit code 1 where a wall is more than a quarter above it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import records, shops
from benchmarks.measured import Measured
from lake.engine import Kind
from project import setup
from project.folder import Project
from simulator import shop as simulator


def main() -> int:
    options = _options()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="huaxiang-day-", dir=options.folder) as below:
        folder, later = Path(below) / "shop", Path(below) / "last-day"
        subprocess.run([*_me(), "--prepare", below, *shops.size(options)], check=True)
        day = simulator.LAST_DAY
        first = _taken_and_run(folder, day - timedelta(days=1), options.engine)
        shutil.copytree(later, folder / "inbox", dirs_exist_ok=True)
        second = _taken_and_run(folder, day, options.engine)
        steps = {step: seconds for step, seconds in shops.seconds_by_step(folder).items() if len(seconds) == 2}
    found = _figures(options, first, second, steps)
    _show(console, found)
    return records.settled(console, "day", found, ("first_seconds", "day_seconds"), record=options.record)


def _options() -> argparse.Namespace:
    asked = shops.asked(__doc__)
    asked.add_argument("--engine", choices=["embedded", "spark"], default="embedded")
    asked.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.prepare:
        _prepare(options.prepare, options.users, options.days)
        sys.exit(0)
    return options


def _me() -> list[str]:
    return [sys.executable, "-m", "benchmarks.day"]


def _prepare(below: Path, users: int, days: int) -> None:
    """A project whose inbox holds all but the last day, and the files of that day beside it."""
    folder, later = below / "shop", below / "last-day"
    setup.init(folder)
    inbox = Project.load(folder).folder / "inbox"
    shop, last = simulator.simulate(users=users, days=days, seed=shops.SEED), simulator.LAST_DAY
    simulator.write_arrivals(shop, inbox, last_day=last - timedelta(days=1))
    there = {p for p in inbox.rglob("*") if p.is_file()}
    simulator.write_arrivals(shop, inbox, last_day=last)
    for path in [p for p in inbox.rglob("*") if p.is_file() and p not in there]:
        target = later / path.relative_to(inbox)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)


def _taken_and_run(folder: Path, day: date, engine: Kind) -> Measured:
    """The verbs ``ingest`` and ``run`` of a day, each of which starts the engine for itself."""
    return shops.together([shops.ingested(folder, day, engine), shops.run(folder, day, engine)])


def _figures(
    options: argparse.Namespace, first: Measured, second: Measured, steps: dict[str, list[float]]
) -> records.Record:
    return {
        **records.heading(options.users, options.days),
        "engine": options.engine,
        "first_seconds": round(first.wall, 1),
        "day_seconds": round(second.wall, 1),
        "ratio": round(second.wall / first.wall, 3),
        "first_cpu_seconds": round(first.cpu, 1),
        "day_cpu_seconds": round(second.cpu, 1),
        "peak_mb": round(max(first.peak_mb, second.peak_mb)),
        "day_peak_mb": round(second.peak_mb),
        "steps": {name: [round(s, 2) for s in seconds] for name, seconds in steps.items()},
    }


def _show(console: Console, found: records.Record) -> None:
    table = Table(title=records.title(records.size(found)))
    for name in ("step", "first build (s)", "one more day (s)", "ratio"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for step, (a, b) in found["steps"].items():
        table.add_row(step, f"{a:.1f}", f"{b:.1f}", f"{b / a:.2f}" if a else "")
    table.add_row("both verbs", f"{found['first_seconds']:.1f}", f"{found['day_seconds']:.1f}", f"{found['ratio']:.2f}")
    console.print(table)
    console.print(f"processor seconds {found['first_cpu_seconds']} and {found['day_cpu_seconds']}")
    console.print(f"peak of the process tree {found['peak_mb']:,} MiB, on the further day {found['day_peak_mb']:,} MiB")


if __name__ == "__main__":
    sys.exit(main())
