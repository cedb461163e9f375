"""``huaxiang audience reach | sample | sizes``: whom files would reach, some of the people, and sizes of past days."""

from __future__ import annotations

from typing import Annotated

import typer

from audiences.funnel import IN_CHINESE
from audiences.language import named
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
from queries import audience_people as people
from queries.audience_sizes import sizes_over_releases

NameArgument = Annotated[str, typer.Argument(help="Audience, by the name of its file.")]


def add_people_to(audience: typer.Typer) -> None:
    """Give the group these verbs."""
    audience.command("reach")(reach)
    audience.command("sample")(sample)
    audience.command("sizes")(sizes)


@verb
def reach(
    name: NameArgument,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="Platform, may be repeated; default: its own file and all platforms."),
    ] = None,
    release: ReleaseOption = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """How many people the file of each platform would hold now, and why it would not hold the others."""
    p = open_project(project)
    tell_which_release(p, release)
    found = people.audience_reach(p, name, which=release, to=to or None)
    if as_json:
        show_json(found)
        return
    print(f"{name} at {found.as_of} (release {found.release}): {found.users:,} users")
    rows = [
        {
            "platform": r.platform,
            "zh": r.zh,
            "ids": ", ".join(r.ids) or None,
            "in the file": r.deliverable,
            "share": f"{r.deliverable / r.users:.1%}" if r.users else None,
            "not in it": ", ".join(f"{n:,} {IN_CHINESE[why]} {why}" for why, n in r.left_out.items()) or None,
        }
        for r in found.platforms
        if r.problem is None
    ]
    if rows:
        show_table("Whom files would reach", rows)
    for r in found.platforms:
        if r.problem is not None:
            print(f"Note: {r.platform}: {r.problem}")


@verb
def sample(
    name: NameArgument,
    most: Annotated[int, typer.Option("--most", min=1, max=100, help="People to show.")] = 20,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="A tag to show, may be repeated; default: sample_tags of methods/audiences.yaml."),
    ] = None,
    release: ReleaseOption = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Some of its people with contacts masked."""
    p = open_project(project)
    tell_which_release(p, release)
    found = people.audience_sample(p, name, which=release, most=most, tags=tag or ())
    if as_json:
        show_json(found)
        return
    print(f"{name} at {found.as_of} (release {found.release}): {len(found.people):,} of {found.users:,} users")
    kinds = dict.fromkeys(kind for one in found.people for kind in one.contacts)
    rows = [
        {"user_id": one.user_id, "member": one.is_member}
        | {kind: one.contacts.get(kind) for kind in kinds}
        | {t.zh: t.value_zh for t in one.tags}
        for one in found.people
    ]
    if rows:
        show_table("Some of them", rows)
    if found.lacking:
        print(f"Note: not in the release yet: {', '.join(found.lacking)}")


@verb
def sizes(
    name: NameArgument,
    most: Annotated[int, typer.Option("--most", min=1, help="Days to show, the newest first.")] = 8,
    built_only: Annotated[
        bool, typer.Option("--built", help="Only what was built; judge no day by the definition.")
    ] = False,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """How many people the definition had, or would have had, on past days. Publishes nothing."""
    p = open_project(project)
    found = sizes_over_releases(p, named(p.audiences, name), most=most, judge=not built_only)
    if as_json:
        show_json(found)
        return
    rows = [
        {
            "day": s.as_of,
            "release": s.release,
            "by this definition": s.users,
            "built then": s.built_users,
            "": "by another definition" if s.is_same_definition is False else "",
        }
        for s in found
    ]
    if rows:
        show_table(f"Sizes of {name}", rows)
    else:
        print("There is no release yet.")
    for s in found:
        if s.problem is not None:
            print(f"Note: {s.as_of} is not judged: {s.problem}")
