"""``huaxiang release list | diff | rollback``."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from cli.session import HERE, JsonOption, ProjectOption, open_project, show_json, show_table, verb
from lake import releases
from lake.journal import new_run_id
from lake.locks import lock
from queries.release_diff import difference

release = typer.Typer(no_args_is_help=True)


@release.command("list")
@verb
def list_releases(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Every release and rollback; the latest is what readers see. Those that expired stay in the list."""
    p = open_project(project)
    lake = p.lake
    current = releases.latest(lake)
    written = releases.entries(lake)
    any_refused, any_expired = any(e.refused for e in written), any(e.expired_on for e in written)
    rows = [
        {
            "number": e.number,
            "as_of": e.as_of,
            "made": e.created_at.astimezone(p.zone_info),
            "what": _what(e),
            "latest": current is not None and e.number == current.number,
            **e.counts,
            **({"refused_files": sum(e.refused.values())} if any_refused else {}),
            **({"expired_on": e.expired_on, "expired_by": e.expired_by or None} if any_expired else {}),
        }
        for e in written
    ]
    if as_json:
        show_json(rows)
    elif rows:
        show_table("Releases", rows)
    else:
        print("Nothing has been released yet; `huaxiang run --as-of DAY` makes the first release.")


def _what(e: releases.Release) -> str:
    if e.rollback_to:
        return f"back to {e.rollback_to} by {e.by}"
    return "release" if e.expired_on is None else "expired: can no longer be read"


@release.command("diff")
@verb
def diff(
    before: Annotated[str, typer.Argument(help="Number or day.")],
    after: Annotated[str, typer.Argument(help="Number or day.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What changed for how many users between two releases."""
    found = difference(open_project(project), before, after)
    if as_json:
        show_json(found)
        return
    print(
        f"release {found.before.number} ({found.before.as_of}) -> {found.after.number} ({found.after.as_of}): "
        f"{found.kept_users:,} users in both, {found.new_users:,} new, {found.lost_users:,} gone"
    )
    changed = [t for t in found.tags if t.changed_users]
    if changed:
        show_table(
            "Tags by users changed",
            [{"tag": t.tag, "users": t.changed_users, "share": f"{t.share:.1%}"} for t in changed],
        )
    else:
        print("No tag differs for any user.")
    for name, columns in (("only before", found.only_before), ("only after", found.only_after)):
        if columns:
            print(f"tags {name}: {', '.join(columns)}")


@release.command("rollback")
@verb
def rollback(
    to: Annotated[str | None, typer.Argument(help="Number or day; default: the day before the latest.")] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make an older release the latest again. Nothing is deleted; the next newer day moves on from there."""
    lake = open_project(project).lake
    with lock(lake, "run"):
        made = releases.rollback(lake, to, new_run_id("rollback"), getpass.getuser())
    if as_json:
        show_json(made)
    else:
        print(f"Readers now see release {made.rollback_to} ({made.as_of}).")
