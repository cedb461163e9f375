"""``huaxiang audience versions | compare | used-by | delete``: the life of a definition."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.session import (
    HERE,
    JsonOption,
    ProjectOption,
    open_project,
    show_json,
    show_table,
    tell_which_release,
    verb,
)
from project.audience_standing import uses_of
from queries import audience_life as life
from schemas.errors import UsageError

NameArgument = Annotated[str, typer.Argument(help="Audience, by the name of its file.")]


def add_to(audience: typer.Typer) -> None:
    """Give the group these verbs."""
    audience.command("versions")(versions)
    audience.command("compare")(compare)
    audience.command("used-by")(used_by)
    audience.command("delete")(delete)


@verb
def versions(name: NameArgument, project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Every definition that was built: who changed it when and why, and how many people it had."""
    found = life.history_of(open_project(project), name)
    if as_json:
        show_json(found)
        return
    rows = [
        {
            "version": v.version,
            "by": v.requested_by,
            "at": v.created_at,
            "reason": v.reason,
            "last built": v.built_as_of,
            "users": v.users,
            "in the files": v.is_current,
        }
        for v in found
    ]
    if rows:
        show_table(f"Versions of {name}", rows)
    else:
        print(f"{name} has no versions yet: `huaxiang audience build {name}` notes the first.")
    if rows and not found[0].is_current:
        print("The file says something else than the newest version; a build notes it as the next one.")


@verb
def compare(
    name: NameArgument,
    older: Annotated[
        str | None, typer.Option("--from", help="A version's number; default: the last that differs.")
    ] = None,
    newer: Annotated[str, typer.Option("--to", help="A version's number; now: as the file says.")] = life.AS_IN_FILES,
    release: Annotated[
        str | None, typer.Option("--release", help="Release number or day; default: the latest.")
    ] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Whom a change of the definition brings and whom it loses, at one release. Publishes nothing."""
    p = open_project(project)
    tell_which_release(p, release)
    found = life.compared_versions(p, name, older, newer, which=release)
    if as_json:
        show_json(found)
        return
    print(
        f"{name}, version {found.older} -> {found.newer}, at {found.as_of} (release {found.release}): "
        f"{found.users_before:,} -> {found.users_after:,} users; {found.stayed:,} stay, {found.gained:,} come, {found.lost:,} go"
    )
    for line in found.changed:
        print(f"  {line}")
    for what, sample in (("come", found.sample_gained), ("go", found.sample_lost)):
        if sample:
            print(f"Some who {what}: {', '.join(sample)}")


@verb
def used_by(name: NameArgument, project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """What is made from the audience."""
    found = uses_of(open_project(project), name)
    if as_json:
        show_json(found)
        return
    for use in found:
        print(use)
    if not found:
        print(f"Nothing uses {name}.")


@verb
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only said what would be done.")] = False,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Remove the audience's file, unless something uses it; members, log and versions stay in the lake."""
    p = open_project(project)
    path = life.file_to_delete(p, name)
    if yes:
        try:
            path.unlink()
        except OSError as e:
            raise UsageError(f"{path} cannot be removed: {e.strerror}") from None
    if as_json:
        show_json({"audience": name, "file": str(path), "deleted": yes})
        return
    print(f"{path} is gone." if yes else f"Would remove {path}; --yes does it.")
