"""What all answers of the API have in common: pages of lists, versions of what was read (ETag), and declared errors."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from audiences.language import ID
from portal.requests import NAME
from schemas.errors import UsageError

VERSION = "/api/v1"
LONGEST_CURSOR = 300
MOST_ON_A_PAGE = 200
T = TypeVar("T")

Cursor = Annotated[
    str | None, Query(max_length=LONGEST_CURSOR, description="`next` of the page before; absent for the first page.")
]
Limit = Annotated[int, Query(ge=1, le=MOST_ON_A_PAGE, description="How many of the list at most.")]
AudienceName = Annotated[str, Path(pattern=f"^{ID.pattern}$", description="An audience, by the name of its file.")]
FileStem = Annotated[str, Path(pattern=NAME, max_length=120, description="By the name of its file.")]


class Said(BaseModel):
    """Base of what the API says and takes; what is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class Worded(Said):
    """The same in both languages."""

    zh: str
    en: str


class Page(BaseModel, Generic[T]):
    """A part of a list, and where the next one begins (absent: this was the last)."""

    items: list[T]
    next: str | None = Field(description="Give it as `cursor` for the next page.")


def page_of(found: Sequence[T], key: Callable[[T], str], cursor: str | None, limit: int) -> Page[T]:
    """The part behind the cursor. It holds the last item's key, so that a list that grows loses and repeats nothing.

    UsageError where the cursor names nothing of the list (any more).
    """
    first = 0
    if cursor is not None:
        after = _opened(cursor)
        places = [i for i, one in enumerate(found) if key(one) == after]
        if not places:
            raise UsageError("cursor: names nothing in this list; begin again without it")
        first = places[0] + 1
    part = list(found[first : first + limit])
    return Page(items=part, next=_cursor(key(part[-1])) if first + limit < len(found) else None)


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise UsageError("cursor: is none of ours; begin again without it") from None


def text_version(content: bytes | str) -> str:
    """The ETag of a content."""
    there = content.encode() if isinstance(content, str) else content
    return f'"{hashlib.sha256(there).hexdigest()[:32]}"'


def named_in(header: str | None, version: str) -> bool:
    """Whether ``If-Match`` or ``If-None-Match`` names a version, or all."""
    said = [one.strip().removeprefix("W/") for one in (header or "").split(",")]
    return version in said or "*" in said


class VersionedRoute(APIRoute):
    """What is read carries an ETag, of its content where the route gives none; who has it already is told so (304)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        plain = super().get_route_handler()

        async def versioned(request: Request) -> Response:
            answer = await plain(request)
            if request.method != "GET" or answer.status_code != 200:
                return answer
            if "etag" not in answer.headers and hasattr(answer, "body"):
                answer.headers["ETag"] = text_version(bytes(answer.body))
            version = answer.headers.get("etag")
            asked = request.headers.get("If-None-Match")
            if version is not None and asked is not None and named_in(asked, version):
                return Response(status_code=304, headers={"ETag": version})
            return answer

        return versioned


PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Why it cannot be done, as problem details (RFC 9457).", "content": PROBLEM},
    "5XX": {"description": "The shop's store or disk does not answer, or a defect of ours.", "content": PROBLEM},
}
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It still is what `If-None-Match` names."}}


def api_router(tag: str) -> APIRouter:
    """A router of the API: an operation is named as its function."""
    return APIRouter(
        tags=[tag], route_class=VersionedRoute, responses=ERRORS, generate_unique_id_function=lambda route: route.name
    )
