"""``huaxiang audience overlap | profile``: what an audience is like. Publishes nothing and starts no engine."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.session import (
    HERE,
    JsonOption,
    ProjectOption,
    ReleaseOption,
    open_project,
    show_json,
    show_table,
    tell_which_release,
    verb,
)
from queries import audience_insight as insight

NameArgument = Annotated[str, typer.Argument(help="Audience, by the name of its file.")]


def add_insight_to(audience: typer.Typer) -> None:
    """Give the group these verbs."""
    audience.command("overlap")(overlap)
    audience.command("profile")(profile)


@verb
def overlap(
    name: NameArgument, release: ReleaseOption = None, project: ProjectOption = HERE, as_json: JsonOption = False
) -> None:
    """Whom it shares with every other audience, and which of them are nearly the same."""
    p = open_project(project)
    tell_which_release(p, release)
    found = insight.overlaps(p, name, which=release)
    if as_json:
        show_json(found)
        return
    print(f"{name} at {found.as_of} (release {found.release}): {found.users:,} users")
    rows = [
        {
            "audience": o.audience,
            "users": o.users,
            "in both": o.in_both,
            "of this": f"{o.share_of_asked:.1%}",
            "of the other": f"{o.share_of_other:.1%}",
            "of either": f"{o.jaccard:.1%}",
            "": "nearly the same" if o.is_nearly_same else "",
        }
        for o in found.others
        if o.problem is None
    ]
    if rows:
        show_table("Shared with other audiences", rows)
    else:
        print("There is no other audience to compare it with.")
    for o in found.others:
        if o.problem is not None:
            print(f"Note: {o.audience} is not compared: {o.problem}")


@verb
def profile(
    name: NameArgument,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag to look at, may be repeated; default: all.")
    ] = None,
    release: ReleaseOption = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Rows to show.")] = 30,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """By which values of tags its members stand out from the shop's other members."""
    p = open_project(project)
    tell_which_release(p, release)
    found = insight.audience_profile(p, name, which=release, tags=tag or ())
    if as_json:
        show_json(found)
        return
    print(
        f"{name} at {found.as_of} (release {found.release}): {found.members:,} of {found.base_members:,} members; "
        f"{len(found.traits):,} of {found.looks:,} values stand out"
    )
    rows = [
        {
            "tag": f"{t.zh} | {t.en}",
            "value": t.value,
            "users": t.users,
            "share": f"{t.share:.1%}",
            "of all members": f"{t.share_of_base:.1%}",
            "lift": "" if t.lift is None else f"{t.lift:.2f}",
            "q": f"{t.q:.2g}",
        }
        for t in found.traits[:most]
    ]
    if rows:
        show_table("What they have more or less often", rows)
    if found.left_out:
        print(f"Note: not compared for too many values: {', '.join(found.left_out)}")
