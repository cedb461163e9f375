"""A simulated shop as a project whose inbox is full, and the verbs that a user calls on it, measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.measured import Measured, measured
from lake.engine import Kind
from lake.sql import connect
from project import setup
from project.folder import Project
from simulator import shop as simulator
from simulator.shop import Shop

SEED = 11
TIMEOUT = 7200


def asked(about: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark of a shop has; ``about`` is what it says of itself."""
    found = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--users", type=int, default=20_000)
    found.add_argument("--days", type=int, default=180)
    found.add_argument("--folder", type=Path, help="where shops are made (default: the system's folder for such)")
    found.add_argument("--record", action="store_true")
    return found


def size(options: argparse.Namespace) -> list[str]:
    """The options that say how large a shop is, for another process."""
    return ["--users", str(options.users), "--days", str(options.days)]


def prepare(folder: Path, users: int, days: int, changed: Callable[[Shop], Shop] = lambda shop: shop) -> None:
    """A project of a shop with all its files in the inbox. ``changed`` may make another shop of it first."""
    setup.init(folder)
    shop = changed(simulator.simulate(users=users, days=days, seed=SEED))
    simulator.write_arrivals(shop, Project.load(folder).folder / "inbox")


def verb(folder: Path, *words: str) -> Measured:
    """A verb of the command in a process of its own."""
    command = [sys.executable, "-m", "cli.main", *words, "--project", str(folder), "--json"]
    return measured(command, {}, timeout=TIMEOUT)


def ingested(folder: Path, day: date = simulator.LAST_DAY, engine: Kind = "embedded") -> Measured:
    """Every file of the inbox, as received on the morning after ``day``."""
    received = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).isoformat()
    return verb(folder, "ingest", "--received-at", received, "--engine", engine)


def run(folder: Path, day: date = simulator.LAST_DAY, engine: Kind = "embedded") -> Measured:
    return verb(folder, "run", "--as-of", day.isoformat(), "--engine", engine)


def together(runs: Sequence[Measured]) -> Measured:
    """Several runs, one after the other, as one."""
    return Measured(sum(r.wall for r in runs), sum(r.cpu for r in runs), max(r.peak_mb for r in runs))


def seconds_by_step(folder: Path) -> dict[str, list[float]]:
    """Seconds of each step of each run of it, in the order in which they ran."""
    with connect(Project.load(folder).lake, None, ["ops"]) as con:
        rows = con.execute(
            "select step, list(seconds order by created_at) from ops.runs group by step order by min(created_at)"
        ).fetchall()
    return dict(rows)
