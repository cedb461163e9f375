"""首页: the release of the day, what needs attention, how fresh the data is, and where people stand in AIPL."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from portal.parts import shop_of
from portal.rendering import render
from portal.sign_in.gate import allowed
from queries.status import status
from report.words import FEEDS
from schemas.text import Text

router = APIRouter(dependencies=[Depends(allowed("home.read"))])
ON_HOME = ("aipl", "pyramid")
"""Chapters of the report of which the page shows the first blocks."""


@router.get("/")
def home(request: Request) -> HTMLResponse:
    """How the shop's users are today."""
    shop = shop_of(request)
    found = status(shop.project())
    chapters = shop.chapters()
    blocks = (
        []
        if chapters is None
        else [b for name in ON_HOME if name in chapters.sections for b in chapters.sections[name].blocks[:2]]
    )
    feeds = [{**f, "label": FEEDS.get(f["feed"], Text(f["feed"], f["feed"]))} for f in found["feeds"]]
    return render(
        request,
        "home.html.j2",
        at=None if chapters is None else chapters.at,
        chapters=chapters,
        blocks=blocks,
        found=found,
        feeds=feeds,
    )
