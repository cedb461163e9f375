"""投放: what left, each delivery as a funnel, and its files to download."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import FileResponse

from audiences.funnel import IN_CHINESE
from portal.access import log_access
from portal.parts import shop_of
from portal.rendering import render
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from portal.words.pages import DELIVERIES
from queries.deliveries import delivered_path, deliveries_made, delivery_page
from schemas.errors import UsageError
from schemas.text import Text

router = APIRouter(prefix="/deliveries")
ON_A_PAGE = 50


@router.get("", dependencies=[Depends(allowed("deliveries.read"))])
def deliveries_list(request: Request, audience: str = "", page: int = 1) -> Response:
    """Deliveries, the newest first."""
    project = shop_of(request).project()
    found = deliveries_made(project, audience or None)
    at = max(1, min(page, -(-len(found) // ON_A_PAGE)))
    return render(
        request,
        "deliveries.html.j2",
        d=DELIVERIES,
        found=found[(at - 1) * ON_A_PAGE : at * ON_A_PAGE],
        total=len(found),
        page=at,
        pages=max(1, -(-len(found) // ON_A_PAGE)),
        audience=audience,
        names={a.id: a.definition.name for a in project.audiences.values()},
        platforms={p.id: p.platform.name for p in project.platforms.values()},
    )


@router.get("/{delivery_id}", dependencies=[Depends(allowed("deliveries.read"))])
def one_delivery(request: Request, delivery_id: str) -> Response:
    """Its funnel, columns and files."""
    project = shop_of(request).project()
    found = delivery_page(project, delivery_id)
    funnel = [
        {
            "said": Text(step["zh"], step["en"]),
            "people": step["people"],
            "lost": [(Text(IN_CHINESE.get(why, why), why), n) for why, n in step["lost"].items()],
        }
        for step in found.manifest.get("funnel", ())
    ]
    return render(
        request,
        "delivery.html.j2",
        d=DELIVERIES,
        found=found,
        funnel=funnel,
        most=max([1, *(s["people"] for s in funnel)]),
        names={a.id: a.definition.name for a in project.audiences.values()},
    )


@router.post("/{delivery_id}/files/{name}")
def download(
    request: Request,
    delivery_id: str,
    name: str,
    person: Annotated[Person, Depends(allowed("deliveries.download"))],
    purpose: Annotated[str, Form(max_length=300)] = "",
) -> Response:
    """One file of a delivery, whole, after it was noted who took it and what for."""
    if not purpose.strip():
        raise UsageError("say what the file is for: it holds people's data, and the look is noted")
    path = delivered_path(shop_of(request).project(), delivery_id, name)
    log_access(request, person, "download", f"delivery {delivery_id}: {name}", purpose.strip())
    return FileResponse(path, filename=name, media_type="application/octet-stream")
