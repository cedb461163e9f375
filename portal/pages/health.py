"""Whether the portal lives (``/healthz``), and whether it can answer (``/readyz``)."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from portal.parts import shop_of, state_of
from portal.sign_in.gate import everybody_may
from schemas.errors import HuaxiangError

router = APIRouter(dependencies=[Depends(everybody_may)])


@router.get("/healthz")
def healthz() -> JSONResponse:
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    found = {"state": state_of(request).is_ready(), "release": _has_release(request)}
    return JSONResponse(
        {"status": "ok" if all(found.values()) else "not ready", **found}, 200 if all(found.values()) else 503
    )


def _has_release(request: Request) -> bool:
    try:
        shop_of(request).release()
    except HuaxiangError:
        return False
    return True
