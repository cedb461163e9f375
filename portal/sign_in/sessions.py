"""Sessions, kept on the server: what the cookie holds is random, and its digest finds the row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete

from portal.sign_in.people import person_of
from portal.sign_in.roles import Person
from portal.sign_in.secrets import digest, new_secret
from portal.state.opened import State
from portal.state.tables import PersonRow, SessionRow
from project.portal_settings import PortalSettings

SEEN_EVERY = timedelta(minutes=1)
"""A session's last use is written down so often at most: a read page need not write."""


@dataclass(frozen=True)
class SignedIn:
    """A live session: whose, and the token that its forms carry."""

    person: Person
    csrf: str


def begin_session(state: State, settings: PortalSettings, person_id: int) -> str:
    """What the cookie of a new session holds. Sessions that ended are swept on the way."""
    secret, now = new_secret(), state.now()
    with state.writing() as session:
        session.execute(delete(SessionRow).where(SessionRow.expires_at < now))
        session.add(
            SessionRow(
                id=digest(secret),
                person_id=person_id,
                csrf=new_secret(),
                created_at=now,
                seen_at=now,
                expires_at=now + timedelta(hours=settings.session_hours),
            )
        )
    return secret


def session_of(state: State, settings: PortalSettings, secret: str) -> SignedIn | None:
    """The session that a cookie names: None where there is none, it is over, was idle for too long or its person may not."""
    now, idle = state.now(), timedelta(minutes=settings.idle_minutes)
    with state.reading() as session:
        row = session.get(SessionRow, digest(secret))
        if row is None or row.expires_at <= now or row.seen_at + idle <= now:
            return None
        owner = session.get(PersonRow, row.person_id)
        if owner is None or not owner.is_active:
            return None
        found = SignedIn(person_of(owner), row.csrf)
        due = now - row.seen_at >= SEEN_EVERY
    if due:
        with state.writing() as session:
            seen = session.get(SessionRow, digest(secret))
            if seen is not None:
                seen.seen_at = now
    return found


def end_session(state: State, secret: str) -> None:
    with state.writing() as session:
        session.execute(delete(SessionRow).where(SessionRow.id == digest(secret)))
