"""Tags: the catalogue, and everything about one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from portal.access import looked_at
from portal.api.answers import UNCHANGED, Cursor, Limit, Page, Said, Worded, api_router, page_of
from portal.parts import shop_of, state_of
from portal.sign_in.gate import allowed
from queries.tag_page import TagPage, tag_page
from queries.tag_search import tags_found

router = api_router("tags")
MOST_LETTERS = 100
TagName = Annotated[str, Path(max_length=MOST_LETTERS, description="A tag, by its id.")]


class TagListed(Said):
    """A tag of the catalogue. ``values`` is absent where there is no finite list of them."""

    id: str
    name: Worded
    description: Worded
    path: tuple[str, ...]
    kind: str
    method: str
    type: str
    unit: str | None
    owner: str
    window_days: int | None
    values: tuple[str, ...] | None


@router.get("/tags", responses=UNCHANGED, dependencies=[Depends(allowed("tags.read"))])
def list_tags(
    request: Request,
    q: Annotated[str, Query(max_length=MOST_LETTERS, description="Words of an id or a name, or its pinyin.")] = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[TagListed]:
    """Tags that fit what is looked for; all of them for nothing."""
    catalogue = shop_of(request).project().catalogue
    found = [
        TagListed(
            id=tag.id,
            name=Worded(zh=tag.name.zh, en=tag.name.en),
            description=Worded(zh=tag.description.zh, en=tag.description.en),
            path=tuple(tag.path),
            kind=tag.kind,
            method=tag.method,
            type=tag.type,
            unit=tag.unit,
            owner=tag.owner,
            window_days=catalogue.windows[tag.id],
            values=None if tag.finite is None else tuple(map(str, tag.finite)),
        )
        for tag in tags_found(catalogue, q)
    ]
    return page_of(found, lambda tag: tag.id, cursor, limit)


@router.get("/tags/{name}", responses=UNCHANGED, dependencies=[Depends(allowed("tags.read"))])
def get_tag(request: Request, name: TagName) -> TagPage:
    """Meaning, values with strategies, what uses it, and how it stands in the newest release."""
    found = tag_page(shop_of(request).project(), name)
    looked_at(state_of(request), "tag", name)
    # Where the file lies on the machine is nobody's business.
    return replace(found, place=PurePath(found.place).name)
