"""``huaxiang profile``: the profile as it stood on a day."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.session import (
    HERE,
    EngineOption,
    JsonOption,
    ProjectOption,
    day_option,
    engine_of,
    open_project,
    show_json,
    show_table,
    stamp,
    target_file,
    verb,
)
from jobs.profile.point_in_time import VIEW, point_in_time
from schemas.money import money_cell

SHOWN_ROWS, SHOWN_TAGS = 20, 8


@verb
def profile(
    as_of: Annotated[datetime, day_option("--as-of", "The day.")],
    known_at: Annotated[
        str | None, typer.Option(help="Compute it anew from rows ingested by then (ISO 8601 with zone).")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Only this tag; may be given several times.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write it to this file: .csv with money in main units, .parquet as it is stored."),
    ] = None,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """The profile as it stood on a day: its snapshot, else the process of dynamic tags; with --known-at as known then."""
    p = open_project(project)
    out = target_file(out, "--out")
    known = stamp(known_at, "--known-at") if known_at else None
    with ExitStack() as stack:
        e = stack.enter_context(engine_of(p, engine)) if known else None
        found = stack.enter_context(point_in_time(p, e, as_of.date(), known_at=known, tags=tag or ()))
        if out is not None:
            found.write(out)
        if as_json:
            what = {"as_of": found.as_of, "known_at": found.known_at, "origin": found.origin, "users": found.users}
            show_json({**what, "tags": found.tags, "notes": found.notes, "out": out})
            return
        print(f"{found.as_of}: {found.users:,} users, {len(found.tags)} tags ({found.origin})")
        for note in found.notes:
            print(f"  {note}")
        if out is not None:
            print(f"  written to {out}")
            return
        cursor = found.con.execute(f"select * exclude (as_of) from {VIEW} limit {SHOWN_ROWS}")
        names = [d[0] for d in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for name in found.money:
            rows = [r | {name: None if r[name] is None else money_cell(r[name], found.currency)} for r in rows]
        shown, tags = names[: 3 + SHOWN_TAGS], len(names) - 3
        of_users = "" if len(rows) == found.users else f"first {len(rows)} of {found.users:,} users"
        of_tags = "" if len(shown) == len(names) else f"first {SHOWN_TAGS} of {tags:,} tags"
        said = ", ".join(part for part in (of_users, of_tags) if part)
        show_table(f"{said[:1].upper()}{said[1:]} (--out FILE writes all)" if said else "All", rows, shown)
