"""登录 Sign in, and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.parts import base_path_of, settings_of, state_of
from portal.rendering import render
from portal.sign_in.cookies import ANONYMOUS, SESSION, drop_cookie, set_cookie
from portal.sign_in.gate import allowed, everybody_may
from portal.sign_in.people import row_of_login
from portal.sign_in.secrets import is_password
from portal.sign_in.sessions import begin_session, end_session
from portal.state.opened import State
from schemas.text import Text

router = APIRouter()
NOT_RIGHT = Text("用户名或密码不对。", "Name or password is wrong.")


@router.get("/sign-in", dependencies=[Depends(everybody_may)])
def sign_in_page(request: Request, next: str = "/") -> Response:
    if request.state.person is not None:
        return RedirectResponse(base_path_of(request) + _inside(next), 303)
    return render(request, "sign_in.html.j2", next=_inside(next), wrong=None)


@router.post("/sign-in", dependencies=[Depends(everybody_may)])
def sign_in(
    request: Request,
    login: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    person_id = person_with_password(state_of(request), login, password)
    if person_id is None:
        return render(request, "sign_in.html.j2", 401, next=_inside(next), wrong=NOT_RIGHT)
    secret = begin_session(state_of(request), settings_of(request), person_id)
    response = RedirectResponse(base_path_of(request) + _inside(next), 303)
    set_cookie(request, response, SESSION, secret)
    drop_cookie(request, response, ANONYMOUS)
    return response


@router.post("/sign-out", dependencies=[Depends(allowed("home.read"))])
def sign_out(request: Request) -> Response:
    end_session(state_of(request), request.cookies.get(SESSION, ""))
    response = RedirectResponse(f"{base_path_of(request)}/sign-in", 303)
    drop_cookie(request, response, SESSION)
    return response


def person_with_password(state: State, login: str, password: str) -> int | None:
    """Whose login and password these are. An unknown login takes as long as a wrong password."""
    with state.reading() as session:
        row = row_of_login(session, login.strip().lower())
    right = is_password(password, row.password_hash if row is not None and row.is_active else None)
    return row.id if row is not None and right else None


def _inside(way: str) -> str:
    """A path of the portal to go on to; home where it leads elsewhere."""
    safe = way.startswith("/") and not way.startswith("//") and "\\" not in way and way.isprintable()
    return way if safe else "/"
