"""Step ``profile``: every tag of every user as of one day, what changed, and where everybody stands.

1. the base population of the day by the engine's frames; what people said of users (jobs/profile/overrides.py); numbers that
   are kept or estimated (jobs/profile/frozen.py);
2. a task per bucket computes the facts (jobs/activity/facts.py);
3. global numbers (breaks) and, where none is stored, models, from values that tasks collect;
4. a task per bucket, or per slice of one where buckets are few, computes the tags, compares them with the snapshots
   before, and writes profile, changes, segments;
5. the spread of every tag is judged (jobs/profile/quality.py); where one breaks its limit whose owner asks for it
   (``on_break: hold``), 3 and 4 are done again with that tag held at its last good values;
6. audit, then one publication a table, the profile last.

Running a day again replaces its slices and changes nothing. Back-filling a day also recomputes the changes and flows
of later snapshots that are compared with it. Snapshots older than ``keep_days`` leave the newest version of the table,
month ends stay.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.catalogue import Catalogue, observed_days
from features.gaps import LifecycleSettings
from features.quality import QualitySettings
from jobs.profile.estimates import horizon_warnings
from jobs.profile.feed_rows import freshness_of
from jobs.profile.frozen import before_facts, checked_refit, depends_on, frozen
from jobs.profile.inputs import CHANGES, computed_facts, first_day_of_activity, items_of, population, slices_of
from jobs.profile.overrides import OVERRIDES, overrides_of
from jobs.profile.publishing import (
    PROFILE,
    SEGMENTS,
    TABLES,
    comparison,
    days_staged,
    publish_all,
    snapshots_of,
    spans_before,
    stage_flows,
    stage_later,
    stage_models,
    stage_rows,
    staged_folders,
    summed,
)
from jobs.profile.quality import (
    DISTRIBUTION,
    Held,
    Past,
    Spread,
    aged_spreads,
    distribution_rows,
    hold,
    past_of,
    quality_of,
    spreads_made,
)
from jobs.profile.run import Made, ProfileRun, Progress
from jobs.profile.snapshots import expired
from jobs.profile.warnings import warnings_of
from lake.lake import Lake
from lake.locks import lock
from lake.publish import Audit
from project.frozen import BREAKS, Frozen
from project.held import QUALITY

if TYPE_CHECKING:
    from lake.engine import Engine
    from project.folder import Project

DECLARED_VALID_DAYS = 365


@dataclass(frozen=True)
class ProfileReport:
    """What the step made. ``counts`` goes into the release; ``warnings`` are for the person who runs it.

    ``held`` are tags that keep their last good values, with the day since when. ``staged`` are the folders of a run
    that was not published.
    """

    as_of: dt.date
    users: int
    members: int
    counts: dict[str, int]
    warnings: tuple[str, ...]
    versions: dict[str, int | None]
    held: dict[str, dt.date] = field(default_factory=dict)
    staged: dict[str, Path] = field(default_factory=dict)


def run_profile(
    project: Project,
    engine: Engine,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    progress: Progress | None = None,
    audit: Audit | None = None,
    refit: Sequence[str] = (),
    silent: frozenset[str] = frozenset(),
    publish: bool = True,
) -> ProfileReport:
    """Compute and publish the profile of ``as_of`` from the newest identity and activity.

    ``known_at`` leaves out what was learned later. ``audit`` is called with the staged folder of each table before
    anything is published, and stops the run by raising. ``refit`` names breaks and models to make anew though some are
    stored (NotThereError for a name that is neither). Without ``publish`` everything is written into the run's scratch
    folder, nothing is judged by the audit and no later day is touched.
    """
    return update_profile(
        project.lake,
        engine,
        project.catalogue,
        as_of,
        run_id=run_id,
        known_at=known_at,
        keep_days=project.settings.keep_days,
        progress=progress,
        audit=audit,
        refit=refit,
        silent=silent,
        quality=project.settings.quality,
        lifecycle=project.method("lifecycle", LifecycleSettings),
        declared_valid_days=project.settings.declared_valid_days,
        publish=publish,
    )


def update_profile(
    lake: Lake,
    engine: Engine,
    catalogue: Catalogue,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    keep_days: int = 35,
    progress: Progress | None = None,
    audit: Audit | None = None,
    refit: Sequence[str] = (),
    silent: frozenset[str] = frozenset(),
    quality: QualitySettings | None = None,
    lifecycle: LifecycleSettings | None = None,
    declared_valid_days: int = DECLARED_VALID_DAYS,
    publish: bool = True,
) -> ProfileReport:
    """``run_profile`` without a project folder."""
    checked_refit(catalogue, refit)
    with lock(lake, *TABLES) if publish else nullcontext():
        if publish:
            for table in TABLES:
                lake.ensure(table, catalogue.columns if table == PROFILE else None)
        read = {table: lake.version(table) for table in TABLES}
        scratch = lake.scratch(run_id) / f"profile-{as_of}"
        run = ProfileRun(
            lake, engine, catalogue, as_of, known_at, run_id, progress, scratch, quality or QualitySettings()
        )
        run.lifecycle = lifecycle or run.lifecycle
        run.silent = silent
        run.staged = {t: lake.stage(t, run_id) if publish else scratch / "made" / t for t in TABLES}
        buckets = population(run)
        start = before_facts(run, refit)
        facts = computed_facts(run, buckets, start.numbers)
        run.overrides = overrides_of(run, buckets, run.staged[OVERRIDES], declared_valid_days)
        snapshots = snapshots_of(lake)
        before = max((d for d in snapshots if d < as_of), default=None)
        items = items_of(run, buckets, facts, snapshots, before, spans_before(snapshots, as_of, before))
        found = frozen(run, items, start)
        past, held = past_of(run, found.fits(catalogue, as_of)), Held()
        found, made, spreads = _computed(run, items, start, found, before, past, held)
        days = observed_days(first_day_of_activity(lake), as_of)
        rows = _stage_small(run, found, made, past, held, spreads, days)
        if publish:
            after = min((d for d in snapshots if d > as_of), default=None)
            later = stage_later(run, snapshots, after, past, held, spreads, rows)
            if audit is not None:
                audit(staged_folders(run), days_staged(run, later))
            publish_all(run, read, later, expired(set(snapshots) | {as_of}, as_of, keep_days))
        return ProfileReport(
            as_of=as_of,
            users=sum(r["users"] for r in made),
            members=sum(r["members"] for r in made),
            counts=_counts(catalogue, made),
            warnings=(
                *warnings_of(run, past, held, found, rows),
                *run.overrides.warnings,
                *horizon_warnings(found.cuts, catalogue.estimates, as_of),
                *catalogue.window_summary(days),
            ),
            versions={table: lake.version(table) for table in TABLES},
            held=dict(held.since),
            staged={} if publish else staged_folders(run),
        )


def _computed(
    run: ProfileRun, items: Made, start: Frozen, found: Frozen, before: dt.date | None, past: Past, held: Held
) -> tuple[Frozen, Made, dict[str, Spread]]:
    """Numbers and tags, those held that break a limit and ask for it; ``held`` is filled.

    Usually one round. A held tag keeps its values in the next, in which the tags that build on it, and numbers made from
    it, come from its last good values; those may break a limit of their own.
    """
    while True:
        made = profiles(run, items, found, before)
        spreads = spreads_made(run, made)
        if before != past.last_day or not hold(run, past, spreads, aged_spreads(made), held):
            return found, made, spreads
        run.held = frozenset(held.since)
        if depends_on(run.catalogue, start, run.held):
            found = frozen(run, items, start)
        for table in (PROFILE, SEGMENTS, CHANGES):
            run.lake.drop(run.staged[table])


def profiles(run: ProfileRun, items: Made, found: Frozen, before: dt.date | None) -> Made:
    """Write profile, segments and changes of every slice of the buckets, compared with the day before; what tasks told."""
    recipe = run.recipe(found.numbers, found.cards)
    shared = run.shared_file("profile", {"recipe": recipe, **comparison(run.catalogue, before, run.as_of)})
    out = {
        "profile_out": str(run.staged[PROFILE]),
        "segments_out": str(run.staged[SEGMENTS]),
        "changes_out": str(run.staged[CHANGES]),
    }
    slices = slices_of(items, run.engine.cores)
    return run.map("jobs.profile.tasks:profile_of_slice", [{**piece, **out, "shared": shared} for piece in slices])


def _stage_small(
    run: ProfileRun, found: Frozen, made: Made, past: Past, held: Held, spreads: Mapping[str, Spread], days: int
) -> Made:
    """Breaks, models, flows, distribution and quality: sums over buckets, one small file a day. Gives the quality rows."""
    stage_rows(run, BREAKS, run.as_of, found.rows(run.as_of, days))
    stage_models(run, found.card_rows(run.as_of))
    stage_flows(run, made)
    stage_rows(run, DISTRIBUTION, run.as_of, distribution_rows(spreads))
    counted = summed([r["quality"] for r in made], ("tag", "is_member"))
    agreement = summed([r["agreement"] for r in made], ("tag", "is_member"))
    fresh = freshness_of(run)
    rows = quality_of(run, past, held, spreads, aged_spreads(made), counted, agreement, fresh)
    stage_rows(run, QUALITY, run.as_of, rows)
    return rows


def _counts(catalogue: Catalogue, made: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    users = sum(r["users"] for r in made)
    members = sum(r["members"] for r in made)
    return {
        "users": users,
        "members": members,
        "visitors": users - members,
        "tags": len(catalogue.tags),
        "segmentations": len(catalogue.schemes),
        "tag_changes": sum(r["changes"] for r in made),
    }
