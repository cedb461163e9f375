"""Step ``audience``: list, why and build, at a release.

Membership is what the definition says of the release; nothing of it is kept that could drift. The log of enters and
exits is the history: everyone's last entry before a day tells the members of the build before it, so a build that runs
again gives the same rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audiences import evaluate as ev
from audiences.language import definition_hash
from audiences.plan import Leaf, Plan, walk
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audiences.build import LOG, MEMBERSHIP, Build, Built
from jobs.audiences.columns import bucket_columns, columns_of, prepared
from jobs.audiences.versions import note_version
from lake import journal
from lake.attempts import fetch_inputs
from lake.engine import Engine, Progress
from lake.lake import Lake
from lake.locks import lock
from lake.releases import Release, latest, release
from project.audience import plan_of, with_elders
from project.audience_standing import refuse_not_due, refuse_out_of_use, standing_of
from project.audience_tables import SIZES, builds
from project.folder import Project
from schemas.errors import NotThereError, OutdatedError
from schemas.money import money_cell
from schemas.text import Text


@dataclass(frozen=True)
class Listed:
    """One audience with its last build, if there is one.

    Whether it is due, why it waits, and what is the matter with it (out of use, too old) are of the day that was asked for.
    """

    audience: str
    zh: str
    en: str
    owner: str
    built_as_of: date | None
    users: int | None
    is_current: bool
    folder: str | None
    state: str
    expires: date | None
    refresh: str | None
    is_due: bool
    waits: Text | None
    problem: Text | None


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


def list_audiences(project: Project, which: int | str | None = None) -> list[Listed]:
    """Every audience of the project folder; ``is_current``: built from this definition at the latest release.

    How they stand is of the day of a release; before the first there is none, and every one in use is due.
    """
    last = {row["audience"]: row for row in builds(project.lake)}
    current = latest(project.lake)
    day = date.min if which is None and current is None else release(project.lake, which).as_of
    found = []
    for audience in project.audiences.values():
        stands = standing_of(project, audience, day, last[audience.id]["as_of"] if audience.id in last else None)
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
                folder=audience.definition.folder,
                state=audience.definition.state or "active",
                expires=audience.definition.expires,
                refresh=audience.definition.refresh,
                is_due=stands.is_due,
                waits=stands.waits,
                problem=stands.problem,
            )
        )
    return found


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
    requested_by: str = "unknown",
    reason: str = "",
    due: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Built:
    """Publish the audience's members at a release, the enters and exits since the build before, and its size.

    Built from the same release and definition before, nothing changes. A build of the same day again replaces that
    day's log. An older day than the last build is refused unless it is what readers see (after a rollback); then the
    builds of later days are forgotten, so that members = members before + enters - exits always holds.
    A definition that differs from the last one built is noted as a new version, with who asked and the reason.
    NotDueError for a draft, for what is paused, for what has expired by the release's day, and, with ``due``, for what was
    built since its rhythm asked for it.
    """
    lake = project.lake
    audience, plan = plan_of(project, name)
    at = release(lake, which)
    refuse_out_of_use(audience, at.as_of)
    if due:
        refuse_not_due(audience, at.as_of, max((row["as_of"] for row in builds(lake, audience.id)), default=None))
    plan = with_elders(lake, at, plan)
    note_version(project, name, requested_by, reason)
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
