"""People whom somebody else vouches for: a provider, a proxy, Airflow. They are found, or let in with a role, or not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from portal.sign_in.oidc import NotVouchedError
from portal.sign_in.people import ROLES, as_login, person_of, row_of_login
from portal.sign_in.proxy import Vouched
from portal.sign_in.roles import Person
from portal.state.opened import State
from portal.state.tables import PersonRow
from project.portal_settings import OidcSettings, RoleName
from schemas.errors import UsageError

NO_ENTRY = "you are known, but nobody gave you a role in the portal; an admin can"


def person_by_claims(state: State, settings: OidcSettings, claims: dict[str, Any]) -> Person:
    """Whom a provider's claims speak of. NotVouchedError where they have no role here, or their login is another's."""
    said = claims.get(settings.login_claim) or claims.get("email") or claims["sub"]
    subject = f"{claims['iss']} {claims['sub']}"
    role = _role(settings, claims)
    if settings.role_claim is not None and role is None:
        raise NotVouchedError(NO_ENTRY)
    return _let_in(state, "oidc", str(said), subject, role, settings.else_role, str(claims.get("name", "")))


def person_by_login(state: State, vouched: Vouched) -> Person:
    """Whom a proxy or Airflow signed in."""
    return _let_in(state, vouched.origin, vouched.login, None, vouched.role, vouched.else_role, "")


def _role(settings: OidcSettings, claims: dict[str, Any]) -> RoleName | None:
    """The strongest role that a value of the claim gives."""
    if settings.role_claim is None:
        return None
    said = claims.get(settings.role_claim, ())
    values = {said} if isinstance(said, str) else {str(v) for v in said}
    given = {settings.roles[v] for v in values if v in settings.roles}
    return next((r for r in reversed(ROLES) if r in given), settings.else_role)


def _let_in(
    state: State,
    origin: str,
    said: str,
    subject: str | None,
    role: RoleName | None,
    else_role: RoleName | None,
    name: str,
) -> Person:
    try:
        login = as_login(said)
    except UsageError as e:
        raise NotVouchedError(str(e)) from None
    with state.writing() as session:
        row = session.scalar(select(PersonRow).where(PersonRow.subject == subject)) if subject else None
        row = row or row_of_login(session, login)
        if row is not None and (row.origin != origin or (subject and row.subject not in (None, subject))):
            # Or whoever chooses their name at the provider would be the admin here.
            raise NotVouchedError(f"the login {login!r} is somebody else's here; an admin can rename them")
        if row is None:
            given = role or else_role
            if given is None:
                raise NotVouchedError(NO_ENTRY)
            row = PersonRow(login=login, name=name[:200], role=given, origin=origin, is_active=True)
            row.created_at = state.now()
            session.add(row)
        if not row.is_active:
            raise NotVouchedError(NO_ENTRY)
        row.subject = row.subject or subject
        row.role = role or row.role
        session.flush()
        return person_of(row)
