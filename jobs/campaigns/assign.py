"""Step ``campaign assign``: everybody whom a campaign's audiences want gets an arm, once, before anything is exported.

Whoever has an arm keeps it, whatever the definition says later; who comes later is added. A run again adds nobody, and a
killed one leaves nothing or all: the arms are one transaction, and a hash gives them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audiences import evaluate as ev
from audiences.plan import Plan
from campaigns.assignment import arms_of
from campaigns.language import ABOVE, HELD_OUT, Campaign, CampaignSettings, StageName
from campaigns.lift import NOBODY, Moments, moments
from campaigns.verdict import Asked, visible_lift
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audiences.columns import bucket_columns, columns_of, prepared, run_on_buckets
from jobs.campaigns.assigned import ASSIGNMENTS, PLANS, Inputs, assigned_inputs, people_of
from jobs.campaigns.outcomes import before, counts_over, outcome_spans, outcomes_in
from lake import journal
from lake.engine import Engine, Progress
from lake.lake import Lake, by_bucket, partition_path
from lake.locks import lock
from lake.publish import publish
from lake.releases import Release, lake_at, release
from project.audience import plan_of, with_elders
from project.campaign import campaign_of
from project.folder import Project
from schemas.arrow import arrow_schema, file_schema
from schemas.configuration import nearest
from schemas.contracts import contract
from schemas.errors import HuaxiangError, OutdatedError, UsageError

ACTIVITY = "activity.activity"


@dataclass(frozen=True)
class Assigned:
    """Who has which arm now. ``users`` are all persons by arm, ``added`` those of this run.

    ``visible_lift`` is, by arm, the smallest relative lift of the campaign's outcome that it and the held out can see, as
    the outcome was before the assignment; absent where nobody brought anything then, or somebody has no user.
    """

    campaign: str
    release: int
    as_of: date
    stages: tuple[StageName, ...]
    users: dict[str, int]
    added: dict[str, int]
    visible_lift: dict[str, float | None]
    warnings: tuple[str, ...]
    is_dry_run: bool


def assign_arms(
    project: Project,
    name: str,
    *,
    which: int | str | None = None,
    stages: Sequence[str] | None = None,
    dry_run: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Assigned:
    """Give arms to the members of the stages' audiences at a release; ``stages`` absent: all that are not over.

    OutdatedError for a day before the last one on which somebody was assigned, HuaxiangError where all stages are over.
    """
    lake, campaign = project.lake, campaign_of(project, name)
    at = release(lake, which)
    chosen = _stages(campaign, stages, at.as_of)
    with lock(lake, PLANS, ASSIGNMENTS, wait_seconds=60):
        journal.recover(lake)
        _refuse_earlier(lake, campaign, at)
        run_id = journal.new_run_id(f"campaign-{campaign.id}", at.as_of)
        with journal.kept(lake, run_id):
            return Assignment(project, campaign, at, chosen, run_id).made(dry_run, engine, progress)


def _stages(campaign: Campaign, wanted: Sequence[str] | None, as_of: date) -> tuple[StageName, ...]:
    d = campaign.definition
    for stage in wanted or ():
        if stage not in d.in_turn:
            raise UsageError(f"campaign {campaign.id!r} has no stage {stage!r}; {nearest(stage, list(d.in_turn))}")
    chosen = tuple(s for s in d.in_turn if (s in wanted if wanted else d.days(s)[1] > as_of))
    if not chosen:
        raise HuaxiangError(
            f"campaign {campaign.id!r} is over: its last day is {d.last_day}, and the release is of {as_of}; a stage that is "
            "named with --stage is assigned all the same"
        )
    return chosen


def _refuse_earlier(lake: Lake, campaign: Campaign, at: Release) -> None:
    days = [f.partition["as_of"] for f in lake.files(ASSIGNMENTS, where={"campaign": campaign.id})]
    if days and max(days) > at.as_of:
        raise OutdatedError(
            f"people were assigned to campaign {campaign.id!r} on {max(days)}; release {at.number} is of {at.as_of}, before it"
        )


class Assignment:
    """One run over one release, under the tables' locks."""

    def __init__(self, project: Project, campaign: Campaign, at: Release, stages: Sequence[StageName], run_id: str):
        self.project, self.campaign, self.at, self.stages, self.run_id = project, campaign, at, tuple(stages), run_id
        self.lake = project.lake
        self.settings = project.method("campaigns", CampaignSettings)
        self.warnings: list[str] = []

    def made(self, dry_run: bool, engine: Engine | None, progress: Progress | None) -> Assigned:
        tables = (PLANS, ASSIGNMENTS)
        for table in tables:
            self.lake.ensure(table)
        versions = {t: self.lake.version(t) for t in tables}
        scratch = journal.scratch(self.lake, self.run_id)
        out = scratch / "arms" if dry_run else self.lake.stage(ASSIGNMENTS, self.run_id)
        found = run_on_buckets(
            self.lake, "jobs.campaigns.assign:arms_of_bucket", self.items(scratch, out, engine), engine, progress
        )
        added = sum((Counter(one["added"]) for one in found), Counter())
        if added and not dry_run:
            # The plan goes first: an assignment always has the definition that it was made by.
            self.write_plan(versions[PLANS])
            publish(
                self.lake,
                ASSIGNMENTS,
                out,
                replace=None,
                read_version=versions[ASSIGNMENTS],
                run_id=self.run_id,
                key=f"{ASSIGNMENTS}-{self.run_id}",
            )
        d = self.campaign.definition
        arms = [*d.weights, *([ABOVE] if self.settings.global_holdout else [])]
        users = sum((Counter(one["users"]) for one in found), Counter())
        return Assigned(
            campaign=self.campaign.id,
            release=self.at.number,
            as_of=self.at.as_of,
            stages=self.stages,
            users={a: users[a] for a in (*arms, *sorted(set(users) - set(arms)))},
            added={a: added[a] for a in arms},
            visible_lift=self.visible(found),
            warnings=tuple(dict.fromkeys(self.warnings)),
            is_dry_run=dry_run,
        )

    def visible(self, found: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Per arm the smallest lift that it sees, and a warning for what is more than the campaign asks for."""
        d = self.campaign.definition
        arms = {a: sum((Moments(*one["before"][a]) for one in found if a in one["before"]), NOBODY) for a in d.weights}
        asked = Asked(self.settings.min_arm_users, d.smallest_lift, d.power)
        seen = {a: visible_lift(arms[HELD_OUT], m, asked) for a, m in arms.items() if a != HELD_OUT}
        if not d.holdout:
            self.warnings.append("nobody is held out, so no lift of this campaign can be told; say `holdout: 0.1`")
        for name, m in arms.items():
            if m.users < asked.arm_users and d.weights[name]:
                self.warnings.append(
                    f"arm {name} has {m.users} users; below {asked.arm_users} there will be no verdict"
                )
        for name, lift in seen.items():
            if d.smallest_lift is not None and lift is not None and lift > d.smallest_lift:
                self.warnings.append(
                    f"arm {name} can see a lift of {lift:.1%} and no smaller one; smallest_lift asks for {d.smallest_lift:.1%}"
                )
        return seen

    def items(self, scratch: Path, out: Path, engine: Engine | None) -> list[Inputs]:
        wanted = []
        for stage in self.stages:
            for audience in getattr(self.campaign.definition.stages, stage).audiences:
                _, plan = plan_of(self.project, audience)
                plan = with_elders(self.lake, self.at, plan)
                ready = prepared(self.project, self.at, plan, scratch / audience, engine=engine)
                self.warnings += ready.warnings
                wanted.append((stage, audience, plan.model_dump(mode="json"), ready.buckets))
        activity = by_bucket(lake_at(self.lake, self.at).files(ACTIVITY))
        shared = {
            "campaign": self.campaign.id,
            "salt": self.campaign.salt,
            "weights": self.campaign.definition.weights,
            "above": [self.settings.global_holdout, self.settings.global_salt],
            "hash": self.campaign.hash,
            "as_of": self.at.as_of.isoformat(),
            "release": self.at.number,
            "outcome": self.campaign.definition.outcome,
            "window": self.campaign.definition.window_days,
            "out": str(out),
        }
        return [
            {
                **item,
                **shared,
                "activity": activity.get(b, []),
                "wanted": [[s, a, p, inputs[b]] for s, a, p, inputs in wanted if b in inputs],
            }
            for b, item in assigned_inputs(self.lake, self.at, self.campaign.id, scratch).items()
        ]

    def write_plan(self, version: int | None) -> None:
        """The definition, once; one that is there already stays as it is."""
        for path in self.lake.local(self.lake.files(PLANS, where={"campaign": self.campaign.id})):
            if self.campaign.hash in pq.ParquetFile(path).read(["definition_hash"])["definition_hash"].to_pylist():
                return
        row = {
            "definition_hash": self.campaign.hash,
            "as_of": self.at.as_of,
            "release": self.at.number,
            "content": json.dumps(self.campaign.content, ensure_ascii=False, sort_keys=True),
        }
        folder = self.lake.stage(PLANS, self.run_id)
        write_rows(PLANS, [row], folder, {"campaign": self.campaign.id}, "plan")
        publish(
            self.lake,
            PLANS,
            folder,
            replace=None,
            read_version=version,
            run_id=self.run_id,
            key=f"{PLANS}-{self.run_id}",
        )


def write_rows(
    table: str, rows: Sequence[Mapping[str, Any]] | pa.Table, folder: Path, partition: dict[str, Any], name: str
) -> None:
    """One file of a partition below a staging folder; none for no rows."""
    c = contract(table)
    schema = file_schema(arrow_schema(c), c.partitions)
    made = rows.cast(schema) if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema)
    if len(made):
        place = folder / partition_path(partition)
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(made, place / f"{name}.parquet")


def arms_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: who of a bucket is wanted and has no arm yet gets one; writes them, returns numbers by arm."""
    people = people_of(item)
    added = _added(item, people.uid)
    as_of = date.fromisoformat(item["as_of"])
    write_rows(
        ASSIGNMENTS, added, Path(item["out"]), {"campaign": item["campaign"], "as_of": as_of}, str(item["bucket"])
    )
    uid = np.concatenate([people.uid, added["uid"].to_numpy()])
    arm = np.concatenate([people.texts("arm"), np.asarray(added["arm"].to_numpy(zero_copy_only=False), dtype=object)])
    return {
        "added": dict(Counter(added["arm"].to_pylist())),
        "users": dict(Counter(arm.tolist())),
        "before": _before(item, as_of, uid, arm),
    }


def _added(item: Inputs, known: np.ndarray) -> pa.Table:
    """Rows of the assignments for members of the wanted audiences who are not known, in order of uid.

    Somebody whom several want is taken by the first.
    """
    stage = np.full(USERS_PER_BUCKET, -1, np.int16)
    base = item["bucket"] * USERS_PER_BUCKET
    for i, (_, _, plan, inputs) in reversed(list(enumerate(item["wanted"]))):
        table = bucket_columns(inputs)
        members = ev.evaluate(Plan.model_validate(plan), columns_of(table), len(table)).members
        stage[table["uid"].to_numpy()[members] - base] = i
    stage[known - base] = -1
    uid = np.flatnonzero(stage >= 0).astype(np.int64) + base
    arm, names = arms_of(uid, item["salt"], item["weights"], *item["above"])
    by = stage[uid - base]
    named = {"stage": [w[0] for w in item["wanted"]], "audience": [w[1] for w in item["wanted"]]}
    columns = {
        "uid": pa.array(uid),
        "arm": pa.array(names, pa.string()).take(pa.array(arm)),
        **{n: pa.array(texts, pa.string()).take(pa.array(by)) for n, texts in named.items()},
        "release": pa.repeat(pa.scalar(item["release"], pa.int64()), len(uid)),
        "definition_hash": pa.repeat(item["hash"], len(uid)),
    }
    schema = file_schema(arrow_schema(contract(ASSIGNMENTS)), contract(ASSIGNMENTS).partitions)
    return pa.table({n: columns[n] for n in schema.names})


def _before(item: Inputs, as_of: date, uid: np.ndarray, arm: np.ndarray) -> dict[str, list[float]]:
    """Moments of the campaign's outcome by arm, in the window that ends on the day."""
    window = before(as_of, item["window"])
    found = counts_over(item["activity"], item["bucket"], outcome_spans(window), as_of)
    values = outcomes_in(found, window, uid - item["bucket"] * USERS_PER_BUCKET)[item["outcome"]]
    return {name: as_list(moments(values[arm == name])) for name in set(arm.tolist())}


def as_list(m: Moments) -> list[float]:
    """Moments as plain values that a task can return."""
    return [m.users, m.total, m.squares, m.before, m.before_squares, m.crossed]
