"""A first build against a specialist's DuckDB: ``python -m benchmarks.first_build [--users N] [--record]``.

From the same raw files: typed silver without what came twice, persons, every fact of the catalogue, RFM, AIPL, lifecycle and
twenty audiences. Ours are the verbs ``ingest``, ``run`` and ``audience build`` on the example's settings; the specialist
is ``benchmarks/specialist``, written by hand for these files. Both run in processes of their own, in turns, on all cores;
figures are shown when both gave the same rows of silver, persons, facts, segments and members of audiences.

Ours does more than is compared: it keeps bronze, history and releases, audits every table, and makes all other tags, fission,
promotions and insights; so the steps that make what is compared are shown beside the whole. Given to DuckDB: the orders that our
run holds for brushing, and the cuts of lifecycle that it keeps.

Exit code 1 where anything differs, or processor seconds, ours or their ratio, are more than a quarter above what was
kept: walls hang on who else uses the machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks import records, shops
from benchmarks.measured import Measured, measured
from benchmarks.specialist import audiences, sameness
from features.facts import Fact
from lake.sql import connect
from project.folder import Project
from simulator.shop import LAST_DAY

CUTS = ("purchase_day_cuts", "dormant_after", "churned_after")
COMPARED = ("ingest", "identity", "activity", "profile", "audience build")
"""Steps that make what is compared, of ``ops.runs`` and the verbs."""
JUDGED = ("cpu_seconds", "cpu_ratio")
PARTS = ("ingest", "run", "audience build")


def main() -> int:
    options = _options()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="huaxiang-first-build-", dir=options.folder) as below:
        shop, given, database = Path(below) / "shop", Path(below) / "given", Path(below) / "specialist.duckdb"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.first_build", "--prepare", str(shop), *shops.size(options)], check=True
        )
        ours: list[list[Measured]] = []
        theirs: list[Measured] = []
        for _ in range(options.rounds):
            shutil.rmtree(shop / "lake", ignore_errors=True)
            for old in (database, database.with_suffix(".json")):
                old.unlink(missing_ok=True)
            ours.append([shops.ingested(shop), shops.run(shop), shops.verb(shop, "audience", "build")])
            facts = hand_over(Project.load(shop), LAST_DAY, given)
            theirs.append(_specialist(shop, given, database))
        differences = sameness.of_everything(Project.load(shop), database, facts, LAST_DAY, with_audiences=True)
        steps = {step: seconds[-1] for step, seconds in shops.seconds_by_step(shop).items()}
        parts = json.loads(database.with_suffix(".json").read_text("utf-8"))
    found = _figures(options, ours, theirs, steps, parts)
    _show(console, found)
    for line in differences:
        console.print(f"DIFFERENT: {line}")
    if differences:
        return 1
    console.print(
        f"{len(facts)} facts, {len(sameness.SEGMENTS)} segments and attributes, {len(audiences.TWENTY)} audiences: the same"
    )
    return records.settled(console, "first_build", found, JUDGED, record=options.record)


def _options() -> argparse.Namespace:
    asked = shops.asked(__doc__)
    asked.add_argument("--rounds", type=int, default=1, help="medians of so many rounds, both sides in turns")
    asked.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.prepare:
        shops.prepare(options.prepare, options.users, options.days)
        folder = options.prepare / "audiences"
        shutil.rmtree(folder)
        folder.mkdir()
        for name, text in audiences.as_files().items():
            (folder / name).write_text(text, encoding="utf-8")
        sys.exit(0)
    return options


def hand_over(project: Project, as_of: date, given: Path) -> list[Fact]:
    """What the specialist is given of our run of a day: held orders, kept cuts, and the facts that the catalogue declares."""
    given.mkdir(exist_ok=True)
    with connect(project.lake, None, ["activity", "profile"]) as con:
        flags = con.sql("SELECT order_id, flagged_day FROM activity.order_flags").to_arrow_table()
        cuts: dict[str, list[float]] = {name: [] for name in CUTS}
        numbers = "SELECT name, number FROM profile.breaks WHERE as_of = ? ORDER BY position"
        for name, number in con.execute(numbers, [as_of]).fetchall():
            if name in cuts:
                cuts[name].append(number)
    pq.write_table(flags, given / "flags.parquet")
    (given / "cuts.json").write_text(json.dumps(cuts), encoding="utf-8")
    facts = [f.resolved(cuts) for f in project.catalogue.kernel_facts]
    declared = [f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in facts]
    (given / "facts.json").write_text(json.dumps(declared), encoding="utf-8")
    return facts


def _specialist(shop: Path, given: Path, database: Path) -> Measured:
    command = [sys.executable, "-m", "benchmarks.specialist", str(shop / "inbox"), str(database)]
    return measured([*command, "--as-of", LAST_DAY.isoformat(), "--given", str(given)], {}, timeout=shops.TIMEOUT)


def _figures(
    options: argparse.Namespace,
    ours: list[list[Measured]],
    theirs: list[Measured],
    steps: dict[str, float],
    parts: dict[str, float],
) -> records.Record:
    total = [shops.together(verbs) for verbs in ours]
    wall, their_wall = (statistics.median(m.wall for m in runs) for runs in (total, theirs))
    cpu, their_cpu = (statistics.median(m.cpu for m in runs) for runs in (total, theirs))
    verbs = {name: statistics.median(r[i].wall for r in ours) for i, name in enumerate(PARTS)}
    compared = sum({**steps, "audience build": verbs["audience build"]}[name] for name in COMPARED)
    return {
        **records.heading(options.users, options.days),
        "rounds": options.rounds,
        "seconds": round(wall, 1),
        "duckdb_seconds": round(their_wall, 1),
        "ratio": round(wall / their_wall, 2),
        "cpu_seconds": round(cpu, 1),
        "duckdb_cpu_seconds": round(their_cpu, 1),
        "cpu_ratio": round(cpu / their_cpu, 2),
        "compared_steps_seconds": round(compared, 1),
        "compared_steps_ratio": round(compared / their_wall, 2),
        "peak_mb": round(max(m.peak_mb for m in total)),
        "duckdb_peak_mb": round(max(m.peak_mb for m in theirs)),
        "verbs": {name: round(s, 1) for name, s in verbs.items()},
        "steps": {name: round(s, 1) for name, s in steps.items()},
        "duckdb": parts,
    }


def _show(console: Console, found: records.Record) -> None:
    table = Table(title=f"first build: {found['users']:,} users, {found['days']} days, {found['cores']} cores")
    for name in ("", "ours", "DuckDB by hand", "ratio"):
        table.add_column(name, justify="right" if name else "left")
    for name, key in (("wall (s)", "seconds"), ("processor (s)", "cpu_seconds"), ("peak (MiB)", "peak_mb")):
        our, their = found[key], found[f"duckdb_{key}"]
        table.add_row(name, f"{our:,}", f"{their:,}", f"{our / their:.2f}")
    our = found["compared_steps_seconds"]
    table.add_row("of them steps compared (s)", f"{our:,}", "", f"{found['compared_steps_ratio']:.2f}")
    console.print(table)
    for name in ("verbs", "steps", "duckdb"):
        console.print(f"{name}: " + ", ".join(f"{k} {s:.1f}" for k, s in found[name].items()))


if __name__ == "__main__":
    sys.exit(main())
