"""``huaxiang ingest | run | backfill``."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from cli.session import (
    HERE,
    EngineOption,
    JsonOption,
    ProjectOption,
    TraceOption,
    day_option,
    engine_of,
    open_project,
    show_json,
    stamp,
    steps_for,
    target_file,
    verb,
)
from jobs.ingest.step import ingest as ingest_step
from jobs.ingest.step import replay as replay_step
from jobs.pipeline import RunReport
from jobs.pipeline import backfill as backfill_step
from jobs.pipeline import run as run_steps
from jobs.pipeline import run_step as one_step
from jobs.steps import STEPS, Done
from lake import refused
from lake.journal import new_run_id
from lake.trace import traced
from project.folder import Project

MOST_WARNINGS = 20
"""Warnings that are printed; those of windows, which may be many in a young shop, come last."""
AllWarningsOption = Annotated[bool, typer.Option("--all-warnings", help=f"Print all, not the first {MOST_WARNINGS}.")]


@verb
def ingest(
    feeds: Annotated[list[str] | None, typer.Argument(help="Feeds to take; default: all that have a mapping.")] = None,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    received_at: Annotated[
        str | None, typer.Option(help="When the files were received, ISO 8601 with zone; default: now.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="A changed file of a known name replaces the older.")
    ] = False,
    append: Annotated[bool, typer.Option("--append", help="A changed file of a known name adds to the older.")] = False,
    again: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Read such files of the inbox anew, after their mapping was mended."),
    ] = None,
    dismiss: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Wait no longer for such refused files; nothing is taken. May be repeated."),
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Take quarantined rows again, after a fix.")] = False,
    trace: TraceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take new files from the inbox into the lake. Files that were taken before are skipped.

    A file that is refused is tried again by every ingest, and told by `status`, `run` and the report, until it is taken or
    dismissed by its name below the inbox (`--dismiss FILE`).
    """
    p = open_project(project)
    if dismiss:
        _dismiss(p, dismiss, as_json)
        return
    received = stamp(received_at, "--received-at") if received_at else datetime.now(UTC)
    steps, to = steps_for(as_json), target_file(trace, "--trace")
    with (
        steps.shown(),
        engine_of(p, engine) as e,
        traced(to, e.spills),
        p.audited(e) as audit,
        steps.step("ingest") as advance,
    ):
        if replay:
            report = replay_step(p, e, feeds=feeds, received_at=received, progress=advance, audit_staged=audit)
        else:
            report = ingest_step(
                p,
                e,
                feeds=feeds,
                received_at=received,
                replace=replace,
                append=append,
                again=again,
                progress=advance,
                audit_staged=audit,
            )
    if as_json:
        show_json(report)
    else:
        print(report.text())
    if report.failed:
        raise typer.Exit(4)


def _dismiss(p: Project, patterns: list[str], as_json: bool) -> None:
    rows = refused.dismiss(p.lake, patterns, new_run_id("dismiss"))
    if as_json:
        show_json({"dismissed": [refused.as_values(r) for r in rows]})
        return
    for r in rows:
        print(f"dismissed {r.file} ({r.feed}, refused on {refused.since(r):%Y-%m-%d}): {refused.reason_of(r)}")


@verb
def run(
    as_of: Annotated[datetime, day_option("--as-of", "Last whole business day counted.")],
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    known_at: Annotated[str | None, typer.Option(help="Use only rows ingested by then (ISO 8601 with zone).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat a day that is done already.")] = False,
    refit: Annotated[
        list[str] | None,
        typer.Option(
            "--refit", help="Make a kept break or model anew, and repeat the day; may be given several times."
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option("--step", metavar="NAME", help="Only this step, on what the lake holds; no release.")
    ] = None,
    all_warnings: AllWarningsOption = False,
    trace: TraceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Identity, activity, profile, segments, and a release, for one business day."""
    p = open_project(project)
    known = stamp(known_at, "--known-at") if known_at else None
    if dry_run:
        _dry_run(p, as_of.date(), known, force or bool(refit), as_json)
        return
    steps, to = steps_for(as_json, plan=1 if only else len(STEPS)), target_file(trace, "--trace")
    with steps.shown(), engine_of(p, engine) as e, traced(to, e.spills), p.audited(e) as audit:
        if only:
            done = one_step(p, e, as_of.date(), only, known_at=known, steps=steps, audit=audit)
            _show_step(only, done, as_of.date(), as_json)
            return
        report = run_steps(p, e, as_of.date(), known_at=known, steps=steps, force=force, refit=refit or (), audit=audit)
    _show_runs([report], as_json, all_warnings)


def _show_step(name: str, done: Done, as_of: date, as_json: bool) -> None:
    if as_json:
        show_json({"step": name, "as_of": as_of, "rows": done.rows, "warnings": done.warnings, "release": None})
        return
    print(f"{as_of}: step {name} made {done.rows:,} rows; nothing was released (`huaxiang run` does)")
    for w in done.warnings:
        print(f"{as_of}: warning: {w}", file=sys.stderr)


def _dry_run(p, as_of: date, known_at: datetime | None, repeat: bool, as_json: bool) -> None:  # type: ignore[no-untyped-def]
    from jobs.pipeline import fingerprint
    from lake.releases import of_day

    done = of_day(p.lake, as_of)
    same = done is not None and done.fingerprint == fingerprint(p, as_of, known_at)
    answer = {"as_of": as_of, "released": done.number if done else None, "would_run": repeat or not same}
    if as_json:
        show_json(answer)
    else:
        print(
            f"{as_of}: " + ("would run and be released" if answer["would_run"] else "done already, nothing would run")
        )


@verb
def backfill(
    first: Annotated[datetime, day_option("--from", "First day.")],
    last: Annotated[datetime, day_option("--to", "Last day.")],
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    all_warnings: AllWarningsOption = False,
    trace: TraceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every day of a span, oldest first; days that are done are skipped."""
    p = open_project(project)
    steps, to = steps_for(as_json, plan=len(STEPS) * ((last - first).days + 1)), target_file(trace, "--trace")
    with steps.shown(), engine_of(p, engine) as e, traced(to, e.spills), p.audited(e) as audit:
        reports = backfill_step(p, e, first.date(), last.date(), steps=steps, audit=audit)
    _show_runs(reports, as_json, all_warnings)


def _show_runs(reports: list[RunReport], as_json: bool, all_warnings: bool) -> None:
    if as_json:
        show_json(reports if len(reports) != 1 else reports[0])
        return
    for r in reports:
        if r.already_done:
            print(f"{r.as_of}: done already (release {r.release.number}); --force repeats it")
        else:
            counts = ", ".join(f"{n:,} {name}" for name, n in r.release.counts.items())
            taken = ", ".join(f"{name} {s:.1f} s" for name, s in r.steps.items())
            print(f"{r.as_of}: release {r.release.number}: {counts} ({taken})")
    _show_warnings(reports, None if all_warnings else MOST_WARNINGS)


def _show_warnings(reports: list[RunReport], most: int | None) -> None:
    """Each once, with the first day that it is told of; a back-fill says the same of many days."""
    first: dict[str, date] = {}
    for r in reports:
        for w in r.warnings:
            first.setdefault(w, r.as_of)
    for w, day in list(first.items())[:most]:
        print(f"{day}: warning: {w}", file=sys.stderr)
    if most is not None and len(first) > most:
        further = len(first) - most
        print(f"{further:,} further warnings; `huaxiang status --warnings` lists all of a run", file=sys.stderr)
