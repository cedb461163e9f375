"""``huaxiang ingest`` of all files against DuckDB: ``python -m benchmarks.ingest [--users N] [--rounds N] [--record]``.

Both read, cast and write the same raw files of every feed, without what came twice and what cannot be taken, in processes of
their own, in turns. Ours also keeps every row as received, checks every rule, writes by month, audits, and could
take any of it again tomorrow; DuckDB fills tables of one file (``benchmarks/specialist/silver.py``).

Exit code 1 where the rows of a feed differ, or processor seconds, ours or their ratio, are more than a quarter above what was
kept: walls hang on who else uses the machine.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import records, shops
from benchmarks.measured import Measured, measured
from benchmarks.specialist import sameness
from project.folder import Project

JUDGED = ("cpu_seconds", "cpu_ratio")
MEGABYTE = 1_000_000


def main() -> int:
    options = _options()
    console = Console()
    ours: list[Measured] = []
    theirs: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="huaxiang-ingest-", dir=options.folder) as below:
        shop, database = Path(below) / "shop", Path(below) / "specialist.duckdb"
        command = [sys.executable, "-m", "benchmarks.ingest", "--prepare", str(shop)]
        subprocess.run([*command, *shops.size(options)], check=True)
        files = [p for p in (shop / "inbox").rglob("*") if p.is_file()]
        for _ in range(options.rounds):
            shutil.rmtree(shop / "lake", ignore_errors=True)
            database.unlink(missing_ok=True)
            ours.append(shops.ingested(shop))
            by_hand = [sys.executable, "-m", "benchmarks.specialist", str(shop / "inbox"), str(database)]
            theirs.append(measured(by_hand, {}, timeout=shops.TIMEOUT))
        differences = sameness.of_silver(Project.load(shop), database)
        found = _figures(options, ours, theirs, sum(p.stat().st_size for p in files))
    _show(console, found)
    for line in differences:
        console.print(f"DIFFERENT: {line}")
    return 1 if differences else records.settled(console, "ingest", found, JUDGED, record=options.record)


def _options() -> argparse.Namespace:
    asked = shops.asked(__doc__)
    asked.add_argument("--rounds", type=int, default=3, help="medians of so many rounds, both sides in turns")
    asked.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.prepare:
        shops.prepare(options.prepare, options.users, options.days)
        sys.exit(0)
    return options


def _figures(options: argparse.Namespace, ours: list[Measured], theirs: list[Measured], size: int) -> records.Record:
    wall, their_wall = (statistics.median(m.wall for m in runs) for runs in (ours, theirs))
    cpu, their_cpu = (statistics.median(m.cpu for m in runs) for runs in (ours, theirs))
    return {
        **records.heading(options.users, options.days),
        "rounds": options.rounds,
        "raw_mb": round(size / MEGABYTE, 1),
        "seconds": round(wall, 2),
        "duckdb_seconds": round(their_wall, 2),
        "ratio": round(wall / their_wall, 2),
        "cpu_seconds": round(cpu, 2),
        "duckdb_cpu_seconds": round(their_cpu, 2),
        "cpu_ratio": round(cpu / their_cpu, 2),
        "peak_mb": round(max(m.peak_mb for m in ours)),
        "duckdb_peak_mb": round(max(m.peak_mb for m in theirs)),
    }


def _show(console: Console, found: records.Record) -> None:
    table = Table(
        title=f"ingest: {found['users']:,} users, {found['raw_mb']:,} MB of raw files, {found['cores']} cores"
    )
    for name in ("", "ours", "DuckDB by hand", "ratio"):
        table.add_column(name, justify="right" if name else "left")
    for name, key in (("wall (s)", "seconds"), ("processor (s)", "cpu_seconds"), ("peak (MiB)", "peak_mb")):
        our, their = found[key], found[f"duckdb_{key}"]
        table.add_row(name, f"{our:,}", f"{their:,}", f"{our / their:.2f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
