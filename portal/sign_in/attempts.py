"""Signing in by a password: every attempt counts before it is judged, and too many lock the login for a while."""

from __future__ import annotations

from datetime import timedelta

from portal.sign_in.people import row_of_login
from portal.sign_in.secrets import is_password
from portal.state.opened import State
from project.portal_settings import PortalLimits


def person_with_password(state: State, limits: PortalLimits, login: str, password: str) -> int | None:
    """Whose login and password these are, by number; None where they are nobody's, or the login is locked.

    An unknown login, a locked one and a wrong password take as long as the right one and cannot be told apart.
    """
    login, now = login.strip().lower(), state.now()
    hashed = None
    with state.writing() as session:
        row = row_of_login(session, login)
        if row is not None and row.is_active and (row.locked_until is None or row.locked_until <= now):
            hashed = row.password_hash
            row.failures += 1
            if row.failures >= limits.failures_before_lock:
                row.failures, row.locked_until = 0, now + timedelta(minutes=limits.lock_minutes)
    if not is_password(password, hashed) or row is None:
        return None
    with state.writing() as session:
        found = row_of_login(session, login)
        if found is None or found.password_hash != hashed:
            return None
        found.failures, found.locked_until = 0, None
        return found.id
