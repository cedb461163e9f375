"""Step ``audience``: list, preview, why and build, at a release.

Membership is what the definition says of the release; nothing of it is kept that could drift. The log of enters and
exits is the history: everyone's last entry before a day tells the members of the build before it, so a build that runs
again gives the same rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from audiences import evaluate as ev
from audiences.compiler import compile_audience
from audiences.language import Audience, definition_hash, named
from audiences.plan import Plan, walk
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audience_columns import Inputs, Prepared, attributes, bucket_columns, prepared
from jobs.project import Project
from lake import journal
from lake.engine import Engine, Progress
from lake.lake import Lake, partition_path
from lake.locks import lock
from lake.publish import Slices, publish
from lake.releases import Release, latest, release, releases
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract
from schemas.errors import HuaxiangError, NotThereError

MEMBERSHIP = "audiences.membership"
LOG = "audiences.membership_log"
SIZES = "audiences.sizes"
INLINE_BUCKETS = 4
"""Up to this many buckets are judged in this process: starting others takes longer."""


@dataclass(frozen=True)
class Listed:
    """One audience with its last build, if there is one."""

    audience: str
    zh: str
    en: str
    owner: str
    built_as_of: date | None
    users: int | None
    is_current: bool


@dataclass(frozen=True)
class Preview:
    """What an audience would be at a release: size, members and visitors apart, a funnel, and a sample."""

    audience: str
    release: int
    as_of: date
    base_users: int
    users: int
    members: int
    anonymous: int
    steps: tuple[ev.Step, ...]
    sample: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Why:
    """One person before one audience: every condition with value and truth, and which of them decided."""

    audience: str
    release: int
    as_of: date
    user_id: str
    uid: int
    is_in: bool
    decided: str
    findings: tuple[ev.Finding, ...]


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


def plan_of(project: Project, name: str) -> tuple[Audience, Plan]:
    """The audience of that name, compiled against the project's catalogue."""
    audience = named(project.audiences, name)
    return audience, compile_audience(audience, project.audiences, attributes(project.catalogue))


def list_audiences(project: Project) -> list[Listed]:
    """Every audience of the project folder; ``is_current``: built from this definition at the latest release."""
    last = {row["audience"]: row for row in builds(project.lake)}
    current = latest(project.lake)
    found = []
    for audience in project.audiences.values():
        built = last.get(audience.id)
        wanted = definition_hash(audience, project.audiences)
        found.append(
            Listed(
                audience=audience.id,
                zh=audience.definition.name.zh,
                en=audience.definition.name.en,
                owner=audience.definition.owner,
                built_as_of=built["as_of"] if built else None,
                users=built["users"] if built else None,
                is_current=bool(
                    built and current and (built["release"], built["definition_hash"]) == (current.number, wanted)
                ),
            )
        )
    return found


def builds(lake: Lake, audience: str | None = None) -> list[dict[str, Any]]:
    """Rows of ``audiences.sizes`` in order of audience and day."""
    where = None if audience is None else {"audience": audience}
    rows: list[dict[str, Any]] = []
    for f in lake.files(SIZES, where=where):
        rows += [{"audience": f.partition["audience"], **row} for row in _read(f.path).to_pylist()]
    return sorted(rows, key=lambda r: (r["audience"], r["as_of"]))


def preview(
    project: Project,
    name: str,
    *,
    which: int | str | None = None,
    sample: int = 10,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Preview:
    """Size, funnel and a sample, without writing anything. ``engine`` is used for many buckets only."""
    audience, plan = plan_of(project, name)
    at = release(project.lake, which)
    further = [c for c in audience.definition.export.columns if c not in ("as_of",)]
    with _shared_folder(project.lake, engine) as scratch:
        ready = prepared(project, at, plan, Path(scratch), further)
        items = [
            {**item, "plan": plan.model_dump(mode="json"), "sample": sample, "sample_columns": further}
            for item in ready.buckets.values()
        ]
        found = _mapped("jobs.audience:counts_of_bucket", items, engine, progress)
    counted: dict[int, Sequence[int]] = {node.number: [0, 0, 0, -1] for _, node in walk(plan.root)}
    for i, one in enumerate(found):
        numbers = {int(k): v for k, v in one["counts"].items()}
        counted = dict(numbers) if i == 0 else dict(ev.add_counts(counted, numbers))
    rows = sorted((row for one in found for row in one["sample"]), key=lambda r: r["user_id"])
    return Preview(
        audience=audience.id,
        release=at.number,
        as_of=at.as_of,
        base_users=sum(one["base"] for one in found),
        users=sum(one["users"] for one in found),
        members=sum(one["members"] for one in found),
        anonymous=sum(one["users"] - one["members"] for one in found),
        steps=tuple(ev.funnel(plan, counted)),
        sample=tuple(rows[:sample]),
        warnings=ready.warnings,
    )


def counts_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: one bucket's counts by condition, and its first users in the order of ``user_id`` (a hash: a fair sample)."""
    plan = Plan.model_validate(item["plan"])
    table = bucket_columns(item)
    outcome = ev.evaluate(plan, _columns(table), len(table))
    inside = table.filter(pa.array(outcome.members))
    shown = list(dict.fromkeys(["user_id", "is_member", *item["sample_columns"]]))
    head = inside.select(shown).take(
        pc.select_k_unstable(inside["user_id"], item["sample"], [("user_id", "ascending")])
    )
    return {
        "base": len(table),
        "users": len(inside),
        "members": int(pc.sum(inside["is_member"]).as_py() or 0),
        "counts": {str(n): c for n, c in ev.counts(outcome).items()},
        "sample": [{k: _plain(v) for k, v in row.items()} for row in head.to_pylist()],
    }


def why(project: Project, name: str, uid: int, *, which: int | str | None = None) -> Why:
    """Every condition for one user; NotThereError if the release does not know the uid."""
    audience, plan = plan_of(project, name)
    at = release(project.lake, which)
    with TemporaryDirectory() as scratch:
        item = prepared(project, at, plan, Path(scratch)).buckets.get(uid // USERS_PER_BUCKET)
        table = None if item is None else bucket_columns(item, uid)
    if table is None or not len(table):
        raise NotThereError(f"uid {uid} is not in release {at.number} ({at.as_of}); `huaxiang user` shows who is")
    columns = _columns(table)
    outcome = ev.evaluate(plan, columns, 1)
    return Why(
        audience=audience.id,
        release=at.number,
        as_of=at.as_of,
        user_id=table["user_id"][0].as_py(),
        uid=uid,
        is_in=bool(outcome.members[0]),
        decided=ev.reason(plan, int(outcome.deciding()[0])),
        findings=tuple(ev.explain(outcome, columns, 0)),
    )


def build(
    project: Project,
    name: str,
    *,
    which: int | str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Built:
    """Publish the audience's members at a release, the enters and exits since the build before, and its size.

    Built from the same release and definition before, nothing changes. A build of the same day again replaces that
    day's log. An older day than the last build is refused unless it is what readers see (after a rollback); then the
    builds of later days are forgotten, so that members = members before + enters - exits always holds.
    """
    lake = project.lake
    audience, plan = plan_of(project, name)
    at = release(lake, which)
    with lock(lake, MEMBERSHIP, LOG, SIZES, wait_seconds=60):
        journal.recover(lake)
        made = builds(lake, audience.id)
        if done := _done(made, plan, at):
            return done
        _refuse_older(lake, audience.id, made, at)
        run_id = f"audience-{audience.id}-{uuid.uuid4().hex[:10]}"
        try:
            return _Build(project, plan, at, made, run_id).published(engine, progress)
        finally:
            journal.finish(lake, run_id)


def _done(made: Sequence[dict[str, Any]], plan: Plan, at: Release) -> Built | None:
    if not made:
        return None
    last = made[-1]
    if (last["as_of"], last["release"], last["definition_hash"]) != (at.as_of, at.number, plan.definition_hash):
        return None
    return Built(plan.audience, at.number, at.as_of, plan.definition_hash, last["users"], 0, 0, already_built=True)


def _refuse_older(lake: Lake, audience: str, made: Sequence[dict[str, Any]], at: Release) -> None:
    current = latest(lake)
    if made and made[-1]["as_of"] > at.as_of and (current is None or current.number != at.number):
        raise HuaxiangError(
            f"audience {audience!r} was built for {made[-1]['as_of']}; building {at.as_of} now would undo that. "
            f"If it is meant, make that day the latest first: `huaxiang release rollback {at.number}`"
        )


class _Build:
    """One build of one audience at one release, under the tables' locks."""

    def __init__(self, project: Project, plan: Plan, at: Release, made: Sequence[dict[str, Any]], run_id: str):
        self.project, self.plan, self.at, self.run_id = project, plan, at, run_id
        self.lake = project.lake
        self.made = [row for row in made if row["as_of"] < at.as_of]

    def published(self, engine: Engine | None, progress: Progress | None) -> Built:
        tables = (LOG, MEMBERSHIP, SIZES)
        for table in tables:
            self.lake.ensure(table)
        versions = {t: self.lake.version(t) for t in tables}
        scratch = journal.scratch(self.lake, self.run_id)
        members, log = self.lake.stage(MEMBERSHIP, self.run_id), self.lake.stage(LOG, self.run_id)
        now = prepared(self.project, self.at, self.plan, scratch)
        found = _mapped("jobs.audience:members_of_bucket", self.items(now, scratch, members, log), engine, progress)
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
            now.warnings,
        )

    def items(self, now: Prepared, scratch: Path, members: Path, log: Path) -> list[Inputs]:
        """One item a bucket, those included that only people who left the base are in."""
        previous = scratch / "previous.parquet"
        pq.write_table(self.members_before(), previous)
        before = self.inputs_before(scratch)
        buckets = {*now.buckets, *(u // USERS_PER_BUCKET for u in pq.read_table(previous)["uid"].to_pylist())}
        return [
            {
                "bucket": b,
                "now": now.buckets.get(b),
                "before": None if before is None else before.buckets.get(b),
                "first_build": not self.made,
                "definition_changed": bool(self.made) and self.made[-1]["definition_hash"] != self.plan.definition_hash,
                "previous": str(previous),
                "plan": self.plan.model_dump(mode="json"),
                "as_of": self.at.as_of.isoformat(),
                "release": self.at.number,
                "members": str(members),
                "log": str(log),
            }
            for b in sorted(buckets)
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

    def days_logged(self) -> list[date]:
        where = {"audience": self.plan.audience}
        return sorted({f.partition["as_of"] for f in self.lake.files(LOG, where=where)})

    def members_before(self) -> pa.Table:
        """uids of the build before this day: whose last logged change before it is an enter."""
        days = [d for d in self.days_logged() if d < self.at.as_of]
        inside: np.ndarray = np.empty(0, np.int64)
        for day in days:
            files = self.lake.files(LOG, where={"audience": self.plan.audience, "as_of": day})
            rows = pa.concat_tables([_read(f.path) for f in files])
            entered = rows.filter(pc.equal(rows["change"], "enter"))["uid"].to_numpy()
            left = rows.filter(pc.equal(rows["change"], "exit"))["uid"].to_numpy()
            inside = np.union1d(np.setdiff1d(inside, left), entered)
        return pa.table({"uid": pa.array(inside, pa.int64())})

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


def members_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: one bucket's members and its log against the build before; writes both, returns the numbers."""
    plan = Plan.model_validate(item["plan"])
    base = item["bucket"] * USERS_PER_BUCKET
    uid = pq.read_table(item["previous"])["uid"].to_numpy()
    previous = uid[(uid >= base) & (uid < base + USERS_PER_BUCKET)]
    known, members, deciding = _judged(plan, item["now"])
    inside = known[members]
    enters, exits = np.setdiff1d(inside, previous), np.setdiff1d(previous, inside)
    reasons = _enter_reasons(plan, item, enters) + _exit_reasons(plan, exits, known, deciding)
    as_of = date.fromisoformat(item["as_of"])
    _write(
        pa.table(
            {
                "uid": pa.array(inside, pa.int64()),
                "as_of": pa.array([as_of] * len(inside), pa.date32()),
                "release": pa.array([item["release"]] * len(inside), pa.int64()),
                "definition_hash": pa.array([plan.definition_hash] * len(inside), pa.string()),
            }
        ).cast(_file_schema(MEMBERSHIP)),
        Path(item["members"]),
        {"audience": plan.audience},
        str(item["bucket"]),
    )
    log = pa.table(
        {
            "uid": pa.array(np.concatenate([enters, exits]), pa.int64()),
            "change": pa.array(["enter"] * len(enters) + ["exit"] * len(exits), pa.string()),
            "reason": pa.array(reasons, pa.string()),
        }
    ).cast(_file_schema(LOG))
    _write(log.sort_by("uid"), Path(item["log"]), {"audience": plan.audience, "as_of": as_of}, str(item["bucket"]))
    return {"users": len(inside), "enters": len(enters), "exits": len(exits)}


def _judged(plan: Plan, inputs: Inputs | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uids of a bucket in order, whether each is a member, and the number of the node that decided."""
    if inputs is None:
        return np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.int32)
    table = bucket_columns(inputs)
    outcome = ev.evaluate(plan, _columns(table), len(table))
    return table["uid"].to_numpy(), outcome.members, outcome.deciding()


def _enter_reasons(plan: Plan, item: Inputs, enters: np.ndarray) -> list[str]:
    """What kept each out at the build before and does so no more."""
    if item["first_build"]:
        return ["first build"] * len(enters)
    if item["before"] is None or not len(enters):
        return [ev.reason(plan, plan.root.include.number)] * len(enters)
    known, members, deciding = _judged(plan, item["before"])
    at = np.searchsorted(known, enters)
    reasons = []
    for uid, i in zip(enters, at, strict=True):
        if i == len(known) or known[i] != uid:
            reasons.append("new in the base")
        elif members[i]:
            reasons.append("the definition changed" if item["definition_changed"] else "the data of then was corrected")
        else:
            reasons.append(ev.reason(plan, int(deciding[i])))
    return reasons


def _exit_reasons(plan: Plan, exits: np.ndarray, known: np.ndarray, deciding: np.ndarray) -> list[str]:
    """What keeps each out now."""
    at = np.searchsorted(known, exits)
    return [
        ev.reason(plan, int(deciding[i])) if i < len(known) and known[i] == uid else "left the base (merged or erased)"
        for uid, i in zip(exits, at, strict=True)
    ]


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _mapped(
    task: str, items: Sequence[Inputs], engine: Engine | None, progress: Progress | None
) -> list[dict[str, Any]]:
    if engine is not None and len(items) > INLINE_BUCKETS:
        return engine.map(task, items, progress)
    function = globals()[task.split(":")[1]]
    found = []
    for i, item in enumerate(items):
        found.append(function(item))
        if progress is not None:
            progress(i + 1, len(items))
    return found


def _shared_folder(lake: Lake, engine: Engine | None) -> TemporaryDirectory[str]:
    """A folder for small files that tasks share: beside the lake where another machine may run them."""
    parent = None if engine is None else lake.root / "ops" / "scratch"
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(prefix="preview-", dir=parent)


def _file_schema(table: str) -> pa.Schema:
    c = contract(table)
    return file_schema(arrow_schema(c), c.partitions)


def _read(path: str) -> pa.Table:
    # The one file only: the folders' names must not come in as columns of text.
    return pq.ParquetFile(path).read()


def _write(table: pa.Table, folder: Path, partition: dict[str, Any], name: str) -> None:
    """One file of a partition below a staging folder; none for no rows."""
    if len(table):
        place = folder / partition_path(partition)
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, place / f"{name}.parquet")
