"""The same facts by Huaxiang, DuckDB and Polars, in turns: ``python -m benchmarks.profile [--users N] [--rounds N] [--small]``.

Every contestant runs in a process of its own from its start to its written result, so start-up is in every figure.
Rounds are interleaved; the table shows medians. Before any figure is shown the results are compared, cell by cell.
``--only NAME ...`` chooses contestants, ``--folder DIR`` where the workload is, ``--json FILE`` writes the figures too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks import in_duckdb
from benchmarks.measured import Measured, measured
from benchmarks.workload import FACTS, described, generate, kept_at
from features.facts import Fact

CONTESTANTS: dict[str, tuple[str, ...]] = {
    "huaxiang, one file a bucket": ("ours", "embedded", "by_bucket"),
    "huaxiang, month files": ("ours", "embedded", "by_month"),
    "huaxiang on Spark": ("ours", "spark", "by_bucket"),
    "DuckDB": ("in_duckdb", "native"),
    "DuckDB, bucket by bucket": ("in_duckdb", "native", "by_bucket"),
    "Polars": ("in_polars", "streaming"),
    "Polars, bucket by bucket": ("in_polars", "streaming", "by_bucket"),
}
PEERS = ("DuckDB", "Polars")
ABSENT = np.iinfo(np.int64).min


def main() -> int:
    options = _options()
    folder = options.folder or kept_at(options.users)
    console = Console()
    console.print(f"workload in {folder}")
    console.print(json.dumps(generate(folder, options.users)))
    in_duckdb.prepare(folder)
    runs: dict[str, list[Measured]] = {name: [] for name in options.only}
    with tempfile.TemporaryDirectory(prefix="huaxiang-bench-") as scratch:
        for number in range(options.rounds):
            for name in options.only:
                out = Path(scratch) / name.replace(" ", "-")
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                runs[name].append(_run(name, folder, out))
                console.print(f"round {number + 1}: {name} {runs[name][-1].wall:.2f} s")
        wrong = _differences(options.only, folder, Path(scratch))
        flat = _flatness(folder, Path(scratch)) if options.flatness else []
    _show(console, runs, flat)
    for line in wrong:
        console.print(f"[red]DIFFERENT[/red] {line}")
    if not wrong:
        console.print(f"{len(FACTS)} facts x {options.users:,} users: all contestants give equal values")
    if options.json:
        _write(options.json, runs, flat, wrong)
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="20,000 users, one round, no Spark: a test of the race")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, help="these contestants")
    parser.add_argument("--folder", type=Path, help="where the workload is or will be")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    if options.small:
        options.users, options.rounds = min(options.users, 20_000), 1
    options.only = options.only or [n for n in CONTESTANTS if not (options.small and "Spark" in n)]
    options.flatness = not options.small and "huaxiang, one file a bucket" in options.only
    return options


def _run(name: str, folder: Path, out: Path, *further: str) -> Measured:
    module, *arguments = CONTESTANTS[name]
    command = [sys.executable, "-m", f"benchmarks.{module}", str(folder), str(out), *arguments, *further]
    return measured(command, {"RUST_LOG": "error", "PYTHONPATH": str(Path(__file__).parents[1])})


def _flatness(folder: Path, scratch: Path) -> list[tuple[int, float, float]]:
    """Number of buckets, peak of all processes, greatest peak of one worker (MiB)."""
    buckets = described(folder)["buckets"]
    found = []
    for number in (max(buckets // 2, 2), buckets, 3 * buckets):
        out = scratch / f"flat-{number}"
        out.mkdir()
        run = _run("huaxiang, one file a bucket", folder, out, str(number))
        tasks = json.loads((out / "done.json").read_text())
        found.append((number, run.peak_mb, max(t["peak_memory_mb"] for t in tasks)))
    return found


def values(folder: Path, users: int) -> dict[str, np.ndarray]:
    """A contestant's results in order of uid, as whole numbers: days as day numbers, texts by their number."""
    table = pa.concat_tables(pq.read_table(p) for p in sorted(folder.rglob("*.parquet")))
    order = np.argsort(table["uid"].to_numpy(), kind="stable")
    uids = table["uid"].to_numpy()[order]
    assert np.array_equal(uids, np.arange(users)), "every user stands once in the result"
    found = {}
    for declared in FACTS:
        fact = Fact.model_validate(declared)
        column = table[fact.column].combine_chunks()
        if pa.types.is_string(column.type):
            column = pc.utf8_slice_codeunits(column, -4).cast(pa.int64())
        if pa.types.is_date32(column.type):
            column = column.view(pa.int32())
        absent = ABSENT if fact.absent is None else fact.absent
        found[fact.column] = pc.fill_null(column.cast(pa.int64()), absent).to_numpy()[order]
    return found


def _differences(names: list[str], folder: Path, scratch: Path) -> list[str]:
    users = described(folder)["users"]
    first, found = names[0], []
    wanted = values(scratch / first.replace(" ", "-"), users)
    for name in names[1:]:
        given = values(scratch / name.replace(" ", "-"), users)
        for column, numbers in wanted.items():
            other = np.flatnonzero(numbers != given[column])
            if len(other):
                uid = other[0]
                found.append(
                    f"{column}: {len(other):,} users; uid {uid}: {first} {numbers[uid]}, {name} {given[column][uid]}"
                )
    return found


def _medians(runs: list[Measured]) -> Measured:
    return Measured(
        statistics.median(r.wall for r in runs),
        statistics.median(r.cpu for r in runs),
        statistics.median(r.peak_mb for r in runs),
    )


def _show(console: Console, runs: dict[str, list[Measured]], flat: list[tuple[int, float, float]]) -> None:
    medians = {name: _medians(r) for name, r in runs.items()}
    peers = {name: m.wall for name, m in medians.items() if name.startswith(PEERS)}
    best = min(peers.values(), default=None)
    table = Table(title="medians; wall from process start to written result")
    for title in ("contestant", "wall s", "least", "most", "CPU s", "peak MiB", "wall / best peer"):
        table.add_column(title, justify="left" if title == "contestant" else "right")
    for name, m in medians.items():
        walls = [r.wall for r in runs[name]]
        ratio = f"{m.wall / best:.2f}" if best else ""
        figures = (f"{m.wall:.2f}", f"{min(walls):.2f}", f"{max(walls):.2f}", f"{m.cpu:.1f}", f"{m.peak_mb:.0f}", ratio)
        table.add_row(name, *figures)
    console.print(table)
    if flat:
        memory = Table(title="memory of huaxiang, one file a bucket, by number of buckets")
        for title in ("buckets", "all processes, peak MiB", "one worker, peak MiB"):
            memory.add_column(title, justify="right")
        for number, peak, worker in flat:
            memory.add_row(str(number), f"{peak:.0f}", f"{worker:.0f}")
        console.print(memory)


def _write(path: Path, runs: dict[str, list[Measured]], flat: list[tuple[int, float, float]], wrong: list[str]) -> None:
    found = {name: [vars(r) for r in rs] for name, rs in runs.items()}
    path.write_text(json.dumps({"runs": found, "flatness": flat, "differences": wrong}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
