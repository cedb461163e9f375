"""分群: a page for each way to segment, as the report's chapters, and every segment as the beginning of an audience."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from portal.parts import shop_of
from portal.rendering import render
from portal.sign_in.gate import allowed
from schemas.errors import NotThereError

router = APIRouter(prefix="/segments", dependencies=[Depends(allowed("segments.read"))])
ELSEWHERE = ("tags", "campaigns", "quality")
"""Chapters that have a page of their own."""


@router.get("")
def segments(request: Request) -> HTMLResponse:
    """Every segmentation with its segments, their sizes, and a way to make an audience of each."""
    shop = shop_of(request)
    chapters = shop.chapters()
    schemes = []
    data = None if chapters is None else chapters.data
    for name in () if data is None else shop.project().catalogue.schemes:
        assert data is not None
        counts = data.segments.get(name, {})
        whole = sum(sum(c.values()) for c in counts.values()) or 1
        rows = [
            {
                "value": value,
                "said": data.words.value(name, value),
                "members": counts[value].get(True, 0),
                "visitors": counts[value].get(False, 0),
                "share": sum(counts[value].values()) / whole,
                "strategy": data.words.said(name, value),
            }
            for value in data.words.order(name, there=counts)
            if value in counts
        ]
        schemes.append({"tag": name, "said": data.words.tag(name), "rows": rows})
    return render(request, "segments.html.j2", schemes=schemes, **_common(request))


@router.get("/{chapter}")
def one_chapter(request: Request, chapter: str) -> HTMLResponse:
    """One way to segment with its figures, charts and tables."""
    chapters = shop_of(request).chapters()
    if chapters is None or chapter not in chapters.sections or chapter in ELSEWHERE:
        raise NotThereError(f"there is no page of segments {chapter[:60]!r} in this release")
    return render(request, "chapter.html.j2", section=chapters.sections[chapter], **_common(request))


def _common(request: Request) -> dict[str, Any]:
    chapters = shop_of(request).chapters()
    found = [] if chapters is None else [s for s in chapters.sections.values() if s.id not in ELSEWHERE]
    return {"at": None if chapters is None else chapters.at, "sections": found}
