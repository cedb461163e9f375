"""Step ``fission``: who brought whom, as of a day (definitions.md section 7).

1. a task per bucket reads activity once: the first valid touch of each person, who reached whom, what was bought;
2. one task makes the trees of all touches: a tree knows no buckets; two more those of everybody reached, by root and
   by card;
3. a task per bucket says what its sharers reached, one finds percentiles among all, a task per bucket writes the roles.

Running a day again replaces its slices. Snapshots leave the newest version of the tables as those of the profile do.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.fission.settings import FissionSettings
from features.fission.touches import CYCLE, FIRST, OUTCOMES
from features.instants import day_number, iso_day_of
from features.population import end_of_day
from jobs.fission import reach as fission_reach
from jobs.fission.inputs import FissionInputs
from jobs.fission.touches import KINDS
from jobs.profile.snapshots import day_of
from lake.attempts import local_folder
from lake.lake import Lake, by_bucket, partition_path
from lake.publish import Audit
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract

if TYPE_CHECKING:
    from lake.engine import Engine
    from project.folder import Project

EDGES, TREES, DAILY = "fission.share_edges", "fission.share_trees", "fission.share_daily"
TOUCHES, ROLES = "fission.touches", "fission.roles"
TABLES = (EDGES, TREES, *fission_reach.TABLES.values(), DAILY, TOUCHES, ROLES)
"""In order of publication: roles that are there have everything that belongs to them."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Result = dict[str, Any]
"""What a task gives."""
Files = dict[int, list[str]]
"""By bucket."""


def run_fission(
    project: Project,
    engine: Engine,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    audit: Audit | None = None,
) -> int:
    """Compute and publish the share trees and roles of ``as_of``; gives the rows of ``roles``.

    ``known_at`` leaves out what was learned later. ``audit`` stops the run by raising before anything is published.
    """
    settings = project.method("fission", FissionSettings)
    return update_fission(
        project.lake,
        engine,
        as_of,
        settings,
        run_id=run_id,
        known_at=known_at,
        keep_days=project.settings.keep_days,
        audit=audit,
    )


def update_fission(
    lake: Lake,
    engine: Engine,
    as_of: dt.date,
    settings: FissionSettings,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    keep_days: int = 35,
    audit: Audit | None = None,
) -> int:
    """``run_fission`` without a project folder."""
    with day_of(lake, TABLES, as_of, run_id=run_id, audit=audit, keep_days=keep_days) as staged:
        return _Step(lake, engine, as_of, settings, run_id, known_at, staged).compute()


class _Step:
    """One run of the step: its inputs, its scratch folder, what it staged."""

    def __init__(
        self,
        lake: Lake,
        engine: Engine,
        as_of: dt.date,
        settings: FissionSettings,
        run_id: str,
        known_at: dt.datetime | None,
        staged: dict[str, Path],
    ):
        self.lake, self.engine, self.as_of, self.known_at = lake, engine, as_of, known_at
        self.scratch = lake.scratch(run_id) / f"fission-{as_of}"
        self.staged = staged
        self.shared = {
            "as_of": as_of.isoformat(),
            "known_at_day": iso_day_of(known_at, lake.zone),
            "zone": lake.zone,
            "settings": settings.model_dump(mode="json"),
        }

    def compute(self) -> int:
        inputs = FissionInputs(self.lake, self.as_of, self.known_at, self.scratch)
        touches = self._touches(by_bucket(self.lake.files("activity.activity")), inputs.people())
        if not touches:
            return 0
        self._write_touches(touches, self._forest(touches))
        self._reach_trees(touches)
        folders = [t["folder"] for t in touches]
        here = [local_folder(self.lake.store, folder, self.scratch / "read") for folder in folders]
        inputs.products(here)
        inputs.sold(here)
        reach = self._reach(touches)
        made = self._roles(touches, reach, self._numbers(touches, reach))
        return sum(m["rows"] for m in made)

    def _touches(self, activity: Files, members: Files) -> list[Result]:
        until = (end_of_day(self.as_of, self.lake.zone) - _EPOCH) // dt.timedelta(microseconds=1)
        items = [
            {
                "bucket": b,
                "files": activity.get(b, []),
                "members": members.get(b, []),
                "retired": self._place("retired"),
                "until": until,
                "out": self._place(f"touches/bucket-{b}"),
            }
            for b in sorted({*activity, *members})
        ]
        return self._map("jobs.fission.touches:touches_of_bucket", items)

    def _forest(self, touches: list[Result]) -> Result:
        item = {
            "folders": [t["folder"] for t in touches],
            "greatest_uid": max(t["greatest_uid"] for t in touches),
            "edges_out": self._file(EDGES),
            "trees_out": self._file(TREES),
            "out": self._place("forest"),
        }
        return self._map("jobs.fission.tasks:forest_of_touches", [item])[0]

    def _reach_trees(self, touches: list[Result]) -> None:
        shared = {
            "folders": [t["folder"] for t in touches],
            "greatest_uid": max(t["greatest_uid"] for t in touches),
        }
        items = [{**shared, "by": by, "trees_out": self._file(table)} for by, table in fission_reach.TABLES.items()]
        self._map("jobs.fission.reach:reach_trees", items)

    def _reach(self, touches: list[Result]) -> list[Result]:
        items = [
            {
                "bucket": t["bucket"],
                "folder": t["folder"],
                "forest": self._place("forest"),
                "sold": self._place("sold"),
                "products": self._place("products"),
                "out": self._place(f"reach/bucket-{t['bucket']}"),
            }
            for t in touches
        ]
        return self._map("jobs.fission.roles:reach_of_bucket", items)

    def _numbers(self, touches: list[Result], reach: list[Result]) -> Result:
        first_days = (t["first_day"] for t in touches if t["first_day"] is not None)
        item = {
            "folders": [r["folder"] for r in reach],
            "touches": [t["folder"] for t in touches],
            "first_day": min(first_days, default=day_number(self.as_of)),
            "daily_out": self._file(DAILY),
            "out": self._place("numbers"),
        }
        return self._map("jobs.fission.roles:numbers_of_all", [item])[0]

    def _roles(self, touches: list[Result], reach: list[Result], numbers: Result) -> list[Result]:
        items = [
            {
                "bucket": t["bucket"],
                "folder": t["folder"],
                "reach": r["folder"],
                "forest": self._place("forest"),
                "numbers": self._place("numbers"),
                "prior": numbers["prior"],
                "seed_cuts": numbers["seed_cuts"],
                "roles_out": self._file(ROLES, bucket=t["bucket"]),
            }
            for t, r in zip(touches, reach, strict=True)
        ]
        return self._map("jobs.fission.roles:roles_of_bucket", items)

    def _map(self, task: str, items: list[dict[str, Any]]) -> list[Result]:
        return self.engine.map(task, [{**self.shared, **item} for item in items])

    def _place(self, name: str) -> str:
        return str(self.scratch / name)

    def _file(self, table: str, **partition: object) -> str:
        place = self.staged[table] / partition_path({"as_of": self.as_of, **partition})
        place.mkdir(parents=True, exist_ok=True)
        return str(place / "part-0.parquet")

    def _write_touches(self, touches: list[Result], tree: Result) -> None:
        """What became of every touch, over all buckets: the first of a person, unless its edge closed a cycle."""
        counted = np.sum([t["outcomes"] for t in touches], axis=0)
        counted[:, FIRST] -= tree["cut"]
        counted[:, CYCLE] += tree["cut"]
        c = contract(TOUCHES)
        rows = [
            {"touch_kind": kind, "touch_outcome": outcome, "touches": int(counted[i, j])}
            for i, kind in enumerate(KINDS)
            for j, outcome in enumerate(OUTCOMES)
        ]
        schema = file_schema(arrow_schema(c), c.partitions)
        pq.write_table(pa.Table.from_pylist(rows, schema), self._file(TOUCHES), compression="zstd")
