"""Which release everything is answered from."""

from __future__ import annotations

from datetime import date, datetime

from fastapi import Depends, Request

from lake.releases import Release
from lake.releases import releases as all_releases
from portal.api.answers import UNCHANGED, Cursor, Limit, Page, Said, api_router, page_of
from portal.parts import shop_of
from portal.sign_in.gate import allowed

router = api_router("release")


class ReleaseSaid(Said):
    """One published state of the shop. ``refused`` counts by feed the files whose rows are in no number."""

    number: int
    as_of: date
    created_at: datetime
    refused: dict[str, int]


def _said_of(at: Release) -> ReleaseSaid:
    return ReleaseSaid(number=at.number, as_of=at.as_of, created_at=at.created_at, refused=at.refused)


@router.get("/release", responses=UNCHANGED, dependencies=[Depends(allowed("home.read"))])
def get_release(request: Request) -> ReleaseSaid:
    """The newest release: what pages and this API show."""
    return _said_of(shop_of(request).release())


@router.get("/releases", responses=UNCHANGED, dependencies=[Depends(allowed("home.read"))])
def list_releases(request: Request, cursor: Cursor = None, limit: Limit = 50) -> Page[ReleaseSaid]:
    """Every release that can be read, the newest first."""
    found = [_said_of(one) for one in reversed(all_releases(shop_of(request).project().lake))]
    return page_of(found, lambda one: str(one.number), cursor, limit)
