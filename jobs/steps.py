"""The steps of a run, in their order: what each reads and writes, and its function. This is the one list of them.

Pipeline, progress, ``ops.runs``, releases, ``huaxiang run --step``, the page of steps and what the DAGs say follow from it.
A new step is an entry here and a package of its name under ``jobs/``; its tables have their contracts in ``schemas/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from jobs.activity.step import run_activity
from jobs.brushing.step import run_brushing
from jobs.fission.step import run_fission
from jobs.identity.step import run_identity
from jobs.insights.step import run_insights
from jobs.offers.step import run_offers
from jobs.profile.step import run_profile
from jobs.progress import Advance
from lake.audit import Auditor
from lake.engine import Engine
from project.folder import Project
from schemas.contracts import contracts
from schemas.tag_roles import in_short, used_by


@dataclass(frozen=True)
class Given:
    """What every step of a run is given. ``project.lake`` reads its inputs as they were when the run began.

    ``silent`` are feeds of whose silence the run itself tells.
    """

    project: Project
    engine: Engine
    as_of: date
    run_id: str
    known_at: datetime | None = None
    audit: Auditor | None = None
    refit: Sequence[str] = ()
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Done:
    """What a step made: rows, what the release counts, and what the person who runs it should know."""

    rows: int
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One entry. ``reads`` are tables that the run had at its start or that earlier steps wrote; ``tasks`` are modules
    of map tasks that worker processes import beside the first work.

    ``layer.*`` stands for every table of a layer that is there by then, and in ``writes`` for those of which no other
    step says that it writes them.
    """

    name: str
    run: Callable[[Given, Advance], Done]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    tasks: tuple[str, ...] = ()


def _identity(g: Given, advance: Advance) -> Done:
    made = run_identity(g.project, g.engine, g.as_of, g.run_id, g.audit)
    return Done(made.users, warnings=tuple(made.warnings))


def _brushing(g: Given, advance: Advance) -> Done:
    return Done(run_brushing(g.project, g.engine, g.run_id, g.audit))


def _activity(g: Given, advance: Advance) -> Done:
    return Done(run_activity(g.project, g.engine, g.run_id, g.audit).rows)


def _fission(g: Given, advance: Advance) -> Done:
    return Done(run_fission(g.project, g.engine, g.as_of, run_id=g.run_id, known_at=g.known_at, audit=g.audit))


def _offers(g: Given, advance: Advance) -> Done:
    return Done(run_offers(g.project, g.engine, g.as_of, run_id=g.run_id, known_at=g.known_at, audit=g.audit))


def _profile(g: Given, advance: Advance) -> Done:
    made = run_profile(
        g.project,
        g.engine,
        g.as_of,
        known_at=g.known_at,
        run_id=g.run_id,
        progress=advance,
        audit=g.audit,
        refit=g.refit,
        silent=g.silent,
    )
    return Done(made.users, counts=made.counts, warnings=made.warnings)


def _insights(g: Given, advance: Advance) -> Done:
    rows = run_insights(g.project, g.engine, g.as_of, run_id=g.run_id, known_at=g.known_at, audit=g.audit)
    return Done(sum(rows.values()), warnings=tuple(in_short(g.project.catalogue.without(used_by("insights")))))


def settled(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with ``layer.*`` written out."""
    by_layer: dict[str, list[str]] = {}
    for name, c in contracts().items():
        by_layer.setdefault(c.layer, []).append(name)
    written = {layer_of(table) for s in steps for table in s.writes}
    named = {table for s in steps for table in s.writes if not table.endswith(".*")}
    there = {name for layer, names in by_layer.items() if layer not in written for name in names}

    def every(tables: Sequence[str], wanted: Callable[[str], bool]) -> tuple[str, ...]:
        found = []
        for table in tables:
            whole = table.endswith(".*")
            found += [n for n in by_layer[layer_of(table)] if wanted(n)] if whole else [table]
        return tuple(dict.fromkeys(found))

    made = []
    for s in steps:
        reads, writes = every(s.reads, there.__contains__), every(s.writes, lambda name: name not in named)
        there |= set(writes)
        made.append(replace(s, reads=reads, writes=writes))
    return tuple(made)


def layer_of(table: str) -> str:
    return table.split(".")[0]


STEPS: tuple[Step, ...] = settled(
    (
        Step("identity", _identity, reads=("silver.*",), writes=("identity.*",)),
        Step(
            "brushing",
            _brushing,
            reads=("silver.*", "identity.*"),
            writes=("activity.order_flags", "activity.paid_orders", "activity.visit_days"),
        ),
        Step(
            "activity",
            _activity,
            reads=("silver.*", "identity.*", "activity.order_flags"),
            writes=("activity.*",),
            tasks=("jobs.activity.patches",),
        ),
        Step(
            "fission",
            _fission,
            reads=("silver.*", "identity.*", "activity.*"),
            writes=("fission.*",),
            tasks=("jobs.fission.touches", "jobs.fission.roles"),
        ),
        Step(
            "offers",
            _offers,
            reads=("silver.*", "identity.*", "activity.activity", "activity.codes"),
            writes=("profile.offers",),
            tasks=("jobs.offers.tasks",),
        ),
        Step(
            "profile",
            _profile,
            reads=("silver.*", "identity.*", "activity.activity", "activity.codes", "fission.*", "profile.offers"),
            writes=("profile.*", "segments.segments", "segments.segment_flows"),
            tasks=("jobs.activity.facts", "jobs.profile.tasks"),
        ),
        Step(
            "insights",
            _insights,
            reads=("silver.*", "identity.*", "activity.*", "fission.*", "profile.*", "segments.*"),
            writes=("segments.*",),
        ),
    )
)
WRITTEN_LAYERS = (*dict.fromkeys(layer_of(table) for step in STEPS for table in step.writes), "ops")
"""Layers that a run writes, and reads as it wrote them. All others are inputs, which others may write meanwhile."""
TASKS = tuple(module for step in STEPS for module in step.tasks)


def step_named(name: str) -> Step | None:
    return next((s for s in STEPS if s.name == name), None)
