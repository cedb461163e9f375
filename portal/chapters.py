"""Chapters of the report as pages show them: read once for a release, then held while it is the newest."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from lake.releases import Release
from project.folder import Project
from report.blocks import Section, Tile
from report.data import ReportData, report_data
from report.page import attention, overview, sections
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
        self._held: tuple[Project, Chapters] | None = None

    def of(self, project: Project, at: Release) -> Chapters:
        """The chapters of a release, read anew where the release or the project's files are others."""
        with self._lock:
            if self._held is None or self._held[0] is not project or self._held[1].at.number != at.number:
                data = report_data(project, at)
                told = {s.id: s for s in sections(data)}
                self._held = (project, Chapters(at, data, overview(data), tuple(attention(data)), told))
            return self._held[1]
