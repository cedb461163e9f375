"""Tokens of the API: shown once, kept as a digest, bounded by scopes, by a day and by their person's role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from portal.sign_in.people import person_of
from portal.sign_in.roles import PERMISSIONS, Permission, Person
from portal.sign_in.secrets import TOKEN_MARK, digest, new_token
from portal.state.opened import State
from portal.state.tables import PersonRow, TokenRow
from schemas.configuration import nearest
from schemas.errors import NotThereError, UsageError

USED_EVERY = timedelta(minutes=1)
LONGEST_DAYS = 366


def add_token(state: State, person: Person, name: str, scopes: Iterable[str], days: int) -> str:
    """The token, which nobody can see again. UsageError for a scope that the person has not, or a day too far."""
    wanted = sorted(set(scopes))
    for scope in wanted:
        if scope not in PERMISSIONS or scope not in person.permissions:
            raise UsageError(f"scope {scope!r} is not yours; {nearest(scope, sorted(person.permissions))}")
    if not wanted:
        raise UsageError("a token without a scope can do nothing; name one")
    if not 1 <= days <= LONGEST_DAYS:
        raise UsageError(f"a token lives 1 to {LONGEST_DAYS} days, not {days}")
    secret, now = new_token(), state.now()
    row = TokenRow(person_id=person.id, name=name.strip()[:200], digest=digest(secret), scopes=" ".join(wanted))
    row.created_at, row.expires_at = now, now + timedelta(days=days)
    with state.writing() as session:
        session.add(row)
    return secret


def tokens_of(state: State, person_id: int | None = None) -> list[tuple[TokenRow, str]]:
    """Tokens with the login of whose they are, the newest first; of everybody where nobody is named."""
    asked = select(TokenRow, PersonRow.login).join(PersonRow, PersonRow.id == TokenRow.person_id)
    asked = asked.order_by(TokenRow.id.desc())
    if person_id is not None:
        asked = asked.where(TokenRow.person_id == person_id)
    with state.reading() as session:
        return [(row, login) for row, login in session.execute(asked)]


def revoke_token(state: State, number: int, of: int | None = None) -> None:
    """End a token at once; ``of`` names whose it must be. NotThereError where it is nobody's, or another's."""
    with state.writing() as session:
        row = session.get(TokenRow, number)
        if row is None or (of is not None and row.person_id != of):
            raise NotThereError(f"no token {number}")
        row.revoked_at = row.revoked_at or state.now()


def person_of_token(state: State, secret: str) -> Person | None:
    """Whose a token is, with what both its scopes and their role allow; None where it is none, over or taken back."""
    if not secret.startswith(TOKEN_MARK):
        return None
    now = state.now()
    with state.reading() as session:
        row = session.scalar(select(TokenRow).where(TokenRow.digest == digest(secret)))
        if row is None or row.revoked_at is not None or row.expires_at <= now:
            return None
        owner = session.get(PersonRow, row.person_id)
        if owner is None or not owner.is_active:
            return None
        person, number = person_of(owner), row.id
        scopes: frozenset[Permission] = frozenset(p for p in PERMISSIONS if p in row.scopes.split())
        due = row.used_at is None or now - row.used_at >= USED_EVERY
    if due:
        with state.writing() as session:
            used = session.get(TokenRow, number)
            if used is not None:
                used.used_at = now
    return replace(person, permissions=person.permissions & scopes)
