"""Two texts of an audience held against each other at a release: what differs, and whom the newer brings and loses."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from audiences.bits import how_many
from audiences.language import read_text
from project.audience import with_elders
from project.folder import Project
from queries.audience_draft import draft_path, draft_plan
from queries.preview import ReleaseColumns


@dataclass(frozen=True)
class ComparedTexts:
    """People of the older text, of the newer and of both; ``lines`` are those of a unified difference."""

    users_before: int
    users_after: int
    stayed: int
    gained: int
    lost: int
    lines: tuple[str, ...]


def compared_texts(project: Project, columns: ReleaseColumns, name: str, older: str, newer: str) -> ComparedTexts:
    """ConfigurationError where one of them cannot be meant any more (a tag that is gone since)."""
    path = draft_path(project, name)
    was, now = (
        columns.judged(with_elders(project.lake, columns.at, draft_plan(project, read_text(text, path))))[0].members
        for text in (older, newer)
    )
    lines = difflib.unified_diff(older.splitlines(), newer.splitlines(), lineterm="", n=2)
    return ComparedTexts(
        users_before=how_many(was),
        users_after=how_many(now),
        stayed=how_many(was & now),
        gained=how_many(now & ~was),
        lost=how_many(was & ~now),
        lines=tuple(list(lines)[2:]),
    )
