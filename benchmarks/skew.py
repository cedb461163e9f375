"""Uneven data against even data of the same size: ``python -m benchmarks.skew [--users N] [--people N] [--rounds N] [--record]``.

The same shop three times through ``ingest`` and ``run``: as it is, with one user who has a tenth of all events, and with one
day that has half of all orders. And the step ``fission`` on a million people: brought in groups of ten, and in one cascade.
Each runs in a process of its own, ``--rounds`` times in turns, of which the quickest counts; the ratios are to the even form.
Above 1.5 in wall time or memory is named, with the step, and ends with exit code 1. Wall time means something on a machine
that nobody else uses: two processes of which one has all the work take no more processor time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks import records, shops
from benchmarks.fission import DAY, DAYS, FIRST_DAY, MINUTE, PRODUCTS, Rows, activity
from benchmarks.measured import Measured, measured
from benchmarks.skewed import with_festival, with_hub
from features.kernel.rows import USERS_PER_BUCKET
from lake import journal
from lake.lake import Lake, partition_path
from lake.publish import publish
from schemas.behaviours import BEHAVIOURS as B
from simulator.shop import Shop

LIMIT = 1.5
GROUP = 10
"""People who are brought by one, in both forms."""
NOTICED_SECONDS = 1.0
"""Steps that take less are not named: a hundred milliseconds more are no skew."""
FORMS: dict[str, Callable[[Shop], Shop]] = {"even": lambda shop: shop, "hub": with_hub, "festival": with_festival}


def main() -> int:
    options = _options()
    console = Console()
    measures: dict[str, dict[str, Measured]] = {}
    steps: dict[str, dict[str, float]] = {}
    for _ in range(options.rounds):
        for form in FORMS:
            taken, seconds = _shop(options, form)
            measures[form] = _least(measures.get(form, taken), taken)
            steps[form] = {step: min(s, steps.get(form, seconds)[step]) for step, s in seconds.items()}
        for form in ("groups", "cascade"):
            taken = {"fission": _people(options, form)}
            measures[form] = _least(measures.get(form, taken), taken)
    found = _figures(options, measures, steps)
    _show(console, measures, found)
    over = _over(measures, steps)
    for line in over:
        console.print(f"ABOVE {LIMIT}: {line}")
    code = records.settled(console, "skew", found, (), record=options.record)
    return 1 if over else code


def _options() -> argparse.Namespace:
    asked = shops.asked(__doc__)
    asked.add_argument("--people", type=int, default=1_000_000, help="people of the cascade")
    asked.add_argument("--rounds", type=int, default=1, help="all forms in turns so often; the least of each counts")
    asked.add_argument("--prepare", nargs=2, metavar=("FORM", "FOLDER"), help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.prepare:
        form, folder = options.prepare
        if form in FORMS:
            shops.prepare(Path(folder), options.users, options.days, FORMS[form])
        else:
            make(Path(folder), form, options.people)
        sys.exit(0)
    return options


def _least(before: dict[str, Measured], now: dict[str, Measured]) -> dict[str, Measured]:
    """Of each part the run that was disturbed least."""
    return {part: min(before[part], m, key=lambda r: r.wall) for part, m in now.items()}


def _prepared(options: argparse.Namespace, form: str, folder: Path) -> None:
    size = [*shops.size(options), "--people", str(options.people)]
    measured(
        [sys.executable, "-m", "benchmarks.skew", *size, "--prepare", form, str(folder)], {}, timeout=shops.TIMEOUT
    )


def _shop(options: argparse.Namespace, form: str) -> tuple[dict[str, Measured], dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="huaxiang-skew-", dir=options.folder) as below:
        folder = Path(below) / "shop"
        _prepared(options, form, folder)
        taken = {"ingest": shops.ingested(folder), "run": shops.run(folder)}
        return taken, {step: seconds[-1] for step, seconds in shops.seconds_by_step(folder).items()}


def _people(options: argparse.Namespace, form: str) -> Measured:
    with tempfile.TemporaryDirectory(prefix="huaxiang-skew-", dir=options.folder) as below:
        folder = Path(below) / "lake"
        _prepared(options, form, folder)
        found = measured([sys.executable, "-m", "benchmarks.fission", "--step", str(folder)], {}, timeout=shops.TIMEOUT)
        shutil.rmtree(folder)
        return found


def parents(form: str, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Who was brought, and by whom: everybody by the first of their ten, or all from one root, ten by each."""
    person = np.arange(people, dtype=np.int64)
    if form == "groups":
        brought = person[person % GROUP != 0]
        return brought, brought // GROUP * GROUP
    return person[1:], (person[1:] - 1) // GROUP


def make(folder: Path, form: str, people: int) -> int:
    """Shares, opens and registrations of these people as a lake's activity; gives its rows. Who brings came before."""
    brought, by = parents(form, people)
    at = np.int64(FIRST_DAY * DAY) + brought * ((DAYS - 1) * DAY // people)
    product = 1 + brought % PRODUCTS
    none, nothing = np.full(len(brought), -1, np.int64), np.zeros(len(brought), np.int64)
    acts: list[Rows] = [
        (by, B["share"], at, none, product),
        (brought, B["share_open"], at + MINUTE, by, product),
        (by, B["share_opened"], at + MINUTE, brought, product),
        (brought, B["register"], at + 2 * MINUTE, by, nothing),
    ]
    rows = activity(acts)
    lake, table = Lake(folder, "Asia/Shanghai"), "activity.activity"
    for name in (
        table,
        "identity.users",
        "identity.identifiers",
        "silver.members",
        "activity.codes",
        "silver.products",
    ):
        lake.ensure(name)
    staged = lake.stage(table, "made")
    for bucket in range(-(-people // USERS_PER_BUCKET)):
        place = staged / partition_path({"bucket": bucket, "period": 202601})
        place.mkdir(parents=True)
        low, high = (pc.greater_equal(rows["uid"], pa.scalar(b * USERS_PER_BUCKET)) for b in (bucket, bucket + 1))
        pq.write_table(rows.filter(pc.and_(low, pc.invert(high))), place / "rows.parquet", compression="zstd")
    publish(lake, table, staged, replace=None, read_version=None, run_id="made", key="made")
    journal.finish(lake, "made")
    return len(rows)


EVEN = {"hub": "even", "festival": "even", "cascade": "groups"}


def _ratios(measures: dict[str, dict[str, Measured]], form: str) -> dict[str, dict[str, float]]:
    """Of each verb or step of an uneven form: wall, processor and memory to the even one's."""
    even = measures[EVEN[form]]
    return {
        part: {
            "wall": round(m.wall / even[part].wall, 2),
            "cpu": round(m.cpu / even[part].cpu, 2),
            "memory": round(m.peak_mb / even[part].peak_mb, 2),
        }
        for part, m in measures[form].items()
    }


def _figures(
    options: argparse.Namespace, measures: dict[str, dict[str, Measured]], steps: dict[str, dict[str, float]]
) -> records.Record:
    found = {**records.heading(options.users, options.days), "people": options.people, "rounds": options.rounds}
    for form, parts in measures.items():
        whole = shops.together(list(parts.values()))
        found |= {f"{form}_seconds": round(whole.wall, 1), f"{form}_cpu_seconds": round(whole.cpu, 1)}
        found[f"{form}_peak_mb"] = round(whole.peak_mb)
    found["ratios"] = {form: _ratios(measures, form) for form in EVEN}
    found["steps"] = {form: {s: round(t, 1) for s, t in of.items()} for form, of in steps.items()}
    return found


def _show(console: Console, measures: dict[str, dict[str, Measured]], found: records.Record) -> None:
    table = Table(
        title=f"skew: {found['users']:,} users, {found['people']:,} people in cascades, {found['cores']} cores"
    )
    for name in ("form", "part", "wall (s)", "processor (s)", "peak (MiB)", "wall", "processor", "memory"):
        table.add_column(name, justify="left" if name in ("form", "part") else "right")
    for form, parts in measures.items():
        for part, m in parts.items():
            ratios = found["ratios"].get(form, {}).get(part, {})
            figures = (f"{m.wall:.1f}", f"{m.cpu:.1f}", f"{m.peak_mb:,.0f}")
            table.add_row(
                form, part, *figures, *(f"{ratios[k]:.2f}" if ratios else "" for k in ("wall", "cpu", "memory"))
            )
    console.print(table)


def _over(measures: dict[str, dict[str, Measured]], steps: dict[str, dict[str, float]]) -> list[str]:
    """What takes more than ``LIMIT`` times the even form's wall time or memory."""
    found = []
    for form, even in EVEN.items():
        for part, ratios in _ratios(measures, form).items():
            found += [f"{form}, {part}: {k} {ratios[k]}" for k in ("wall", "memory") if ratios[k] > LIMIT]
        for step, seconds in steps.get(form, {}).items():
            before = steps[even].get(step, seconds)
            if seconds > LIMIT * before and seconds - before > NOTICED_SECONDS:
                found.append(f"{form}, step {step}: {seconds:.1f} s where the even shop took {before:.1f}")
    return found


if __name__ == "__main__":
    sys.exit(main())
