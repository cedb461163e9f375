"""Drafts of audiences on the server: one person's each, every step kept to go back to, whatever becomes of their browser."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from portal.state.opened import State
from portal.state.tables import AudienceVersionRow, DraftRow, DraftStepRow
from schemas.errors import NotThereError, UsageError

MOST_STEPS = 50
"""Steps of a draft that are kept to go back to."""
MOST_DRAFTS = 50
"""Of one person; the oldest must be saved or thrown away before a further one."""


@dataclass(frozen=True)
class AudienceDraft:
    """A draft as it stands. ``audience`` is absent while it has no name; ``base`` is the digest of the file that it began with."""

    id: str
    audience: str | None
    base: str | None
    text: str
    changed_at: datetime
    can_undo: bool
    can_redo: bool


@dataclass(frozen=True)
class SavedVersion:
    """A save of an audience from the portal."""

    audience: str
    version: int
    text: str
    author: str
    reason: str
    saved_at: datetime


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Drafts:
    """The drafts of one person; those of others are not there."""

    def __init__(self, state: State, person: int):
        self.state, self.person = state, person

    def begin(self, text: str, audience: str | None, base: str | None) -> str:
        """A new draft; its id."""
        now, made = self.state.now(), secrets.token_hex(16)
        with self.state.writing() as session:
            mine = session.scalar(select(func.count()).select_from(DraftRow).where(DraftRow.person_id == self.person))
            if (mine or 0) >= MOST_DRAFTS:
                raise UsageError(f"you have {MOST_DRAFTS} drafts; save one or throw one away first")
            session.add(
                DraftRow(
                    id=made,
                    person_id=self.person,
                    audience=audience,
                    base=base,
                    step=0,
                    text=text,
                    created_at=now,
                    changed_at=now,
                )
            )
            session.flush()
            session.add(DraftStepRow(draft_id=made, step=0, text=text))
        return made

    def listed(self) -> list[AudienceDraft]:
        """The person's drafts, the newest first."""
        with self.state.reading() as session:
            wanted = select(DraftRow).where(DraftRow.person_id == self.person).order_by(DraftRow.changed_at.desc())
            return [self._shown(session, row) for row in session.scalars(wanted)]

    def get(self, draft: str) -> AudienceDraft:
        """NotThereError for one that is not the person's, as for one that is nobody's."""
        with self.state.reading() as session:
            return self._shown(session, self._row(session, draft))

    def change(self, draft: str, text: str) -> AudienceDraft:
        """A further step; what was undone before is forgotten, and the oldest steps where there are too many."""
        with self.state.writing() as session:
            row = self._row(session, draft)
            if text != row.text:
                row.step, row.text, row.changed_at = row.step + 1, text, self.state.now()
                of_draft = DraftStepRow.draft_id == draft
                session.execute(delete(DraftStepRow).where(of_draft, DraftStepRow.step >= row.step))
                session.execute(delete(DraftStepRow).where(of_draft, DraftStepRow.step <= row.step - MOST_STEPS))
                session.add(DraftStepRow(draft_id=draft, step=row.step, text=text))
                session.flush()
            return self._shown(session, row)

    def go(self, draft: str, steps: int) -> AudienceDraft:
        """Back (-1) or forth (1); at either end it stays."""
        with self.state.writing() as session:
            row = self._row(session, draft)
            there = session.get(DraftStepRow, (draft, row.step + steps))
            if there is not None:
                row.step, row.text, row.changed_at = there.step, there.text, self.state.now()
                session.flush()
            return self._shown(session, row)

    def drop(self, draft: str) -> None:
        with self.state.writing() as session:
            row = self._row(session, draft)
            session.execute(delete(DraftStepRow).where(DraftStepRow.draft_id == draft))
            session.delete(row)

    def _row(self, session: Session, draft: str) -> DraftRow:
        row = session.get(DraftRow, draft)
        if row is None or row.person_id != self.person:
            raise NotThereError("there is no such draft of yours; it was saved or thrown away, or is somebody else's")
        return row

    def _shown(self, session: Session, row: DraftRow) -> AudienceDraft:
        steps = set(
            session.scalars(
                select(DraftStepRow.step).where(
                    DraftStepRow.draft_id == row.id, DraftStepRow.step.in_([row.step - 1, row.step + 1])
                )
            )
        )
        return AudienceDraft(
            row.id, row.audience, row.base, row.text, row.changed_at, row.step - 1 in steps, row.step + 1 in steps
        )


def note_saved(state: State, audience: str, text: str, author: str, reason: str) -> int:
    """A save as the audience's next version; its number."""
    with state.writing() as session:
        last = session.scalar(
            select(func.max(AudienceVersionRow.version)).where(AudienceVersionRow.audience == audience)
        )
        number = (last or 0) + 1
        session.add(
            AudienceVersionRow(
                audience=audience, version=number, text=text, author=author, reason=reason, saved_at=state.now()
            )
        )
        return number


def saved_versions(state: State, audience: str) -> list[SavedVersion]:
    """Saves of an audience, the newest first."""
    with state.reading() as session:
        rows = session.scalars(
            select(AudienceVersionRow)
            .where(AudienceVersionRow.audience == audience)
            .order_by(AudienceVersionRow.version.desc())
        )
        return [SavedVersion(r.audience, r.version, r.text, r.author, r.reason, r.saved_at) for r in rows]
