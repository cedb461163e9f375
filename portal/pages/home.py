"""首页 Home."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from portal.parts import shop_of
from portal.rendering import render
from portal.sign_in.gate import allowed

router = APIRouter(dependencies=[Depends(allowed("home.read"))])


@router.get("/")
def home(request: Request) -> Response:
    return render(request, "home.html.j2", release=shop_of(request).release())
