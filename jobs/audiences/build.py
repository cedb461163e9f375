"""Building an audience: members, the log of enters and exits with reasons, and the size, published together.

The log is the history: everyone's last change before a day tells the members of the build before it, so a build that
runs again gives the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from audiences.plan import Plan
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audiences.changes import judged_bucket, logged_changes
from jobs.audiences.columns import Inputs, Prepared, prepared, run_on_buckets
from jobs.campaigns.assigned import ASSIGNMENTS, assigned_inputs
from lake import journal
from lake.engine import Engine, Progress
from lake.lake import partition_path
from lake.publish import Slices, publish
from lake.releases import Release, releases
from project.audience_tables import SIZES
from project.folder import Project
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract
from schemas.errors import ConfigurationError, NotThereError

MEMBERSHIP = "audiences.membership"
LOG = "audiences.membership_log"
LOG_ROWS = 1 << 16
"""Rows of the log that are in memory at a time."""


@dataclass(frozen=True)
class Built:
    """What a build made, or found made already: ``users`` = users before + enters - exits."""

    audience: str
    release: int
    as_of: date
    definition_hash: str
    users: int
    enters: int
    exits: int
    already_built: bool
    warnings: tuple[str, ...] = ()


class Build:
    """One build of one audience at one release, under the tables' locks."""

    def __init__(self, project: Project, plan: Plan, at: Release, made: Sequence[dict[str, Any]], run_id: str):
        self.project, self.plan, self.at, self.run_id = project, plan, at, run_id
        self.lake = project.lake
        self.made = [row for row in made if row["as_of"] < at.as_of]
        self.warnings: list[str] = []

    def published(self, engine: Engine | None, progress: Progress | None) -> Built:
        tables = (LOG, MEMBERSHIP, SIZES)
        for table in tables:
            self.lake.ensure(table)
        versions = {t: self.lake.version(t) for t in tables}
        scratch = journal.scratch(self.lake, self.run_id)
        members, log = self.lake.stage(MEMBERSHIP, self.run_id), self.lake.stage(LOG, self.run_id)
        now = prepared(self.project, self.at, self.plan, scratch, engine=engine)
        found = run_on_buckets(
            self.lake,
            "jobs.audiences.build:members_of_bucket",
            self.items(now, scratch, members, log),
            engine,
            progress,
        )
        users, enters, exits = (sum(one[k] for one in found) for k in ("users", "enters", "exits"))
        sizes = self.lake.stage(SIZES, self.run_id)
        self.write_sizes(sizes, users)
        audience = self.plan.audience
        later = [d for d in self.days_logged() if d >= self.at.as_of]
        slices: dict[str, Slices] = {
            LOG: [{"audience": audience, "as_of": d} for d in sorted({*later, self.at.as_of})],
            MEMBERSHIP: [{"audience": audience}],
            SIZES: [{"audience": audience}],
        }
        # Sizes go last: a build is done when its size is there, and a killed one is made again as a whole.
        for table, folder in ((LOG, log), (MEMBERSHIP, members), (SIZES, sizes)):
            publish(
                self.lake,
                table,
                folder,
                replace=slices[table],
                read_version=versions[table],
                run_id=self.run_id,
                key=f"{table}-{self.run_id}",
            )
        return Built(
            audience,
            self.at.number,
            self.at.as_of,
            self.plan.definition_hash,
            users,
            enters,
            exits,
            False,
            (*now.warnings, *self.warnings),
        )

    def items(self, now: Prepared, scratch: Path, members: Path, log: Path) -> list[Inputs]:
        """One item a bucket, those included that only people who left the base are in."""
        previous = write_by_bucket(self.members_before(), scratch / "previous")
        before = self.inputs_before(scratch)
        arms = self.arms_given(scratch)
        return [
            {
                "bucket": b,
                "now": now.buckets.get(b),
                "before": None if before is None else before.buckets.get(b),
                "first_build": not self.made,
                "definition_changed": bool(self.made) and self.made[-1]["definition_hash"] != self.plan.definition_hash,
                "previous": previous.get(b),
                "plan": self.plan.model_dump(mode="json"),
                "as_of": self.at.as_of.isoformat(),
                "currency": self.project.currency,
                "arms": {campaign: found[b] for campaign, found in arms.items() if b in found},
                "release": self.at.number,
                "members": str(members),
                "log": str(log),
            }
            for b in sorted({*now.buckets, *previous})
        ]

    def inputs_before(self, scratch: Path) -> Prepared | None:
        """Inputs at the release of the build before, to tell what kept those out who enter now; None if it is gone."""
        if not self.made:
            return None
        then = next((r for r in releases(self.lake) if r.number == self.made[-1]["release"]), None)
        if then is None:
            return None
        try:
            return prepared(self.project, then, self.plan, scratch)
        except (NotThereError, OSError, DeltaError):
            # A tag that is newer than that release, or a version that has expired.
            return None

    def arms_given(self, scratch: Path) -> dict[str, dict[int, Inputs]]:
        """For each campaign that names the audience and gave arms by the day, what tells them, by bucket."""
        given = {f.partition["campaign"] for f in self.lake.files(ASSIGNMENTS)}
        if not given:
            return {}
        try:
            naming = [c.id for c in self.project.campaigns.values() if self.plan.audience in c.audiences]
        except ConfigurationError:
            self.warnings.append("the log says no split groups: campaigns have mistakes (`huaxiang campaign check`)")
            return {}
        return {c: assigned_inputs(self.lake, self.at, c, scratch / f"arms-{c}") for c in naming if c in given}

    def days_logged(self) -> list[date]:
        where = {"audience": self.plan.audience}
        return sorted({f.partition["as_of"] for f in self.lake.files(LOG, where=where)})

    def members_before(self) -> np.ndarray:
        """A flag per uid: its last logged change before this day is an enter. One byte a uid, however long the log is."""
        inside = np.zeros(0, np.bool_)
        for day in (d for d in self.days_logged() if d < self.at.as_of):
            files = self.lake.files(LOG, where={"audience": self.plan.audience, "as_of": day})
            for path in self.lake.local(files):
                inside = changed_by(path, inside)
        return inside

    def write_sizes(self, folder: Path, users: int) -> None:
        mine = {
            "as_of": self.at.as_of,
            "release": self.at.number,
            "definition_hash": self.plan.definition_hash,
            "users": users,
        }
        kept = [{k: row[k] for k in mine} for row in self.made]
        table = pa.Table.from_pylist([*kept, mine], _file_schema(SIZES))
        _write(table, folder, {"audience": self.plan.audience}, "sizes")


def changed_by(path: str, inside: np.ndarray) -> np.ndarray:
    """The flags after the changes of a file of the log, read in pieces; grown in place of uids that were not there."""
    for rows in pq.ParquetFile(path).iter_batches(LOG_ROWS, columns=["uid", "change"]):
        uid = rows.column("uid").to_numpy()
        greatest = int(uid.max(initial=-1))
        if greatest >= len(inside):
            # a whole bucket at a time: members come in order of uid
            grown = (greatest // USERS_PER_BUCKET + 1) * USERS_PER_BUCKET
            inside = np.concatenate([inside, np.zeros(grown - len(inside), np.bool_)])
        inside[uid] = pc.equal(rows.column("change"), "enter").to_numpy(zero_copy_only=False)
    return inside


def write_by_bucket(inside: np.ndarray, folder: Path) -> dict[int, str]:
    """Write the flagged uids below ``folder``, a file a bucket; the files by bucket, none for a bucket without any."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for first in range(0, len(inside), USERS_PER_BUCKET):
        uid = np.flatnonzero(inside[first : first + USERS_PER_BUCKET]) + first
        if len(uid):
            bucket = first // USERS_PER_BUCKET
            files[bucket] = str(folder / f"{bucket}.parquet")
            pq.write_table(pa.table({"uid": pa.array(uid, pa.int64())}), files[bucket])
    return files


def members_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: one bucket's members and its log against the build before; writes both, returns the numbers."""
    plan = Plan.model_validate(item["plan"])
    previous = np.empty(0, np.int64) if item["previous"] is None else _read(item["previous"])["uid"].to_numpy()
    now = judged_bucket(plan, item["now"])
    inside = now.uid[now.members]
    enters, exits = np.setdiff1d(inside, previous), np.setdiff1d(previous, inside)
    as_of = date.fromisoformat(item["as_of"])
    _write(
        pa.table(
            {
                "uid": pa.array(inside, pa.int64()),
                "as_of": pa.repeat(pa.scalar(as_of, pa.date32()), len(inside)),
                "release": pa.repeat(pa.scalar(item["release"], pa.int64()), len(inside)),
                "definition_hash": pa.repeat(plan.definition_hash, len(inside)),
            }
        ).cast(_file_schema(MEMBERSHIP)),
        Path(item["members"]),
        {"audience": plan.audience},
        str(item["bucket"]),
    )
    log = logged_changes(plan, item, now, enters, exits).cast(_file_schema(LOG))
    _write(log.sort_by("uid"), Path(item["log"]), {"audience": plan.audience, "as_of": as_of}, str(item["bucket"]))
    return {"users": len(inside), "enters": len(enters), "exits": len(exits)}


def _file_schema(table: str) -> pa.Schema:
    c = contract(table)
    return file_schema(arrow_schema(c), c.partitions)


def _read(path: str, columns: list[str] | None = None) -> pa.Table:
    # The one file only: the folders' names must not come in as columns of text.
    return pq.ParquetFile(path).read(columns)


def _write(table: pa.Table, folder: Path, partition: dict[str, Any], name: str) -> None:
    """One file of a partition below a staging folder; none for no rows."""
    if len(table):
        place = folder / partition_path(partition)
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, place / f"{name}.parquet")
