"""What left, and its files."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from fastapi.responses import FileResponse

from portal.access import LONGEST_PURPOSE, log_access
from portal.api.answers import UNCHANGED, Cursor, Limit, Page, Said, Worded, api_router, page_of
from portal.parts import shop_of
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from queries.deliveries import delivered_path, deliveries_made, delivery_page
from schemas.errors import UsageError

router = api_router("deliveries")
DeliveryId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class DeliveryListed(Said):
    """A delivery. ``moved`` is by which share it has more or fewer rows than the one of its kind before."""

    delivery_id: str
    audience: str
    platform: str | None
    campaign: str | None
    stage: str | None
    arm: str | None
    as_of: date
    release: int
    rows: int
    checksum: str
    requested_by: str
    created_at: datetime
    moved: float | None


class FunnelStage(Said):
    """People left after a stage, and whom it lost by reason."""

    said: Worded
    people: int
    lost: dict[str, int]


class FileDelivered(Said):
    """A file of a delivery; ``is_there``: it can be downloaded."""

    name: str
    rows: int | None
    bytes: int | None
    checksum: str | None
    is_there: bool


class DeliveryTold(Said):
    """A delivery from its people to its files. ``problem`` says why there is no more than the list has."""

    delivery: DeliveryListed
    funnel: tuple[FunnelStage, ...]
    columns: tuple[dict[str, Any], ...]
    files: tuple[FileDelivered, ...]
    left_out: dict[str, int]
    notes: tuple[str, ...]
    problem: str | None


@router.get("/deliveries", responses=UNCHANGED, dependencies=[Depends(allowed("deliveries.read"))])
def list_deliveries(
    request: Request,
    audience: Annotated[str | None, Query(max_length=120)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DeliveryListed]:
    """Deliveries, the newest first."""
    found = deliveries_made(shop_of(request).project(), audience)
    part = page_of(found, lambda one: one.delivery_id, cursor, limit)
    return Page(items=[DeliveryListed.model_validate(one) for one in part.items], next=part.next)


@router.get("/deliveries/{delivery_id}", responses=UNCHANGED, dependencies=[Depends(allowed("deliveries.read"))])
def get_delivery(request: Request, delivery_id: DeliveryId) -> DeliveryTold:
    """One delivery as a funnel, with its columns and files."""
    found = delivery_page(shop_of(request).project(), delivery_id)
    said = found.manifest
    return DeliveryTold(
        delivery=DeliveryListed.model_validate(found.delivery),
        funnel=tuple(
            FunnelStage(said=Worded(zh=step["zh"], en=step["en"]), people=step["people"], lost=step["lost"])
            for step in said.get("funnel", ())
        ),
        columns=tuple(said.get("columns", ())),
        files=tuple(
            FileDelivered(name=f.name, rows=f.rows, bytes=f.bytes, checksum=f.checksum, is_there=f.path is not None)
            for f in found.files
        ),
        left_out=said.get("left_out", {}),
        notes=tuple(said.get("notes", ())),
        problem=found.problem,
    )


@router.get(
    "/deliveries/{delivery_id}/files/{name}",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The file as it was delivered.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The part that `Range` asks for."},
        **UNCHANGED,
    },
)
def download_file(
    request: Request,
    delivery_id: DeliveryId,
    name: Annotated[str, Path(max_length=200)],
    purpose: Annotated[
        str,
        Query(
            min_length=1,
            max_length=LONGEST_PURPOSE,
            pattern=r"\S",
            description="What the people's data is for; it is noted, with who took it. Name nobody in it.",
        ),
    ],
    person: Annotated[Person, Depends(allowed("deliveries.download"))],
) -> FileResponse:
    """One file, streamed; a part of it where `Range` asks for one."""
    if not purpose.strip():
        raise UsageError("purpose: say what the file is for")
    path = delivered_path(shop_of(request).project(), delivery_id, name)
    log_access(request, person, "download", f"delivery {delivery_id}: {name}", purpose.strip())
    # Its size and time are known before it is sent, so that who has it already is told so.
    return FileResponse(path, filename=name, media_type="application/octet-stream", stat_result=path.stat())
