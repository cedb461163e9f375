"""Every route's gate: who asks, and whether they may. A route without one is found by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from portal.parts import address_of, is_api, portal_of, settings_of, state_of
from portal.sign_in.cookies import ANONYMOUS, SESSION
from portal.sign_in.csrf import check_csrf
from portal.sign_in.people import person_of
from portal.sign_in.proxy import vouched_for
from portal.sign_in.roles import Permission, Person
from portal.sign_in.secrets import new_secret
from portal.sign_in.sessions import session_of
from portal.sign_in.tokens import person_of_token
from portal.state.tables import PersonRow

LANGUAGES = ("zh", "en")
DECLARED: dict[Callable[..., Any], Permission | None] = {}
"""Gates and the permission that each asks for; None where everybody may come."""


class SignInNeededError(Exception):
    """Nobody has signed in, or the session is over."""


class RefusedError(Exception):
    """Who asks may not."""

    def __init__(self, permission: Permission):
        super().__init__(permission)
        self.permission = permission


@dataclass(frozen=True)
class Asking:
    """Who asks; ``csrf`` is absent where a token of the API says who, which no browser sends by itself."""

    person: Person
    csrf: str | None


@cache
def allowed(permission: Permission) -> Callable[..., Any]:
    """The gate of routes that ask for a permission; it gives the person."""

    async def person_who_may(request: Request) -> Person:
        asking = await run_in_threadpool(_who_asks, request)
        if asking is None:
            raise SignInNeededError
        request.state.person, request.state.csrf = asking.person, asking.csrf or ""
        if not asking.person.may(permission):
            raise RefusedError(permission)
        if asking.csrf is not None:
            await check_csrf(request, asking.csrf)
        return asking.person

    DECLARED[person_who_may] = permission
    return person_who_may


async def everybody_may(request: Request) -> Person | None:
    """The gate of routes that need no sign-in; their forms carry a token all the same."""
    asking = await run_in_threadpool(_who_asks, request)
    request.state.person = asking.person if asking else None
    kept = request.cookies.get(ANONYMOUS)
    request.state.csrf = (asking.csrf if asking else kept) or new_secret()
    await check_csrf(request, request.state.csrf)
    return asking.person if asking else None


DECLARED[everybody_may] = None


def _who_asks(request: Request) -> Asking | None:
    """Who asks, if they do not ask too often (TooManyError)."""
    found = _known(request)
    portal_of(request).pace.ask(f"person {found.person.id}" if found else f"address {address_of(request)}")
    return found


def _known(request: Request) -> Asking | None:
    state, settings = state_of(request), settings_of(request)
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    # Pages are for people: a token that leaked must not open the admin's. Airflow adds one of its own to what it hands on.
    if scheme.lower() == "bearer" and is_api(request) and not portal_of(request).in_airflow:
        person = person_of_token(state, secret.strip())
        return None if person is None else Asking(person, None)
    cookie = request.cookies.get(SESSION)
    found = session_of(state, settings, cookie) if cookie else None
    if found is None:
        return None
    vouched = vouched_for(request)
    if vouched is None and portal_of(request).in_airflow:
        return None
    if vouched is not None and vouched.login.strip().lower() != found.person.login:
        # Somebody else signed in there by now, in the same browser.
        return None
    return Asking(_in_language(request, found.person), found.csrf)


def _in_language(request: Request, person: Person) -> Person:
    """The person; a language that the address asks for (``?lang=``) is theirs from now on."""
    asked = request.query_params.get("lang")
    if asked not in LANGUAGES or asked == person.language:
        return person
    with state_of(request).writing() as session:
        row = session.get(PersonRow, person.id)
        if row is None:
            return person
        row.language = asked
        return person_of(row)
