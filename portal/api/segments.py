"""Segmentations: who stands in which segment, and who moved."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from portal.api.answers import UNCHANGED, Cursor, Limit, Page, Said, Worded, api_router, page_of
from portal.parts import shop_of
from portal.sign_in.gate import allowed
from queries.flow import SegmentFlow, flow
from queries.tag_page import tag_page
from schemas.errors import NotThereError

router = api_router("segments")
SchemeName = Annotated[str, Path(max_length=100, description="A segmentation, by the id of its tag.")]


class Segmentation(Said):
    """A way to segment: every user stands in exactly one of its segments."""

    scheme: str
    name: Worded
    segments: tuple[str, ...]


class SegmentNow(Said):
    """One segment in the newest release. ``label`` and ``strategy`` are absent where the catalogue has none."""

    segment: str | None
    label: Worded | None
    strategy: Worded | None
    members: int
    visitors: int


class SegmentationNow(Said):
    """A segmentation in the newest release (``as_of`` is absent before it was in one)."""

    scheme: str
    name: Worded
    as_of: date | None
    segments: tuple[SegmentNow, ...]


class Move(Said):
    """Users who stood in one segment and stand in another; ``NEW`` and ``LOST`` are outside of the base."""

    before: str
    after: str
    users: int


class Moves(Said):
    """Who moved between two days: pairs, and each segment's balance."""

    scheme: str
    first: date
    last: date
    moves: tuple[Move, ...]
    segments: tuple[SegmentFlow, ...]
    warnings: tuple[str, ...]


@router.get("/segments", responses=UNCHANGED, dependencies=[Depends(allowed("segments.read"))])
def list_segmentations(request: Request, cursor: Cursor = None, limit: Limit = 50) -> Page[Segmentation]:
    """The ways to segment that the catalogue has."""
    catalogue = shop_of(request).project().catalogue
    found = [
        Segmentation(
            scheme=name,
            name=Worded(zh=catalogue.tag(name).name.zh, en=catalogue.tag(name).name.en),
            segments=tuple(map(str, catalogue.tag(name).finite or ())),
        )
        for name in catalogue.schemes
    ]
    return page_of(found, lambda one: one.scheme, cursor, limit)


@router.get("/segments/{scheme}", responses=UNCHANGED, dependencies=[Depends(allowed("segments.read"))])
def get_segmentation(request: Request, scheme: SchemeName) -> SegmentationNow:
    """Its segments with their people in the newest release."""
    project = shop_of(request).project()
    if scheme not in project.catalogue.schemes:
        raise NotThereError(f"no segmentation {scheme!r:.60}; there are {', '.join(project.catalogue.schemes)}")
    page, tag = tag_page(project, scheme), project.catalogue.tag(scheme)
    counts: dict[str | None, list[int]] = {}
    for row in () if page.standing is None else page.standing.distribution:
        counts.setdefault(row["value"], [0, 0])[0 if row["is_member"] else 1] += int(row["users"])
    return SegmentationNow(
        scheme=scheme,
        name=Worded(zh=tag.name.zh, en=tag.name.en),
        as_of=None if page.standing is None else page.standing.as_of,
        segments=tuple(
            SegmentNow(
                segment=value,
                label=Worded(zh=tag.labels[value].zh, en=tag.labels[value].en) if value in tag.labels else None,
                strategy=Worded(zh=tag.strategies[value].zh, en=tag.strategies[value].en)
                if value in tag.strategies
                else None,
                members=members,
                visitors=visitors,
            )
            for value, (members, visitors) in counts.items()
        ),
    )


@router.get("/segments/{scheme}/moves", responses=UNCHANGED, dependencies=[Depends(allowed("segments.read"))])
def get_moves(
    request: Request,
    scheme: SchemeName,
    first: Annotated[date, Query(description="The older day; it must have been released.")],
    last: Annotated[date, Query(description="The newer day.")],
) -> Moves:
    """Who moved from which segment to which between two released days."""
    found = flow(shop_of(request).project(), scheme, first, last)
    moves = tuple(Move(before=a, after=b, users=n) for (a, b), n in sorted(found.counts.items()))
    return Moves(
        scheme=found.scheme, first=first, last=last, moves=moves, segments=found.segments, warnings=found.warnings
    )
