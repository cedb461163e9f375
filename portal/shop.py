"""The shop that the portal shows: its folder as it is now and its newest release, held in memory and shared by requests."""

from __future__ import annotations

import time
from pathlib import Path
from threading import RLock

from lake.releases import Release, release
from portal.chapters import Chapters, ChaptersOfRelease
from project.folder import SETTINGS_FILE, Project
from project.held import Marks, marks_of
from project.setup import PARTS
from queries.preview import ReachBits, ReleaseColumns
from queries.preview.answer import release_columns
from queries.side_card import SideCards
from schemas.errors import NotThereError

LOOKED_EVERY_SECONDS = 1.0
"""How long what is held is taken for the newest, before folder and releases are looked at again."""
Stamp = tuple[tuple[str, int, int], ...]


class OpenShop:
    """Follows the project folder and the releases: what is held is exchanged whole, one object for all requests.

    Nothing here starts an engine. Columns are mapped when something first asks for them.
    """

    def __init__(self, project: Project):
        self._lock = RLock()
        self._chapters = ChaptersOfRelease()
        self._project = project
        self._stamp = _stamp(project)
        self._looked_at = 0.0
        self._at: Release | None = None
        self._columns: ReleaseColumns | None = None
        self._side_cards: SideCards | None = None
        self._reach: ReachBits | None = None
        self._marks: tuple[ReleaseColumns, Project, Marks] | None = None

    @property
    def folder(self) -> Path:
        return self._project.folder

    def project(self) -> Project:
        """The project folder as its files say now. ConfigurationError where somebody left a mistake in huaxiang.yaml."""
        with self._lock:
            self._look()
            return self._project

    def release(self) -> Release:
        """The newest release; NotThereError before the first."""
        with self._lock:
            self._look()
            if self._at is None:
                self._at = release(self._project.lake)
            return self._at

    def columns(self) -> ReleaseColumns:
        """The newest release's columns, from which previews and counts are answered."""
        with self._lock:
            at = self.release()
            if self._columns is None:
                self._columns = release_columns(self._project, at)
            return self._columns

    def reach(self) -> ReachBits:
        """Whom platforms would reach, by contacts and consents as they are now."""
        with self._lock:
            columns = self.columns()
            if self._reach is None or self._reach.columns is not columns or not self._reach.is_current:
                self._reach = ReachBits(self._project, columns)
            self._reach.project = self._project
            return self._reach

    def marks(self) -> Marks:
        """The newest release's marks of held tags."""
        with self._lock:
            columns = self.columns()
            if self._marks is None or self._marks[0] is not columns or self._marks[1] is not self._project:
                found = marks_of(self._project.lake, self._project.catalogue, columns.at)
                self._marks = (columns, self._project, found)
            return self._marks[2]

    def side_cards(self) -> SideCards:
        """One-user cards of the newest release."""
        with self._lock:
            at = self.release()
            if self._side_cards is None:
                self._side_cards = SideCards(self._project, at.number)
            return self._side_cards

    def chapters(self) -> Chapters | None:
        """The newest release's chapters; None before the first. Nobody who asks for something else waits for their reading."""
        with self._lock:
            try:
                at, project = self.release(), self._project
            except NotThereError:
                return None
        return self._chapters.of(project, at)

    def refresh(self) -> None:
        """Look at the folder and the releases with the next question, as after a save."""
        with self._lock:
            self._looked_at = 0.0

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOOKED_EVERY_SECONDS and self._looked_at:
            return
        self._looked_at = now
        stamp = _stamp(self._project)
        if stamp != self._stamp:
            self._project, self._stamp = Project.load(self._project.folder), stamp
            self._side_cards = None
        if self._at is None:
            return
        newest = release(self._project.lake)
        if newest.number != self._at.number:
            self._at, self._columns, self._side_cards = newest, None, None


def _stamp(project: Project) -> Stamp:
    """What changes whenever a file of the folder is saved, added or taken away."""
    files = [project.folder / SETTINGS_FILE, *(f for kind in PARTS for f in project.files(kind))]
    found = []
    for file in files:
        about = file.stat()
        found.append((str(file), about.st_mtime_ns, about.st_size))
    return tuple(found)
