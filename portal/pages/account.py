"""我的账号: one's own password and tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.parts import base_path_of, portal_of, settings_of, state_of
from portal.rendering import render
from portal.sign_in.attempts import person_with_password
from portal.sign_in.cookies import SESSION, set_cookie
from portal.sign_in.gate import allowed
from portal.sign_in.people import set_password
from portal.sign_in.roles import PERMISSIONS, Person
from portal.sign_in.sessions import begin_session
from portal.sign_in.tokens import add_token, revoke_token, tokens_of
from portal.words.admin import ADMIN, PERMISSION_NAMES
from schemas.text import Text

router = APIRouter(prefix="/account")
Me = Annotated[Person, Depends(allowed("home.read"))]


@router.get("")
def account_page(request: Request, person: Me) -> Response:
    return _page(request, person)


@router.post("/password")
def change_own_password(
    request: Request, person: Me, old: Annotated[str, Form()] = "", new: Annotated[str, Form()] = ""
) -> Response:
    """Another password for who knows the one there is; every other session of theirs ends."""
    state, settings = state_of(request), settings_of(request)
    portal_of(request).tries.ask(f"person {person.id}")
    if person_with_password(state, settings.limits, person.login, old) != person.id:
        return _page(request, person, 403, wrong=ADMIN.not_yours)
    set_password(state, person.login, new)
    response = _page(request, person, said=ADMIN.changed)
    set_cookie(request, response, SESSION, begin_session(state, settings, person.id))
    return response


@router.post("/tokens")
def make_token(
    request: Request,
    person: Me,
    name: Annotated[str, Form()] = "",
    scopes: Annotated[list[str] | None, Form()] = None,
    days: Annotated[int, Form()] = 90,
) -> Response:
    """A token for a program; it stands on the page that answers, and nowhere else."""
    secret = add_token(state_of(request), person, name, scopes or [], days)
    return _page(request, person, made=secret)


@router.post("/tokens/{number}/revoke")
def take_own_token_back(request: Request, person: Me, number: int) -> Response:
    revoke_token(state_of(request), number, of=person.id)
    return RedirectResponse(f"{base_path_of(request)}/account", 303)


def _page(
    request: Request,
    person: Person,
    status: int = 200,
    *,
    wrong: Text | None = None,
    said: Text | None = None,
    made: str | None = None,
) -> Response:
    state = state_of(request)
    return render(
        request,
        "account.html.j2",
        status,
        a=ADMIN,
        found=tokens_of(state, person.id),
        scopes=[(p, PERMISSION_NAMES[p]) for p in PERMISSIONS if person.may(p)],
        by_password="password" in portal_of(request).ways,
        now=state.now(),
        wrong=wrong,
        said=said,
        made=made,
    )
