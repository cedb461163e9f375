"""活动: calendar, stages against targets, lift with its interval, and what was learnt, as the report tells it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from portal.parts import shop_of
from portal.rendering import render
from portal.sign_in.gate import allowed
from portal.words.pages import CAMPAIGNS

router = APIRouter(prefix="/campaigns", dependencies=[Depends(allowed("campaigns.read"))])


@router.get("")
def campaigns(request: Request) -> Response:
    """Every campaign of the shop."""
    chapters = shop_of(request).chapters()
    section = None if chapters is None else chapters.sections.get("campaigns")
    return render(
        request, "campaigns.html.j2", section=section, c=CAMPAIGNS, at=None if chapters is None else chapters.at
    )
