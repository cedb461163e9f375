"""``huaxiang tag list | show`` and ``huaxiang user``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.project import Project
from jobs.verbs.session import HERE, JsonOption, ProjectOption, open_project, show_json, show_table, verb
from lake import releases
from lake.sql import connect

tag = typer.Typer(no_args_is_help=True, help="The catalogue of tags.")
DISTRIBUTION = """
select is_member, "{tag}" as value, count(*) as users from profile.profile where as_of = ?
group by all order by is_member desc, users desc, value limit 40
"""


@tag.command("list")
@verb
def list_tags(
    group: Annotated[str | None, typer.Argument(help="Only tags with this text in their path or id.")] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Every tag with its names, place, kind and method."""
    catalogue = open_project(project).catalogue
    rows = [
        {
            "id": t.id,
            "zh": t.name.zh,
            "en": t.name.en,
            "path": " / ".join(t.path),
            "kind": t.kind,
            "method": t.method,
            "type": t.type,
            "unit": t.unit,
        }
        for t in catalogue.tags.values()
        if group is None or group in t.id or any(group in p for p in t.path)
    ]
    if as_json:
        show_json(rows)
        return
    show_table(f"{len(rows)} tags", rows, ["id", "zh", "en", "path", "kind", "method", "type", "unit"])


@tag.command("show")
@verb
def show(
    name: Annotated[str, typer.Argument(help="Id of the tag.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What a tag means, how it is made, and how its values are distributed in the latest release."""
    p = open_project(project)
    entry = p.catalogue.tag(name)
    content = entry.model_dump(mode="json", exclude_none=True, exclude_defaults=False, by_alias=True)
    distribution = _distribution(p, name)
    if as_json:
        show_json({"tag": content, "distribution": distribution})
        return
    for key, value in content.items():
        print(f"{key}: {value}")
    if distribution:
        show_table("Latest release", distribution)


def _distribution(p: Project, name: str) -> list[dict[str, Any]]:
    current = releases.latest(p.lake)
    if current is None:
        return []
    with connect(p.lake, current) as con:
        columns = {row[0] for row in con.execute("describe profile.profile").fetchall()}
        if name not in columns:
            return []
        cursor = con.execute(DISTRIBUTION.format(tag=name), [current.as_of])
        return [dict(zip(("is_member", "value", "users"), row, strict=True)) for row in cursor.fetchall()]
