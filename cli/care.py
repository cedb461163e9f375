"""``huaxiang lake tidy | verify``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from cli.session import HERE, JsonOption, ProjectOption, open_project, show_json, show_table, steps_for, verb
from lake.releases import Release
from lake.retention import by_reason
from lake.tidy import Tidied, tidy
from lake.verify import Damage, Verified, verify
from schemas.errors import UnreadableError

SHOWN = 20
"""Files that are named of those that cannot be read; ``--json`` names all."""

lake = typer.Typer(no_args_is_help=True)


@lake.command("tidy")
@verb
def tidy_lake(
    project: ProjectOption = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what it would do, and touch nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let old releases expire, write small files together, and remove what nothing names. What stays is told with its reason.

    Kept are the last days (care.keep_release_days in huaxiang.yaml), month ends, what readers see, what a rollback
    brings back, and what audiences and campaigns name. Killed, it leaves a lake that every kept release reads; run again, it goes on.
    """
    p = open_project(project)
    steps = steps_for(as_json, plan=3)
    with steps.shown():
        done = tidy(p.lake, p.settings.care, datetime.now(p.zone_info).date(), dry_run=dry_run, step=steps.step)
    if as_json:
        show_json(_values(done))
    else:
        _tell(done)


@lake.command("verify")
@verb
def verify_lake(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Prove that every kept release can be read: every file is there, has its bytes, and holds its rows.

    Exit code 7: one is missing or damaged; release, table, file and remedy are named.
    """
    p = open_project(project)
    steps = steps_for(as_json, plan=1)
    with steps.shown():
        found = verify(p.lake, step=steps.step)
    if as_json:
        show_json(found)
        raise typer.Exit(UnreadableError.exit_code if found.damage else 0)
    if found.damage:
        raise UnreadableError(_damage_in_words(found))
    print(
        f"{found.releases} releases can be read: {found.versions:,} versions of tables, {_files(found.files, found.bytes)}."
    )


def _values(done: Tidied) -> dict[str, Any]:
    return {
        "dry_run": done.dry_run,
        "expired": [_release(r) for r in done.expired],
        "kept": [{**_release(k.release), "why": k.why} for k in done.kept],
        "tables": [asdict(t) for t in done.tables],
        "freed_bytes": done.freed_bytes,
        "notes": done.notes,
    }


def _release(r: Release) -> dict[str, Any]:
    return {"number": r.number, "as_of": r.as_of}


def _tell(done: Tidied) -> None:
    would = "would " if done.dry_run else ""
    names = f": {_numbers([r.number for r in done.expired])}" if done.expired else ""
    print(f"{len(done.expired)} releases {would}expire{names}; {len(done.kept)} stay.")
    for why, numbers in by_reason(done.kept).items():
        print(f"  {why}: {_numbers(numbers)}")
    rows = [
        {
            "table": t.table,
            "files written together": t.compacted_files,
            "into": t.compacted_into,
            "files freed": t.freed_files,
            "MB freed": t.freed_bytes / 1e6,
            "files": t.files,
            "MB": t.bytes / 1e6,
        }
        for t in done.tables
        if t.is_touched
    ]
    if rows:
        show_table("Tables", rows, exact=True)
    left = _files(sum(t.files for t in done.tables), sum(t.bytes for t in done.tables))
    freed = _files(sum(t.freed_files for t in done.tables), done.freed_bytes)
    print(f"{freed} {'would be' if done.dry_run else 'are'} freed, {left} stay.")
    for note in done.notes:
        print(f"warning: {note}")


def _files(n: int, size: int) -> str:
    return f"{n:,} files of {size / 1e6:,.1f} MB"


def _numbers(numbers: list[int]) -> str:
    """``1-3, 7``."""
    spans: list[list[int]] = []
    for n in sorted(numbers):
        if spans and n == spans[-1][1] + 1:
            spans[-1][1] = n
        else:
            spans.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _damage_in_words(found: Verified) -> str:
    lines = [f"  {_place(d)}: {d.what}; {d.remedy}" for d in found.damage[:SHOWN]]
    if more := len(found.damage) - SHOWN:
        lines += [f"  and {more:,} more; --json names all"] if more > 0 else []
    return "\n".join([f"{len(found.damage):,} files or versions cannot be read", *lines])


def _place(d: Damage) -> str:
    of = f"release {_numbers(list(d.releases))}" if d.releases else "the newest version"
    return f"{of}, {d.table}" + (f", {d.file}" if d.file else "")
