"""Chapters of the report as pages show them: read once for a release, then held while it is the newest."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from lake.releases import Release
from portal.parts import shop_of
from project.folder import Project
from report.blocks import Section, Tile
from report.data import ReportData, report_data
from report.page import attention, overview, sections
from schemas.errors import NotThereError
from schemas.text import Text


@dataclass(frozen=True)
class Chapters:
    """What a release's report holds: its data, the head's numbers, what needs attention, and chapters by id."""

    at: Release
    data: ReportData
    overview: tuple[Tile, ...]
    attention: tuple[Text, ...]
    sections: Mapping[str, Section]


class ChaptersOfRelease:
    """Reading takes a second or two: the first who asks for a release waits, everybody after is answered at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: tuple[tuple[int, int], Chapters] | None = None

    def of(self, project: Project, at: Release) -> Chapters:
        """The chapters of a release, read anew where the release or the project's files are others."""
        key = (at.number, id(project))
        with self._lock:
            if self._held is None or self._held[0] != key:
                data = report_data(project, at)
                told = {s.id: s for s in sections(data)}
                self._held = (key, Chapters(at, data, overview(data), tuple(attention(data)), told))
            return self._held[1]


_CHAPTERS = "chapters"


def chapters_of(request: Request) -> Chapters | None:
    """The newest release's chapters; None before the first release."""
    state = request.app.state
    if not hasattr(state, _CHAPTERS):
        setattr(state, _CHAPTERS, ChaptersOfRelease())
    shop = shop_of(request)
    try:
        at = shop.release()
    except NotThereError:
        return None
    found: Chapters = getattr(state, _CHAPTERS).of(shop.project(), at)
    return found
