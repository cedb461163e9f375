"""A small simulated shop as a project folder, brought through the pipeline as its users would."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa

from jobs.ingest.step import ingest
from jobs.pipeline import RunReport, run
from lake.engine import Engine
from lake.sql import connect
from project import setup
from project.folder import Project
from schemas.contracts import contracts
from simulator import shop as simulator

USERS, DAYS, SEED = 400, 60, 11
LAST = simulator.LAST_DAY
VOLATILE = {
    "run_id",
    "created_at",
    "path",
    "model_version",
    "content",
    "seconds",
    "peak_memory_mb",
    "delivery_id",
    "release",
}
"""Columns that say who made a row and when, not what it says."""
COMPARED = ("bronze", "quarantine", "silver", "identity", "activity", "fission", "profile", "segments", "landing")


@cache
def simulated() -> simulator.Shop:
    return simulator.simulate(users=USERS, days=DAYS, seed=SEED)


def new_project(folder: Path) -> Project:
    setup.init(folder)
    return Project.load(folder)


def received(project: Project, day: date) -> datetime:
    """The morning after a day, when its files arrive."""
    return datetime.combine(day + timedelta(days=1), time(6), project.zone_info)


def deliver(project: Project, day: date) -> None:
    """Put into the inbox what has arrived by the morning after ``day``."""
    simulator.write_arrivals(simulated(), project.inbox, last_day=day)


def one_day(project: Project, engine: Engine, day: date) -> RunReport:
    deliver(project, day)
    ingest(project, engine, received_at=received(project, day))
    return run(project, engine, day)


def last_days(n: int) -> list[date]:
    return [LAST - timedelta(days=i) for i in reversed(range(n))]


def tables(project: Project) -> dict[str, pa.Table]:
    """Every table of the lake in columns and rows that a second run must reproduce, sorted."""
    found = {}
    with connect(project.lake, None) as con:
        for name, c in contracts().items():
            if c.layer not in COMPARED or project.lake.version(name) is None:
                continue
            columns = [f for f in project.lake.schema(name).names if f not in VOLATILE]
            listed = ", ".join(f'"{n}"' for n in columns)
            found[name] = con.sql(f"select {listed} from {name} order by all").to_arrow_table()
    return found


def assert_same(mine: dict[str, pa.Table], yours: dict[str, pa.Table], names: tuple[str, str]) -> None:
    """AssertionError names the table and the first differing cells."""
    assert sorted(mine) == sorted(yours)
    problems = []
    for name, left in mine.items():
        right = yours[name]
        if left.schema != right.schema or left.num_rows != right.num_rows:
            problems.append(f"{name}: {left.num_rows} rows in {names[0]}, {right.num_rows} in {names[1]}")
        problems += _cells(name, left, right, names)
    assert not problems, "\n".join(problems[:20])


def _cells(name: str, left: pa.Table, right: pa.Table, names: tuple[str, str]) -> list[str]:
    found = []
    for column in left.column_names:
        a, b = left[column].combine_chunks(), right[column].combine_chunks()
        if a.equals(b):
            continue
        for i, (x, y) in enumerate(zip(a.to_pylist(), b.to_pylist(), strict=False)):
            if x != y:
                key = {k: left[k][i].as_py() for k in contracts()[name].key if k in left.column_names}
                found.append(f"{name} row {i} {key} {column}: {names[0]} {x!r}, {names[1]} {y!r}")
                break
    return found
