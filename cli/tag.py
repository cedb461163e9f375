"""``huaxiang tag list | check | show | accept | lineage | diff``."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.session import (
    HERE,
    EngineOption,
    JsonOption,
    ProjectOption,
    WhoOption,
    asker,
    engine_of,
    open_project,
    show_json,
    show_table,
    steps_for,
    verb,
)
from project.folder import Project
from queries.tag_page import MOST_VALUES, Standing, TagPage, tag_page
from report.words import BASES, interval
from schemas.errors import UsageError
from schemas.money import money_cell
from schemas.tag_roles import ROLES, TagRole

if TYPE_CHECKING:
    from features.tags import Tag
    from jobs.profile.diff import Change, TagDiff

MOST_WARNINGS = 20
QUALITY = (
    *("coverage", "base_users", "known_users", "changed_users", "psi", "psi_usual", "compared_with", "psi_28d"),
    *("verdict", "verdict_cause", "held_since", "held_by"),
)
"""Columns of quality that are shown; an older release has not all of them."""
VERDICTS = {
    "first": "nothing to compare with yet",
    "no_reference": "it moved, and too few runs tell how far it usually does",
    "stable": "no more than usual",
    "watch": "further than usual",
    "act": "far further than usual, or a limit is broken",
}
tag = typer.Typer(no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="Id of the tag.")]
KINDS = {
    "added": "Added",
    "removed": "Removed",
    "changed": "Changed",
    "dependent": "Changed through what they build on",
    "worded": "Said differently, same values",
}


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


@tag.command("check")
@verb
def check(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Validate the catalogue, and every audience against it."""
    from project.check import check_tags

    report = check_tags(open_project(project))
    if as_json:
        show_json(report)
    else:
        for w in report.warnings[:MOST_WARNINGS]:
            print(f"warning: {w}")
        if len(report.warnings) > MOST_WARNINGS:
            print(f"{len(report.warnings) - MOST_WARNINGS} further warnings; --json shows all")
        for m in report.mistakes:
            print(m)
        if not report.mistakes:
            print(
                f"{report.tags} tags ({report.segmentations} segmentations) of {report.facts} facts, {report.breaks} "
                f"frozen numbers and {report.models} model{'' if report.models == 1 else 's'}; {report.audiences} audiences"
            )
        print("No mistakes found." if not report.mistakes else f"{len(report.mistakes)} mistakes.")
    if report.mistakes:
        raise typer.Exit(3)


@tag.command("show")
@verb
def show(name: NameArgument, project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """What a tag means, what is done with its values, and how it stands in the latest release."""
    p = open_project(project)
    page = tag_page(p, name)
    if as_json:
        show_json(page)
        return
    _print_entry(page)
    if page.standing is not None:
        _print_standing(p, page, page.standing)


def _print_entry(page: TagPage) -> None:
    e = page.entry
    print(f"{e['id']}  {e['name']['zh']} · {e['name']['en']}")
    print(f"{' / '.join(e['path'])}\n\n{e['description']['zh']}\n{e['description']['en']}\n")
    kind = e["type"] + (f" ({e['unit']})" if "unit" in e else "")
    window = f", looks back {page.window} days" if page.window else ""
    print(f"{kind}; {e['kind'].replace('_', '-')}, by {e['method']}{window}; without a result: {e['empty']}")
    print(f"from {', '.join(e['sources'])}; owner {e['owner']}, {e['refresh']}, version {e['version']}")
    if "role" in e:
        print(f"role {e['role']}: {ROLES[TagRole(e['role'])].means.en}")
    print(f"declared at {page.place}")
    if page.used_by_tags:
        print(f"used by tags: {', '.join(page.used_by_tags)}")
    if page.used_by_audiences:
        print(f"used by audiences: {', '.join(page.used_by_audiences)}")
    for value in page.values:
        label = value.get("label")
        print(f"\n  {value['value']}" + (f"  {label['zh']} · {label['en']}" if label else ""))
        for key in ("strategy", "needs", "resources"):
            if key in value:
                print(f"    {key}: {value[key]['zh']}\n    {' ' * len(key)}  {value[key]['en']}")


def _print_standing(p: Project, page: TagPage, standing: Standing) -> None:
    tag = p.catalogue.tag(str(page.entry["id"]))
    money = tag.unit == "minor"
    print(f"\nRelease {standing.release}, {standing.as_of}")
    labels = {v["value"]: v["label"]["zh"] for v in page.values if "label" in v}
    if standing.quality:
        rows = [{"who": _who(q), **{c: q[c] for c in QUALITY if c in q}} for q in standing.quality]
        rows = [{k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()} for r in rows]
        rows = [{k: str(v) if isinstance(v, date) else v for k, v in r.items()} for r in rows]
        show_table("Quality", rows)
        for verdict in dict.fromkeys(q["verdict"] for q in standing.quality):
            print(f"  {verdict}: {VERDICTS.get(verdict, '')}")
    for note in standing.notes:
        print(f"  note: {note}")
    if standing.spread:
        spread = [{"who": _who(s), **{k: v for k, v in s.items() if k != "is_member"}} for s in standing.spread]
        if money:
            kept = ("who", "known")
            spread = [
                {k: v if k in kept or v is None else money_cell(v, p.currency) for k, v in s.items()} for s in spread
            ]
        show_table("Spread", spread)
    if standing.distribution:
        rows = [
            {
                "who": _who(d),
                "value": _said(p, tag, d["value"]),
                "label": labels.get(str(d["value"]), ""),
                "users": d["users"],
            }
            for d in standing.distribution
        ]
        show_table("Distribution", rows)
        for who, n in {_who(d): d["distinct_values"] for d in standing.distribution}.items():
            if n > MOST_VALUES:
                print(f"{who}: the {MOST_VALUES} most frequent of {n:,} values are shown")
    if standing.cuts:
        show_table("Cuts", [_cut(p, c) for c in standing.cuts])


def _said(p: Project, tag: Tag, value: Any) -> Any:
    """A bin of money in main units; every other value as it is stored."""
    said = interval(tag, value, p.currency) if tag.unit == "minor" and isinstance(value, str) else None
    return value if said is None else said.en


def _cut(p: Project, cut: dict[str, Any]) -> dict[str, Any]:
    """A frozen number as people read it: what it rests on, and where the horizon decided it, which one to try."""
    known, number = BASES.get(str(cut["basis"])), cut["number"]
    beyond, longer = cut["share_beyond_horizon"], cut["horizon_to_try_days"]
    more = "" if beyond is None else f"; {beyond:.0%} come back later, try {longer} days"
    return {
        "cut": f"{cut['name']} {cut['position']}",
        "number": money_cell(number, p.currency) if _is_money(p, cut["name"]) and number is not None else number,
        "rests on": "" if cut["basis"] is None else (known.en if known else str(cut["basis"])) + more,
        "cases": cut["sample_users"],
        "fitted on": str(cut["fitted_on"]),
    }


def _is_money(p: Project, name: str) -> bool:
    known = p.catalogue.breaks.get(name)
    return known is not None and known.of is not None and known.of.unit == "minor"


def _who(row: dict[str, Any]) -> str:
    return "members" if row["is_member"] else "visitors"


@tag.command("accept")
@verb
def accept(
    name: Annotated[str | None, typer.Argument(help="Id of the held tag.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every tag that is held.")] = False,
    by: WhoOption = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Accept the new level of a held tag: the next run publishes it, and later ones are compared with it."""
    from jobs.profile.accept import accept as step

    if (name is None) != every:
        raise UsageError("name one tag, or say --all; `huaxiang status` lists those that are held")
    found = step(open_project(project), name, accepted_by=asker(by))
    if as_json:
        show_json(found)
        return
    for a in found.accepted:
        when = f"{a.accepted_at:%Y-%m-%d %H:%M} UTC by {a.accepted_by}"
        print(f"{a.tag}, held since {a.held_since}: accepted {'before, ' if a.already else ''}{when}")
    for n in found.not_held:
        print(f"{n} is not held" + (f" on {found.as_of}" if found.as_of else "") + "; there is nothing to accept")
    if found.accepted:
        again = f"`huaxiang run --as-of {found.as_of} --force`"
        print(f"The next run publishes what it finds; for {found.as_of} itself: {again}")
    elif every:
        print("No tag is held; there is nothing to accept")


@tag.command("lineage")
@verb
def show_lineage(name: NameArgument, project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """What a tag is made from, down to the feeds, and which tags and audiences are made from it."""
    from queries.tag_lineage import lineage

    found = lineage(open_project(project), name)
    if as_json:
        show_json(found)
    else:
        print(found.text())


@tag.command("diff")
@verb
def diff(
    against: Annotated[
        str | None, typer.Option(help="A folder with tags/*.yaml, or a release; default: the latest release.")
    ] = None,
    count: Annotated[bool, typer.Option(help="Compute the changed tags and count users.")] = True,
    project: ProjectOption = HERE,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the tags as they are now would do to how many users, before it is published."""
    from jobs.profile.diff import tag_diff

    p = open_project(project)
    if not count:
        _print_diff(p, tag_diff(p, against), as_json)
        return
    steps = steps_for(as_json)
    with engine_of(p, engine) as opened, steps.step("compute the changed tags") as advance:
        found = tag_diff(p, against, opened, advance)
    _print_diff(p, found, as_json)


def _print_diff(p: Project, found: TagDiff, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    day = f", users as of {found.as_of}" if found.as_of else ""
    print(f"Against {found.against}{day}: " + ("nothing changes" if not found.changes else ""))
    for kind, title in KINDS.items():
        rows = [_row(p, c) for c in found.of(kind)]
        if rows:
            shown = [n for n in rows[0] if any(r[n] not in (None, "") for r in rows)]
            show_table(f"{title} ({len(rows)})", rows, shown)
    for c in found.changes:
        if c.effect is not None and c.effect.moves and c.kind in ("changed", "dependent"):
            show_table(f"{c.tag}: from -> to", list(c.effect.moves), ["value_before", "value_after", "users"])
            if (further := c.effect.changed - sum(m["users"] for m in c.effect.moves)) > 0:
                print(f"{further:,} users move between other values")
    for note in found.notes:
        print(f"note: {note}")


def _row(p: Project, c: Change) -> dict[str, Any]:
    e = c.effect
    tag = p.catalogue.tags.get(c.tag)

    def mean(value: float | None) -> Any:
        return money_cell(value, p.currency) if value is not None and tag is not None and tag.unit == "minor" else value

    return {
        "tag": c.tag,
        "entry": ", ".join(c.keys),
        "because of": ", ".join(c.because[:3]) + (" ..." if len(c.because) > 3 else ""),
        "used by": ", ".join(c.used_by),
        "users": e and e.users,
        "changed": e and e.changed if c.kind in ("changed", "dependent") else None,
        "known before": e and e.known_before,
        "known after": e and e.known_after,
        "mean before": e and mean(e.mean_before),
        "mean after": e and mean(e.mean_after),
    }
