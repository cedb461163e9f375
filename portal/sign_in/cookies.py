"""The portal's cookies: for this host and path only, never read by script, by HTTPS save on this machine."""

from __future__ import annotations

from fastapi import Request, Response

from portal.parts import base_path_of, settings_of
from portal.sign_in.headers import THIS_MACHINE

SESSION = "huaxiang_session"
ANONYMOUS = "huaxiang_form"
"""Holds the token of forms that are shown to who has not signed in."""
FLOW = "huaxiang_flow"
"""Holds a sign-in at a provider that has begun."""
LANGUAGE = "huaxiang_lang"


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int | None = None) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=base_path_of(request) or "/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


def drop_cookie(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(
        name, path=base_path_of(request) or "/", secure=is_secure(request), httponly=True, samesite="lax"
    )


def is_secure(request: Request) -> bool:
    said = settings_of(request).secure_cookies
    return said if said is not None else request.url.hostname not in THIS_MACHINE
