"""Step ``audience``: list, preview, why and build, at a release.

Membership is what the definition says of the release; nothing of it is kept that could drift. The log of enters and
exits is the history: everyone's last entry before a day tells the members of the build before it, so a build that runs
again gives the same rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiences import evaluate as ev
from audiences.compiler import compile_audience
from audiences.language import Audience, definition_hash, named
from audiences.plan import Leaf, Plan, walk
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audiences.build import LOG, MEMBERSHIP, SIZES, Build, Built, builds
from jobs.audiences.columns import Inputs, bucket_columns, columns_of, prepared, run_on_buckets, with_elders
from jobs.audiences.rows import file_rows
from lake import journal
from lake.attempts import fetch_inputs
from lake.engine import Engine, Progress
from lake.lake import Lake
from lake.locks import lock
from lake.releases import Release, latest, release
from project.attributes import attributes
from project.folder import Project
from project.held import held_in_words, marks_of, remedy, tags_of
from schemas.errors import NotThereError, OutdatedError
from schemas.money import money_cell


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
    """What an audience would be at a release: size, members and visitors apart, a funnel, and a sample.

    ``deliverable`` would stand in the file, were it exported now; ``left_out`` counts the others by reason.
    """

    audience: str
    release: int
    as_of: date
    base_users: int
    users: int
    members: int
    anonymous: int
    deliverable: int
    left_out: dict[str, int]
    contacts_withheld: dict[str, dict[str, int]]
    steps: tuple[ev.FunnelStep, ...]
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
    findings: tuple[ev.Judged, ...]


def plan_of(project: Project, name: str) -> tuple[Audience, Plan]:
    """The audience of that name, compiled against the project's catalogue."""
    audience = named(project.audiences, name)
    return audience, compile_audience(
        audience, project.audiences, attributes(project.catalogue), currency=project.currency
    )


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
    plan = with_elders(project.lake, at, plan)
    further = [c for c in audience.definition.export.columns if c not in ("as_of",)]
    with _shared_folder(project.lake, engine) as scratch:
        ready = prepared(project, at, plan, scratch, further)
        items = [
            {
                **item,
                "plan": plan.model_dump(mode="json"),
                "sample": sample,
                "sample_columns": further,
                "members_file": str(scratch / f"members-{bucket}.parquet"),
            }
            for bucket, item in ready.buckets.items()
        ]
        found = run_on_buckets(project.lake, "jobs.audiences.step:counts_of_bucket", items, engine, progress)
        uids = pa.concat_arrays(
            [
                pa.array([], pa.int64()),
                *(
                    c
                    for path in project.lake.local(r["members_file"] for r in found)
                    for c in pq.read_table(path)["uid"].chunks
                ),
            ]
        )
    file = file_rows(project.lake, audience, at, uids, project.settings.unknown_consent)
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
        deliverable=len(file.table),
        left_out={reason: n for reason, n in file.left_out.items() if n},
        contacts_withheld=file.withheld,
        steps=tuple(ev.funnel(plan, counted)),
        sample=tuple({k: _read(project, k, v) for k, v in row.items()} for row in rows[:sample]),
        warnings=(*held_notes(project, audience, plan, at), *ready.warnings, *file.notes),
    )


def held_notes(project: Project, audience: Audience, plan: Plan, at: Release) -> tuple[str, ...]:
    """That the audience is made from held tags, if it is."""
    held = marks_of(project.lake, project.catalogue, at).of(tags_of(project.catalogue, audience, plan))
    if not held:
        return ()
    return (
        f"it is made from {held_in_words(held)}, that is from older values; an export needs --force. "
        f"{remedy(project.catalogue, held)}",
    )


def counts_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: one bucket's counts by condition, and its first users in the order of ``user_id`` (a hash: a fair sample).

    Writes the uids of those who are in to ``members_file``.
    """
    plan = Plan.model_validate(item["plan"])
    table = bucket_columns(item)
    outcome = ev.evaluate(plan, columns_of(table), len(table))
    inside = table.filter(pa.array(outcome.members))
    pq.write_table(inside.select(["uid"]), item["members_file"])
    shown = list(dict.fromkeys(["user_id", "is_member", *item["sample_columns"]]))
    head = inside.select(shown).take(
        pc.select_k_unstable(inside["user_id"], item["sample"], [("user_id", "ascending")])
    )
    return {
        "members_file": item["members_file"],
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
    plan = with_elders(project.lake, at, plan)
    with TemporaryDirectory() as scratch:
        item = prepared(project, at, plan, Path(scratch)).buckets.get(uid // USERS_PER_BUCKET)
        fetch_inputs(project.lake.store, [] if item is None else [item])
        table = None if item is None else bucket_columns(item, uid)
    if table is None or not len(table):
        raise NotThereError(f"uid {uid} is not in release {at.number} ({at.as_of}); `huaxiang user` shows who is")
    columns = columns_of(table)
    outcome = ev.evaluate(plan, columns, 1)
    return Why(
        audience=audience.id,
        release=at.number,
        as_of=at.as_of,
        user_id=table["user_id"][0].as_py(),
        uid=uid,
        is_in=bool(outcome.members[0]),
        decided=ev.reason(plan, int(outcome.deciding()[0])),
        findings=tuple(_in_main_units(project, plan, f) for f in ev.explain(outcome, columns, 0)),
    )


def _read(project: Project, column: str, value: Any) -> Any:
    """A value of a sample as people read it: money in main units."""
    tag = project.catalogue.tags.get(column)
    return (
        money_cell(value, project.currency) if value is not None and tag is not None and tag.unit == "minor" else value
    )


def _in_main_units(project: Project, plan: Plan, finding: ev.Judged) -> ev.Judged:
    money = {n.number for _, n in walk(plan.root) if isinstance(n, Leaf) and n.unit == "minor"}
    if finding.value is None or finding.number not in money:
        return finding
    return replace(finding, value=money_cell(finding.value, project.currency))


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
    plan = with_elders(lake, at, plan)
    with lock(lake, MEMBERSHIP, LOG, SIZES, wait_seconds=60):
        journal.recover(lake)
        made = builds(lake, audience.id)
        if done := _done(made, plan, at):
            return done
        _refuse_older(lake, audience.id, made, at)
        run_id = f"audience-{audience.id}-{uuid.uuid4().hex[:10]}"
        with journal.kept(lake, run_id):
            return Build(project, plan, at, made, run_id).published(engine, progress)


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
        raise OutdatedError(
            f"audience {audience!r} was built for {made[-1]['as_of']}; building {at.as_of} now would undo that. "
            f"If it is meant, make that day the latest first: `huaxiang release rollback {at.number}`"
        )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


@contextmanager
def _shared_folder(lake: Lake, engine: Engine | None) -> Iterator[Path]:
    """A folder for small files that tasks share: of the lake where another machine may run them."""
    if engine is None:
        with TemporaryDirectory(prefix="preview-") as folder:
            yield Path(folder)
        return
    run_id = f"preview-{uuid.uuid4().hex[:10]}"
    with journal.kept(lake, run_id):
        yield lake.scratch(run_id)
