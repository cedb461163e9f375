"""``huaxiang run``: the steps of jobs/steps.py in their order, and a release; and ``backfill``, the same for every day of a span.

A run has one ``as_of``. What it would do is fingerprinted (inputs, catalogue, settings): a day that was released from
the same fingerprint is done already. A killed run leaves what it published and nothing else; run again, it goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import jobs
from features.aipl import AiplSettings
from features.instants import business_day_of
from jobs.profile.frozen import checked_refit
from jobs.progress import Steps
from jobs.steps import STEPS, TASKS, WRITTEN_LAYERS, Done, Given, Step, step_named
from lake import denomination, journal, releases
from lake.audit import Auditor
from lake.engine import Engine
from lake.journal import new_run_id
from lake.lake import Lake
from lake.locks import lock
from lake.manifest import manifest
from lake.measured import Measured, measuring, remember_steps
from lake.publish import put_back
from lake.run_notes import remember_warnings
from project import arrivals
from project.catalogue_store import remember_catalogue
from project.check import foreign_amounts, refuse_unresolved
from project.folder import Project
from schemas.configuration import nearest
from schemas.contracts import contracts
from schemas.errors import AuditError, HuaxiangError, NotThereError

CONFIRM = "confirm"
"""What ``ops.runs`` calls a run's wait for the audit to confirm all that its steps published."""


@dataclass(frozen=True)
class RunReport:
    """What a run made: its release, whether it was there already, seconds by step, and what to look at."""

    as_of: date
    release: releases.Release
    already_done: bool
    steps: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def run(
    project: Project,
    engine: Engine,
    as_of: date,
    *,
    known_at: datetime | None = None,
    steps: Steps | None = None,
    force: bool = False,
    refit: Sequence[str] = (),
    audit: Auditor | None = None,
) -> RunReport:
    """Bring the lake to ``as_of`` and release it. ``known_at`` uses only rows ingested by then; ``force`` repeats a day.

    ``refit`` names breaks and models to make anew though stored ones are kept, and repeats the day as well. ``audit``
    judges what each step staged before it is published, and stops the run by raising.

    The versions of every input are fixed at the start, read by every step, and named by the release; what an ingest
    publishes meanwhile is the next run's.
    """
    lake, steps = project.lake, steps or Steps(quiet=True)
    if force or refit or releases.of_day(lake, as_of) is None:
        engine.warm(TASKS)
        if audit is not None:
            audit.warm()
    checked_refit(project.catalogue, refit)
    refuse_unresolved(project)
    arrivals.refuse_nothing(project)
    refuse_far_day(project, as_of)
    with ExitStack() as held:
        held.enter_context(lock(lake, "run"))
        journal.recover(lake)
        lake.store.trim()
        noted = denomination.keep(lake, project.currency)
        widen(lake)
        inputs = input_versions(lake)
        lake = lake.at(inputs)
        project = project.over(lake)
        wanted = fingerprint(project, as_of, known_at)
        missing = arrivals.missing(project, as_of, known_at)
        done = releases.of_day(lake, as_of)
        if done is not None and done.fingerprint == wanted and not (force or refit):
            return RunReport(as_of, done, already_done=True, warnings=missing.warnings)
        run_id, judged = new_run_id("run", as_of), 0 if audit is None else len(audit.warnings)
        held.enter_context(journal.kept(lake, run_id))
        taken: list[Measured] = []
        given = Given(project, engine, as_of, run_id, known_at, audit, refit, missing.silent)
        done_by, inputs_of = {}, {}
        with _judged(lake, engine, audit, taken):
            for step in STEPS:
                inputs_of[step.name] = versions_of(lake, step)
                with steps.step(f"{as_of} {step.name}") as advance, measuring(step.name, engine.spills) as m:
                    done_by[step.name] = step.run(given, advance)
                taken.append(m)
        remember_catalogue(lake, project.catalogue)
        tables = {n: v for n, v in lake.versions().items() if n.split(".")[0] in releases.RELEASED_LAYERS}
        foreign = foreign_amounts(project.catalogue, project.currency)
        doubts = () if audit is None else tuple(f"audit of {found}" for found in audit.warnings[judged:])
        told = [w for made in done_by.values() for w in made.warnings]
        warnings = (*noted, *missing.warnings, *foreign, *told, *doubts)
        remember_warnings(lake, run_id, as_of, warnings)
        made = releases.write_release(
            lake, as_of, run_id, tables, fingerprint=wanted, counts=_counts(done_by), refused=missing.refused
        )
        _note_steps(lake, engine, run_id, as_of, taken, done_by, inputs_of)
    seconds = {t.name: t.division.seconds for t in taken if t.division is not None}
    return RunReport(as_of, made, already_done=False, steps=seconds, warnings=warnings)


def refuse_far_day(project: Project, as_of: date) -> None:
    """HuaxiangError for a day before the first row, or so long after the last delivery that no snapshot would be kept."""
    taken = [r for r in manifest(project.lake) if r.state == "taken"]
    begins = [r.event_first_us for r in taken if r.event_first_us is not None]
    if not begins:
        return

    def day(microseconds: int) -> date:
        return business_day_of(datetime.fromtimestamp(microseconds / 1e6, UTC), project.zone)

    if as_of < (first := day(min(begins))):
        raise HuaxiangError(f"there is nothing to count by {as_of}: the first row that was delivered is of {first}")
    last, most = day(max(r.ingested_us for r in taken)), project.settings.keep_days
    if (as_of - last).days > most:
        raise HuaxiangError(
            f"{as_of} is {(as_of - last).days} days after the last delivery ({last}); was another day meant? A run more "
            f"than {most} days ahead (keep_days in huaxiang.yaml) would take the snapshots of all days before it away"
        )


def run_step(
    project: Project,
    engine: Engine,
    as_of: date,
    name: str,
    *,
    known_at: datetime | None = None,
    steps: Steps | None = None,
    audit: Auditor | None = None,
) -> Done:
    """One step by itself, on what the lake holds now; nothing is released. NotThereError for a step that is none."""
    step, steps = step_named(name), steps or Steps(quiet=True)
    if step is None:
        raise NotThereError(f"there is no step {name!r}; {nearest(name, [s.name for s in STEPS])}")
    refuse_unresolved(project)
    arrivals.refuse_nothing(project)
    refuse_far_day(project, as_of)
    lake = project.lake
    with ExitStack() as held:
        held.enter_context(lock(lake, "run"))
        journal.recover(lake)
        denomination.keep(lake, project.currency)
        widen(lake)
        lake = lake.at(input_versions(lake))
        run_id, taken = new_run_id(f"step-{name}", as_of), list[Measured]()
        held.enter_context(journal.kept(lake, run_id))
        read = versions_of(lake, step)
        with _judged(lake, engine, audit, taken):
            with steps.step(f"{as_of} {name}") as advance, measuring(name, engine.spills) as m:
                done = step.run(Given(project.over(lake), engine, as_of, run_id, known_at, audit), advance)
            taken.append(m)
        _note_steps(lake, engine, run_id, as_of, taken, {name: done}, {name: read})
    return done


@contextmanager
def _judged(lake: Lake, engine: Engine, audit: Auditor | None, taken: list[Measured]) -> Iterator[None]:
    """Every table that the block publishes is confirmed before it ends, and so is what a run that was killed published.

    What the audit stops is put back to what the newest releases name, so that nothing is built on it. The wait for its
    last word is added to ``taken``.
    """
    if audit is None:
        yield
        return
    confirmed = releases.newest_versions(lake)
    try:
        audit.published({t: confirmed.get(t, 0) for t in _written(lake) if lake.version(t) != confirmed.get(t, 0)})
        yield
        with measuring(CONFIRM, engine.spills) as m:
            audit.confirm()
        taken.append(m)
    except AuditError:
        for table in _written(lake):
            with lock(lake, table):
                put_back(lake, table, confirmed.get(table, 0))
        raise


def _written(lake: Lake) -> list[str]:
    """Tables that are there, that runs write and releases name."""
    layers = set(WRITTEN_LAYERS) & set(releases.RELEASED_LAYERS)
    return [name for name in lake.versions() if name.split(".")[0] in layers]


def versions_of(lake: Lake, step: Step) -> dict[str, int]:
    """The versions that a step reads now, of tables that are there."""
    return {table: v for table in step.reads if (v := lake.version(table)) is not None}


def _counts(done: Mapping[str, Done]) -> dict[str, int]:
    """What a release counts, by all steps."""
    return {name: n for made in done.values() for name, n in made.counts.items()}


def input_versions(lake: Lake) -> dict[str, int | None]:
    """The versions of every table that a run may read and does not write; None for those that are not there yet."""
    return {name: lake.version(name) for name, c in contracts().items() if c.layer not in WRITTEN_LAYERS}


def widen(lake: Lake) -> None:
    """Columns that contracts gained since a lake was made are added to its tables, absent for the rows they hold."""
    for name in lake.versions():
        lake.ensure(name)


def backfill(
    project: Project,
    engine: Engine,
    first: date,
    last: date,
    *,
    steps: Steps | None = None,
    audit: Auditor | None = None,
) -> list[RunReport]:
    """Run every day from ``first`` to ``last``, oldest first; days that are done already are skipped."""
    if last < first:
        raise HuaxiangError(f"a back-fill goes from the older day to the newer one, not from {first} to {last}")
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    return [run(project, engine, day, steps=steps, audit=audit) for day in days]


def fingerprint(project: Project, as_of: date, known_at: datetime | None) -> str:
    """What the result of a run depends on: silver versions, configuration files and the peers they name, day, code's version."""
    lake = project.lake
    seen: dict[str, Any] = {
        "as_of": as_of.isoformat(),
        "known_at": known_at.isoformat() if known_at else None,
        "silver": {n: lake.rows_version(n) for n in lake.versions() if n.startswith("silver.")},
        "settings": project.settings.model_dump(
            mode="json", include={"time_zone", "currency", "guest_ids", "keep_days", "quality", "declared_valid_days"}
        ),
        "tags": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in project.files("tags")},
        "methods": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in project.files("methods")},
        "version": jobs.__version__,
    }
    named = project.method("aipl", AiplSettings).benchmark.file
    if named is not None and (peers := project.folder / named).is_file():
        seen["benchmark"] = hashlib.sha256(peers.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _note_steps(
    lake: Lake,
    engine: Engine,
    run_id: str,
    as_of: date,
    taken: Sequence[Measured],
    done: Mapping[str, Done],
    inputs: Mapping[str, Mapping[str, int]],
) -> None:
    """One row a step into ``ops.runs``: the versions that it read, the rows that it made, what it took."""
    rows = [
        {
            "step": t.name,
            "as_of": as_of,
            "engine": engine.name,
            "inputs": json.dumps(inputs.get(t.name, {})),
            "rows_out": done[t.name].rows if t.name in done else None,
            **t.columns,
        }
        for t in taken
    ]
    remember_steps(lake, run_id, rows)
