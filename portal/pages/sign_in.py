"""登录 Sign in by password, by a provider or by a proxy; and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import RedirectResponse

from portal.parts import address_of, base_path_of, portal_of, settings_of, state_of
from portal.rendering import render
from portal.sign_in.attempts import person_with_password
from portal.sign_in.cookies import ANONYMOUS, FLOW, SESSION, drop_cookie, set_cookie
from portal.sign_in.gate import allowed, everybody_may
from portal.sign_in.oidc import Flow, NotVouchedError, Provider
from portal.sign_in.proxy import vouched_for
from portal.sign_in.sessions import begin_session, end_session
from portal.sign_in.vouched import person_by_claims, person_by_login
from schemas.text import Text

router = APIRouter()
NOT_RIGHT = Text(
    "用户名或密码不对；连续多次输错后要等一会儿才能再试。",
    "Name or password is wrong; after several wrong ones, wait a while before the next.",
)
FLOW_SECONDS = 600


@router.get("/sign-in", dependencies=[Depends(everybody_may)])
def sign_in_page(request: Request, next: str = "/") -> Response:
    if request.state.person is not None:
        return _onward(request, next)
    if (vouched := vouched_for(request)) is not None:
        return _entered(request, person_by_login(state_of(request), vouched).id, next)
    return _page(request, next)


@router.post("/sign-in", dependencies=[Depends(everybody_may)])
def sign_in(
    request: Request,
    login: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    settings = settings_of(request)
    if "password" not in portal_of(request).ways:
        raise HTTPException(404)
    portal_of(request).tries.ask(address_of(request))
    person_id = person_with_password(state_of(request), settings.limits, login, password)
    if person_id is None:
        return _page(request, next, 401, NOT_RIGHT)
    return _entered(request, person_id, next)


@router.get("/sign-in/oidc", dependencies=[Depends(everybody_may)])
def begin_at_provider(request: Request, next: str = "/") -> Response:
    portal_of(request).tries.ask(address_of(request))
    way, flow = _provider(request).begin(_returns_to(request), _inside(next))
    response = RedirectResponse(way, 303)
    set_cookie(request, response, FLOW, flow.packed(), FLOW_SECONDS)
    return response


@router.get("/sign-in/oidc/return", dependencies=[Depends(everybody_may)])
def back_from_provider(request: Request) -> Response:
    portal_of(request).tries.ask(address_of(request))
    provider, flow = _provider(request), Flow.unpacked(request.cookies.get(FLOW, ""))
    if flow is None:
        raise NotVouchedError("this sign-in was not begun in this browser, or was ended before; begin it again")
    claims = provider.claims(_returns_to(request), flow, dict(request.query_params))
    response = _entered(request, person_by_claims(state_of(request), provider.settings, claims).id, flow.next)
    drop_cookie(request, response, FLOW)
    return response


@router.post("/sign-out", dependencies=[Depends(allowed("home.read"))])
def sign_out(request: Request) -> Response:
    end_session(state_of(request), request.cookies.get(SESSION, ""))
    response = RedirectResponse(f"{base_path_of(request)}/sign-in", 303)
    drop_cookie(request, response, SESSION)
    return response


def _page(request: Request, onward: str, status: int = 200, wrong: Text | None = None) -> Response:
    ways = portal_of(request).ways
    return render(request, "sign_in.html.j2", status, next=_inside(onward), wrong=wrong, ways=ways)


def _entered(request: Request, person_id: int, onward: str) -> Response:
    """A new session for whoever comes in, never one that was there before."""
    end_session(state_of(request), request.cookies.get(SESSION, ""))
    secret = begin_session(state_of(request), settings_of(request), person_id)
    response = _onward(request, onward)
    set_cookie(request, response, SESSION, secret)
    drop_cookie(request, response, ANONYMOUS)
    return response


def _onward(request: Request, way: str) -> Response:
    return RedirectResponse(base_path_of(request) + _inside(way), 303)


def _provider(request: Request) -> Provider:
    found = portal_of(request).provider
    if found is None:
        raise HTTPException(404)
    return found


def _returns_to(request: Request) -> str:
    """The address that the provider sends back to, as it is registered there."""
    return f"{request.url.scheme}://{request.url.netloc}{base_path_of(request)}/sign-in/oidc/return"


def _inside(way: str) -> str:
    """A path of the portal to go on to; home where it leads elsewhere."""
    safe = way.startswith("/") and not way.startswith("//") and "\\" not in way and way.isprintable()
    return way if safe else "/"
