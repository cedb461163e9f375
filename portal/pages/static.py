"""Styles and scripts of the pages, packed and kept by browsers for as long as their address does not change."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from portal.assets import assets
from portal.sign_in.gate import everybody_may
from schemas.errors import NotThereError

router = APIRouter(dependencies=[Depends(everybody_may)])
A_YEAR = "public, max-age=31536000, immutable"


@router.get("/static/{name}")
def static_file(request: Request, name: str, v: str = "") -> Response:
    """One asset; its address carries its version, and another version is not kept."""
    found = assets().get(name)
    if found is None:
        raise NotThereError(f"there is no file {name[:60]!r}")
    headers = {"ETag": f'"{found.version}"', "Vary": "Accept-Encoding"}
    headers["Cache-Control"] = A_YEAR if v == found.version else "no-cache"
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return Response(found.packed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.media_type, headers=headers)
