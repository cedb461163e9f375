"""Who may sign in: added, found, changed."""

from __future__ import annotations

from typing import get_args

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from portal.sign_in.roles import ROLE_MAY, Person
from portal.sign_in.secrets import LONGEST_PASSWORD, SHORTEST_PASSWORD, hashed_password
from portal.state.opened import State
from portal.state.tables import PersonRow, SessionRow
from project.portal_settings import RoleName
from schemas.configuration import nearest
from schemas.errors import HuaxiangError, NotThereError, UsageError

ROLES: tuple[RoleName, ...] = get_args(RoleName)
LONGEST_LOGIN = 120


def person_of(row: PersonRow) -> Person:
    role = known_role(row.role)
    return Person(row.id, row.login, row.name, role, ROLE_MAY[role], row.language, row.theme)


def known_role(role: str) -> RoleName:
    """UsageError names the roles that there are."""
    for known in ROLES:
        if role == known:
            return known
    raise UsageError(f"no role {role!r}; {nearest(role, list(ROLES))}")


def add_person(state: State, login: str, role: str, password: str, name: str = "") -> Person:
    """A person who signs in by password. HuaxiangError where the login is taken, UsageError where it cannot be one."""
    login = as_login(login)
    row = PersonRow(
        login=login, name=name.strip(), role=known_role(role), password_hash=hashed_password(checked(password))
    )
    row.created_at = state.now()
    with state.writing() as session:
        if row_of_login(session, login) is not None:
            raise HuaxiangError(f"there is a person {login!r} already; `huaxiang portal person list` shows all")
        session.add(row)
        session.flush()
        return person_of(row)


def as_login(login: str) -> str:
    """A login as it is kept: without spaces around, in small letters."""
    login = login.strip().lower()
    if not login or len(login) > LONGEST_LOGIN or not login.isprintable() or any(c.isspace() for c in login):
        raise UsageError(f"a login has 1 to {LONGEST_LOGIN} characters and no spaces")
    return login


def checked(password: str) -> str:
    """A password that may be one; UsageError says what is wrong with it, never the password."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; this one has {len(password)}"
        )
    return password


def row_of_login(session: Session, login: str) -> PersonRow | None:
    return session.scalar(select(PersonRow).where(PersonRow.login == login))


def row_of_person(session: Session, login: str) -> PersonRow:
    """NotThereError suggests the nearest login."""
    row = row_of_login(session, as_login(login))
    if row is None:
        raise NotThereError(f"no person {login!r}; {nearest(login, list(session.scalars(select(PersonRow.login))))}")
    return row


def login_of(state: State, number: int) -> str:
    """NotThereError where nobody has that number."""
    with state.reading() as session:
        row = session.get(PersonRow, number)
    if row is None:
        raise NotThereError(f"no person {number}")
    return row.login


def all_people(state: State) -> list[PersonRow]:
    with state.reading() as session:
        return list(session.scalars(select(PersonRow).order_by(PersonRow.login)))


def is_empty(state: State) -> bool:
    """Whether nobody can sign in yet."""
    with state.reading() as session:
        return session.scalar(select(func.count()).select_from(PersonRow)) == 0


def set_password(state: State, login: str, password: str) -> None:
    """Another password: a lock is lifted, and every session of the person ends."""
    hashed = hashed_password(checked(password))
    with state.writing() as session:
        row = row_of_person(session, login)
        row.password_hash, row.failures, row.locked_until = hashed, 0, None
        session.execute(delete(SessionRow).where(SessionRow.person_id == row.id))


def set_role(state: State, login: str, role: str) -> None:
    """Another role, from the next request on. HuaxiangError where it would leave the portal without an admin."""
    with state.writing() as session:
        row = row_of_person(session, login)
        row.role = known_role(role)
        _refuse_without_admin(session)


def set_active(state: State, login: str, *, active: bool) -> None:
    """Whether a person may sign in; who may not is signed out at once."""
    with state.writing() as session:
        row = row_of_person(session, login)
        row.is_active = active
        _refuse_without_admin(session)
        if not active:
            session.execute(delete(SessionRow).where(SessionRow.person_id == row.id))


def _refuse_without_admin(session: Session) -> None:
    session.flush()
    admins = select(func.count()).select_from(PersonRow).where(PersonRow.role == "admin", PersonRow.is_active)
    if session.scalar(admins) == 0:
        raise HuaxiangError("this would leave the portal without an admin; make somebody else one first")
