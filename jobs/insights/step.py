"""The step itself: every topic in turn, then one publication a table (``segments.figures``, ``curves``, ``alerts`` ...).

A topic gives small rows (aggregates), never a row per user; only ``alert_users`` lists persons, and does so as files.
Running a day again replaces its slices and changes nothing.
"""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from features.instants import iso_day_of
from jobs.profile.snapshots import day_of
from lake.lake import Lake, by_bucket, partition_path
from lake.publish import Audit
from lake.releases import RELEASED_LAYERS
from project.held import Marks, marks
from schemas.arrow import arrow_schema, file_schema
from schemas.configuration import Settings
from schemas.contracts import contract

if TYPE_CHECKING:
    import duckdb

    from features.catalogue import Catalogue
    from lake.engine import Engine
    from project.folder import Project

TOPICS: tuple[str, ...] = (
    "lifecycle",
    "migration",
    "aipl",
    "layering",
    "promotion",
    "value",
    "fission",
    "brushing",
    "segments",
    "quality",
)
"""Modules of this package, in the order in which they run; a topic whose data is not there gives nothing."""
TABLES = {
    "figures": "segments.figures",
    "curves": "segments.curves",
    "alerts": "segments.alerts",
    "alert_users": "segments.alert_users",
    "associations": "segments.associations",
}
M = TypeVar("M", bound=Settings)
Row = Mapping[str, Any]


@dataclass
class Insight:
    """What a topic gives; rows leave ``as_of`` (and of figures ``topic``) out. Absent keys are null.

    ``profile_days`` of a figure, which is not stored, are the days whose profile it is made of; absent, the run's day.
    ``alert_users`` are files written below ``InsightRun.scratch`` with the table's columns but ``as_of``.
    """

    figures: list[Row] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    alerts: list[Row] = field(default_factory=list)
    alert_users: list[Path] = field(default_factory=list)
    associations: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class InsightRun:
    """What the topics of one run share."""

    project: Project
    engine: Engine
    as_of: dt.date
    run_id: str
    known_at: dt.datetime | None = None

    @property
    def lake(self) -> Lake:
        return self.project.lake

    @property
    def catalogue(self) -> Catalogue:
        return self.project.catalogue

    @property
    def scratch(self) -> Path:
        """The run's own folder for files that no table holds."""
        path = self.lake.scratch(self.run_id) / "insights"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def known_at_day(self) -> str | None:
        """The business day of ``known_at``, as map tasks take it: rows of activity learned later do not count."""
        return iso_day_of(self.known_at, self.lake.zone)

    def method(self, name: str, kind: type[M]) -> M:
        return self.project.method(name, kind)

    def map(self, task: str, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.engine.map(task, items)

    def by_bucket(self, table: str, **where: object) -> dict[int, list[str]]:
        """Files of the newest version of a table that is partitioned by bucket, such as one day of the profile."""
        return by_bucket(self.lake.files(table, where=where or None))

    def facts(self, name: str, declared: Sequence[Mapping[str, Any]]) -> list[str]:
        """Declared facts of every user as of the day: a file a bucket, below ``name`` in the scratch folder."""
        items = [
            {
                "bucket": bucket,
                "files": files,
                "facts": list(declared),
                "as_of": self.as_of.isoformat(),
                "known_at_day": self.known_at_day,
                "zone": self.lake.zone,
                "out": str(self.scratch / name / f"bucket-{bucket}.parquet"),
            }
            for bucket, files in self.by_bucket("activity.activity").items()
        ]
        return self.lake.local(r["path"] for r in self.map("jobs.activity.facts:facts_of_bucket", items))

    @cached_property
    def snapshots(self) -> list[dt.date]:
        """Days whose profile is there, oldest first."""
        return sorted({f.partition["as_of"] for f in self.lake.files("profile.profile")})

    @contextmanager
    def sql(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The newest version of every table of released layers as SQL views ``layer.table`` (DuckDB streams them; results are small).

        All topics share one connection: opening it costs a tenth of a second. ``create or replace`` what is temporary.
        """
        yield self._connection

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        from lake.sql import connect

        return connect(self.lake, None, RELEASED_LAYERS)

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        if "_connection" in self.__dict__:
            self._connection.close()


def run_insights(
    project: Project,
    engine: Engine,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    audit: Audit | None = None,
) -> dict[str, int]:
    """Compute and publish the figures, curves, alerts and associations of ``as_of``; gives rows by table.

    The day's profile must be published. ``known_at`` leaves out rows learned later. ``audit`` stops the run by raising before anything is published.
    """
    run = InsightRun(project, engine, as_of, run_id, known_at)
    with day_of(project.lake, list(TABLES.values()), as_of, run_id=run_id, audit=audit) as staged:
        whole = Insight()
        for found, topic in _found(run):
            whole.figures += [{"item": "", **row, "topic": topic} for row in found.figures]
            whole.curves += [{"series": "", **row} for row in found.curves]
            whole.alerts += found.alerts
            whole.alert_users += found.alert_users
            whole.associations += found.associations
        whole.figures = _marked(run, whole.figures)
        return {name: _stage(name, getattr(whole, name), as_of, staged[table]) for name, table in TABLES.items()}


def _found(run: InsightRun) -> Iterator[tuple[Insight, str]]:
    try:
        for topic in TOPICS:
            yield importlib.import_module(f"jobs.insights.{topic}").insight(run), topic
    finally:
        run.close()


def _marked(run: InsightRun, figures: list[Row]) -> list[Row]:
    """The figures, those made from held tags with their names."""
    days = [tuple(r.get("profile_days", (run.as_of,))) for r in figures]
    on = {day: marks(run.lake, run.catalogue, day) for day in {d for of_row in days for d in of_row}}
    if not any(m.since for m in on.values()):
        return figures
    whole = {of_row: reduce(or_, (on[d] for d in of_row), Marks()) for of_row in set(days)}
    tags_of = importlib.import_module("jobs.insights.marks").tags_of_figure
    return [
        {**r, "held_by": ",".join(whole[of_row].of(tags_of(run.catalogue, r))) or None}
        for r, of_row in zip(figures, days, strict=True)
    ]


def _stage(name: str, rows: Sequence[Any], as_of: dt.date, folder: Path) -> int:
    c = contract(TABLES[name])
    schema = file_schema(arrow_schema(c), c.partitions)
    place = folder / partition_path({"as_of": as_of})
    if not rows:
        return 0
    place.mkdir(parents=True, exist_ok=True)
    if name != "alert_users":
        pq.write_table(pa.Table.from_pylist(list(rows), schema), place / "part-0.parquet", compression="zstd")
        return len(rows)
    count = 0
    for i, path in enumerate(rows):
        table = pq.read_table(path, partitioning=None)
        if len(table):
            pq.write_table(table.select(schema.names).cast(schema), place / f"part-{i}.parquet", compression="zstd")
        count += len(table)
    return count
