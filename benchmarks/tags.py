"""Every tag of the catalogue against the facts alone: ``python -m benchmarks.tags [--users N] [--rounds N] [--record]``.

Both sides compute the facts of the example project's catalogue on the same workload, each in a process of its own, in
turns. *Facts alone* ends there. *Every tag* goes on as the step ``profile`` does: global numbers, all tags, their
comparison with the day before, and profile, segments and changes written. The *first day* compares with nothing, and logs
a first value of every user and dynamic tag. What members and other tables say of users is seeded.

Shown are medians of wall and CPU seconds, and their ratio to the facts alone, of which that of CPU seconds is judged.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks import records
from benchmarks.measured import Measured, measured
from benchmarks.workload import AS_OF, AS_OF_DAY, CORES, DAYS, SEED, ZONE, described, generate, kept_at
from features.catalogue import Catalogue, user_attributes, user_tables
from features.kernel.rows import USERS_PER_BUCKET
from jobs.profile.frozen import before_facts, frozen
from jobs.profile.inputs import items_of
from jobs.profile.publishing import PROFILE, TABLES
from jobs.profile.run import ProfileRun
from jobs.profile.step import profiles
from lake.engine import open_engine
from lake.lake import Lake
from project.folder import Project

CONF = Path(__file__).parents[1] / "conf"
FACTS, FIRST, FURTHER = "facts alone", "every tag, first day", "every tag, one more day"
SIDES = {FACTS: "facts", FIRST: "first", FURTHER: "day"}
"""What contestants do, and what their figures begin with."""
YESTERDAY = AS_OF - timedelta(days=1)
KNOWN = 0.8
"""Share of the users of whom an attribute is known."""


def main() -> int:
    options = _options()
    console = Console()
    folder = options.folder or kept_at(options.users)
    generate(folder, options.users)
    describe_users(folder)
    runs: dict[str, list[Measured]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory(prefix="huaxiang-tags-", dir=options.folder) as below:
        work = Path(below)
        _timed(FIRST, folder, work / "yesterday", YESTERDAY, None)
        for number in range(options.rounds):
            for side in SIDES:
                before = work / "yesterday" if side == FURTHER else None
                runs[side].append(_timed(side, folder, work / "now", AS_OF, before))
                console.print(f"round {number + 1}: {side} {runs[side][-1].wall:.2f} s")
                shutil.rmtree(work / "now")
    found = _figures(options, runs)
    _show(console, found)
    return records.settled(console, "tags", found, ("first_cpu_ratio", "day_cpu_ratio"), record=options.record)


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--users", type=int, default=1_000_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--folder", type=Path, help="where the workload is or will be")
    asked.add_argument("--record", action="store_true")
    asked.add_argument("--side", nargs=5, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.side:
        side, folder, out, day, before = options.side
        run_side(side, Path(folder), Path(out), date.fromisoformat(day), Path(before) if before else None)
        sys.exit(0)
    return options


def _timed(side: str, folder: Path, out: Path, day: date, before: Path | None) -> Measured:
    given = [side, str(folder), str(out), day.isoformat(), "" if before is None else str(before)]
    return measured([sys.executable, "-m", "benchmarks.tags", "--side", *given], {}, timeout=3600)


# --- the workload's users ---


def describe_users(folder: Path) -> None:
    """Beside the workload's activity, for every bucket, what members and other tables say of its users."""
    workload = described(folder)
    for bucket in range(workload["buckets"]):
        users = min(USERS_PER_BUCKET, workload["users"] - bucket * USERS_PER_BUCKET)
        r = np.random.default_rng([SEED, 1, bucket])
        uid = pa.array(np.arange(users, dtype=np.int64) + bucket * USERS_PER_BUCKET)
        columns = {name: _attribute(r, kind, users) for name, (kind, _) in user_attributes().items()}
        columns |= {"uid": uid, "user_id": pa.array([f"u{n:032x}" for n in uid.to_pylist()])}
        columns["is_member"] = pa.array(r.random(users) < 0.5)
        tables = {"members": [n for n in columns if not any(n in own for own in user_tables().values())]}
        for table, names in (tables | {t: ["uid", *own] for t, own in user_tables().items()}).items():
            path = _described(folder, table, bucket)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({n: columns[n] for n in names}), path, compression="zstd")


def _described(folder: Path, table: str, bucket: int) -> Path:
    return folder / "users" / table / f"bucket-{bucket}.parquet"


def _attribute(r: np.random.Generator, kind: str, users: int) -> pa.Array:
    """Values of one attribute: a few texts, small numbers, days of the last years."""
    absent = r.random(users) >= KNOWN
    if kind == "string":
        return pa.array([f"value-{n}" for n in range(30)]).take(pa.array(r.integers(0, 30, users), mask=absent))
    if kind == "bool":
        return pa.array(r.random(users) < 0.3, mask=absent)
    if kind == "date":
        days = AS_OF_DAY - r.integers(0, 3_000, users)
        return pa.array(days.astype(np.int32), pa.int32(), mask=absent).cast(pa.date32())
    if kind == "float64":
        return pa.array(r.random(users).round(4), mask=absent)
    return pa.array((r.lognormal(1, 1, users)).astype(np.int64), mask=absent).cast(
        {"int32": pa.int32()}.get(kind, pa.int64())
    )


# --- one side ---


def run_side(side: str, folder: Path, out: Path, day: date, before: Path | None) -> None:
    """What one contestant does, from its start to what it writes below ``out``."""
    catalogue = Project.load(CONF).catalogue
    with open_engine("embedded", cores=CORES, memory_gb=4) as engine:
        run = ProfileRun(Lake(out / "lake", ZONE), engine, catalogue, day, None, "benchmark", None, out)
        for table in TABLES:
            run.lake.ensure(table, catalogue.columns if table == PROFILE else None)
            run.staged[table] = out / "made" / table
        start = before_facts(run, ())
        buckets = range(described(folder)["buckets"])
        facts = engine.map(
            "jobs.activity.facts:facts_of_bucket", [_fact_item(folder, out, run, b, start.numbers) for b in buckets]
        )
        if side == FACTS:
            return
        users = {b: [str(_described(folder, "members", b))] for b in buckets}
        snapshots = {} if before is None else {YESTERDAY: _snapshot(before)}
        items = items_of(
            run, users, {f["bucket"]: f["path"] for f in facts}, snapshots, YESTERDAY if before else None, []
        )
        for item in items:
            item["size"] = min(USERS_PER_BUCKET, described(folder)["users"] - item["bucket"] * USERS_PER_BUCKET)
            item["described"] = {t: [str(_described(folder, t, item["bucket"]))] for t in user_tables()}
        profiles(run, items, frozen(run, items, start), YESTERDAY if before else None)


def _fact_item(folder: Path, out: Path, run: ProfileRun, bucket: int, numbers: Any) -> dict[str, Any]:
    return {
        "bucket": bucket,
        "files": sorted(str(p) for p in (folder / "by_bucket" / f"bucket={bucket}").glob("*.parquet")),
        "facts": _declared(run.catalogue, numbers),
        "as_of": run.as_of.isoformat(),
        "zone": ZONE,
        "users": min(USERS_PER_BUCKET, described(folder)["users"] - bucket * USERS_PER_BUCKET),
        "products": str(folder / "products.parquet"),
        "out": str(out / "facts" / f"bucket-{bucket}.arrow"),
    }


def _declared(catalogue: Catalogue, numbers: Any) -> list[dict[str, Any]]:
    resolved = [f.resolved(numbers) for f in catalogue.kernel_facts]
    return [f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in resolved]


def _snapshot(before: Path) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for path in sorted((before / "made" / PROFILE).rglob("*.parquet")):
        found.setdefault(int(path.parent.name.removeprefix("bucket=")), []).append(str(path))
    return found


# --- figures ---


def _figures(options: argparse.Namespace, runs: dict[str, list[Measured]]) -> records.Record:
    found = records.heading(options.users, DAYS) | {"tags": len(Project.load(CONF).catalogue.tags)}
    for side, name in SIDES.items():
        found[f"{name}_seconds"] = round(statistics.median(r.wall for r in runs[side]), 2)
        found[f"{name}_cpu_seconds"] = round(statistics.median(r.cpu for r in runs[side]), 2)
        found[f"{name}_peak_mb"] = round(max(r.peak_mb for r in runs[side]))
    for name in ("first", "day"):
        found[f"{name}_ratio"] = round(found[f"{name}_seconds"] / found["facts_seconds"], 2)
        found[f"{name}_cpu_ratio"] = round(found[f"{name}_cpu_seconds"] / found["facts_cpu_seconds"], 2)
    return found


def _show(console: Console, found: records.Record) -> None:
    table = Table(title=f"{found['users']:,} users, {found['tags']} tags, {found['cores']} cores; medians")
    for name in ("side", "wall s", "ratio", "CPU s", "ratio", "peak MiB"):
        table.add_column(name, justify="left" if name == "side" else "right")
    for side, name in SIDES.items():
        ratios = [str(found.get(f"{name}_{kind}", "")) for kind in ("ratio", "cpu_ratio")]
        walls, cpus = f"{found[f'{name}_seconds']:.2f}", f"{found[f'{name}_cpu_seconds']:.2f}"
        table.add_row(side, walls, ratios[0], cpus, ratios[1], f"{found[f'{name}_peak_mb']:,}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
