"""How errors end: as a page for people, as problem details (RFC 9457) for programs; a defect never shows its inside."""

from __future__ import annotations

import logging
import math
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from portal.parts import base_path_of, is_api, shop_of
from portal.rendering import render
from portal.sign_in.csrf import SAFE_METHODS, ForgedError
from portal.sign_in.gate import RefusedError, SignInNeededError
from portal.sign_in.oidc import NotVouchedError
from portal.sign_in.pace import TooManyError
from schemas.errors import (
    AuditError,
    ConfigurationError,
    DiskFullError,
    HuaxiangError,
    InputError,
    LockedError,
    NotThereError,
    OutdatedError,
    StoreError,
    UsageError,
)
from schemas.text import Text

log = logging.getLogger("huaxiang.portal")
STATUS: tuple[tuple[type[HuaxiangError], int], ...] = (
    (NotThereError, 404),
    (NotVouchedError, 403),
    (LockedError, 409),
    (OutdatedError, 409),
    (AuditError, 409),
    (UsageError, 422),
    (ConfigurationError, 422),
    (InputError, 422),
    (StoreError, 503),
    (DiskFullError, 507),
)
SAID = {
    400: Text("请求的内容无法读取。", "What was sent cannot be read."),
    401: Text("请先登录。", "Please sign in."),
    403: Text("您的角色不能做这件事。", "Your role may not do this."),
    404: Text("没有这个页面。", "There is no such page."),
    405: Text("这个地址不接受此操作。", "This address does not take that."),
    408: Text("请求来得太慢。", "The request came too slowly."),
    413: Text("内容太大。", "That is too large."),
    422: Text("有内容无法理解。", "Something there cannot be meant."),
    429: Text("请求太频繁，请稍候。", "Too many requests; wait a moment."),
    500: Text("画像出了故障，已记录。", "A defect of Huaxiang; it has been noted."),
}
FORGED = Text(
    "这个表单已过期，或不是从本站页面提交的：请回到页面再试一次。",
    "This form is too old or does not come from a page of ours: go back to the page and try again.",
)


def problem(status: int, title: str, detail: str = "", **more: Any) -> JSONResponse:
    """Problem details; ``errors`` lists mistakes by field where there are some."""
    body = {"type": "about:blank", "title": title, "status": status, **({"detail": detail} if detail else {}), **more}
    return JSONResponse(body, status, media_type="application/problem+json")


def failed(request: Request, status: int, said: Text, detail: str = "", **more: Any) -> Response:
    """An error's answer for whoever asked."""
    if is_api(request):
        return problem(status, said.en, detail, **more)
    return render(request, "failed.html.j2", status, status=status, said=said, detail=detail)


def _said_of(request: Request, error: HuaxiangError) -> str:
    """What the error says, its files named from the project folder on: where that lies is the machine's own."""
    return str(error).replace(f"{shop_of(request).folder}/", "")


def add_handlers(app: FastAPI) -> None:
    """Errors of every kind end here."""

    @app.exception_handler(SignInNeededError)
    async def _sign_in_needed(request: Request, error: Exception) -> Response:
        if is_api(request):
            answer: Response = problem(401, SAID[401].en)
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        way = f"{base_path_of(request)}/sign-in"
        if request.method in SAFE_METHODS and "HX-Request" not in request.headers:
            asked = request.url.path.removeprefix(base_path_of(request)) or "/"
            query = f"?{request.url.query}" if request.url.query else ""
            way += "?" + urlencode({"next": asked + query})
        if "HX-Request" in request.headers:
            return Response(status_code=401, headers={"HX-Redirect": way})
        return RedirectResponse(way, 303)

    @app.exception_handler(RefusedError)
    async def _refused(request: Request, error: RefusedError) -> Response:
        return failed(request, 403, SAID[403], error.permission)

    @app.exception_handler(ForgedError)
    async def _forged(request: Request, error: Exception) -> Response:
        return failed(request, 403, FORGED)

    @app.exception_handler(TooManyError)
    async def _too_many(request: Request, error: TooManyError) -> Response:
        answer = problem(429, SAID[429].en) if is_api(request) else PlainTextResponse("\n".join(SAID[429]), 429)
        answer.headers["Retry-After"] = str(math.ceil(error.seconds))
        return answer

    @app.exception_handler(HuaxiangError)
    async def _mistaken(request: Request, error: HuaxiangError) -> Response:
        status = next((code for kind, code in STATUS if isinstance(error, kind)), 400)
        return failed(
            request, status, SAID.get(status, Text("无法完成。", "This cannot be done.")), _said_of(request, error)
        )

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        said = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
        return failed(request, 422, SAID[422], said, errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        said = SAID.get(error.status_code, Text("无法完成。", "This cannot be done."))
        answer = failed(request, error.status_code, said)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(400)
    async def _unread(request: Request, error: Exception) -> Response:
        # A body that nests so deep that it cannot be read, among others.
        return failed(request, 400, SAID[400])

    @app.exception_handler(404)
    async def _nowhere(request: Request, error: Exception) -> Response:
        return failed(request, 404, SAID[404])

    @app.exception_handler(405)
    async def _not_so(request: Request, error: Exception) -> Response:
        return failed(request, 405, SAID[405])

    @app.exception_handler(Exception)
    async def _defect(request: Request, error: Exception) -> Response:
        # The route's own form, never the address that was asked for: an address may hold what a person typed.
        route = request.scope.get("route")
        log.error("%s %s: %s", request.method, getattr(route, "path", "?"), type(error).__name__, exc_info=error)
        return failed(request, 500, SAID[500])
