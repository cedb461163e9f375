"""标签: the catalogue by group with search, and everything about one tag."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from features.tags import PATHS
from portal.access import looked_at, looks_since
from portal.parts import shop_of, state_of
from portal.rendering import render
from portal.sign_in.gate import allowed
from queries.tag_lineage import lineage
from queries.tag_page import tag_page
from queries.tag_search import audiences_by_tag, tags_found
from report.blocks import TagRow
from report.words import FEEDS, KINDS, METHODS, Vocabulary, group_name
from schemas.text import Text

router = APIRouter(prefix="/tags", dependencies=[Depends(allowed("tags.read"))])
HEAT_DAYS = (7, 30, 90)
FEW = 40
"""Up to so many tags the groups stand open; of more, the first alone."""
SHOWN = {"all": Text("全部", "All"), "used": Text("使用中", "Used"), "unused": Text("未被使用", "Not used")}


@router.get("")
def tags(request: Request, q: str = "", show: str = "all") -> HTMLResponse:
    """Cards of tags by group."""
    shop = shop_of(request)
    catalogue, chapters = shop.project().catalogue, shop.chapters()
    rows: dict[str, TagRow] = {}
    for block in () if chapters is None else chapters.sections["tags"].blocks:
        rows |= {row.id: row for group in block.groups for row in group.tags}
    heat = {days: looks_since(state_of(request), "tag", days) for days in HEAT_DAYS}
    used = audiences_by_tag(shop.project().audiences)
    of_tags = {t: catalogue.users_of(t) for t in catalogue.tags}
    groups: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, Text] = {}
    wanted = show if show in SHOWN else "all"
    for tag in tags_found(catalogue, q[:100]):
        by = used.get(tag.id, [])
        if wanted != "all" and bool(by or of_tags[tag.id]) != (wanted == "used"):
            continue
        path = "/".join(tag.path[:2])
        names[path] = group_name((tag.path[0], tag.path[1]))
        entry: dict[str, Any] = {
            "tag": tag,
            "row": rows.get(tag.id),
            "audiences": by,
            "tags": of_tags[tag.id],
            "kind": KINDS[tag.kind],
        }
        entry["heat"] = [heat[days].get(tag.id, 0) for days in HEAT_DAYS]
        groups.setdefault(path, []).append(entry)
    # What was searched stands by how well it fits, the whole catalogue in the order of its groups.
    ordered = groups if q else sorted(groups, key=[f"{a}/{b}" for a, below in PATHS.items() for b in below].index)
    return render(
        request,
        "tags.html.j2",
        groups=[(names[path], groups[path]) for path in ordered],
        total=sum(map(len, groups.values())),
        whole=len(catalogue.tags),
        few=FEW,
        q=q[:100],
        shown_kinds=SHOWN,
        show=wanted,
    )


@router.get("/{name}")
def one_tag(request: Request, name: str) -> HTMLResponse:
    """Meaning, distribution, strategies, lineage and users of one tag."""
    shop = shop_of(request)
    page = tag_page(shop.project(), name)
    looked_at(state_of(request), "tag", name)
    tag, made = shop.project().catalogue.tag(name), lineage(shop.project(), name)
    words = Vocabulary(shop.project().catalogue)
    spread = [] if page.standing is None else [r for r in page.standing.distribution if r["is_member"] is not False]
    whole = sum(r["users"] for r in spread) or 1
    values = [
        {
            "value": r["value"],
            "said": words.value(name, r["value"])
            if tag.type in ("string", "bool")
            else Text(str(r["value"] or "–"), str(r["value"] or "–")),
            "users": r["users"],
            "share": r["users"] / whole,
            "can_be_asked": tag.type in ("string", "bool") and r["value"] not in (None, "unknown"),
        }
        for r in spread
    ]
    return render(
        request,
        "tag.html.j2",
        tag=tag,
        page=page,
        values=values,
        group=group_name((tag.path[0], tag.path[1])),
        kind=KINDS[tag.kind],
        method=METHODS[tag.method],
        lineage=made,
        feeds=[FEEDS.get(feed, Text(feed, feed)) for feed in made.feeds],
        label=words.tag,
    )
