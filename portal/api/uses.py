"""What is asked of a saved audience: its versions, whom it shares, who its people are, whom its files would reach."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from audiences.bits import Bits, how_many
from audiences.language import Audience, named
from audiences.platforms import platform_named
from portal.access import log_access
from portal.api.answers import UNCHANGED, AudienceName, Cursor, Limit, Page, api_router, page_of
from portal.parts import shop_of
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from project.folder import Project
from queries.audience_insight import AudienceProfile, Overlaps, overlaps_of, profile_of_people
from queries.audience_life import AS_IN_FILES, ComparedVersions, VersionOfAudience, compared_versions, history_of
from queries.audience_people import MaskedSample, ReachByPlatform, masked_sample
from queries.audience_sizes import SizeThen, sizes_over_releases
from queries.preview import ReleaseColumns
from queries.preview.answer import people_at

router = api_router("audiences")
MOST_TAGS = 50
MOST_SAMPLED = 100
MOST_DAYS = 60
VERSION_NUMBER = "^[0-9]{1,9}$"
TagNames = Annotated[list[str], Query(max_length=MOST_TAGS, description="Tags to look at; absent: as the shop says.")]


@router.get("/audiences/{name}/versions", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def list_versions(
    request: Request, name: AudienceName, cursor: Cursor = None, limit: Limit = 50
) -> Page[VersionOfAudience]:
    """Every definition that was built, the newest first."""
    return page_of(history_of(shop_of(request).project(), name), lambda v: str(v.version), cursor, limit)


@router.get("/audiences/{name}/compare", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def compare_versions(
    request: Request,
    name: AudienceName,
    older: Annotated[
        str | None, Query(pattern=VERSION_NUMBER, description="A version; absent: the last that differs.")
    ] = None,
    newer: Annotated[
        str, Query(pattern=f"{VERSION_NUMBER}|^{AS_IN_FILES}$", description="A version, or `now`: as the file says.")
    ] = AS_IN_FILES,
) -> ComparedVersions:
    """Whom a change of the definition brings and whom it loses."""
    at = shop_of(request).release().number
    return compared_versions(shop_of(request).project(), name, older, newer, which=at)


@router.get("/audiences/{name}/overlap", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def get_overlap(request: Request, name: AudienceName) -> Overlaps:
    """Whom it shares with every other audience, and which are nearly the same."""
    project, columns, _, people = _asked(request, name)
    return overlaps_of(project, columns, name, people)


@router.get("/audiences/{name}/profile", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def get_profile(request: Request, name: AudienceName, tag: TagNames = []) -> AudienceProfile:  # noqa: B006
    """By which values of tags its members stand out from the shop's others."""
    project, columns, _, people = _asked(request, name)
    return profile_of_people(project, columns, name, people, tags=tag)


@router.get("/audiences/{name}/sample", responses=UNCHANGED)
def get_sample(
    request: Request,
    name: AudienceName,
    person: Annotated[Person, Depends(allowed("users.read"))],
    most: Annotated[int, Query(ge=1, le=MOST_SAMPLED)] = 20,
    tag: TagNames = [],  # noqa: B006
) -> MaskedSample:
    """Some of its people, contacts masked. The look is noted."""
    project, columns, _, people = _asked(request, name)
    found = masked_sample(project, columns, people, most=most, tags=tag)
    log_access(request, person, "masked sample of an audience", name)
    return found


@router.get("/audiences/{name}/reach", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def get_reach(
    request: Request,
    name: AudienceName,
    to: Annotated[
        list[str], Query(max_length=MOST_TAGS, description="Platforms; absent: its own file and all of them.")
    ] = [],  # noqa: B006
) -> ReachByPlatform:
    """Whom the file of each platform would hold now, and why not the others."""
    project, columns, audience, people = _asked(request, name)
    for one in to:
        platform_named(project.platforms, one)
    found = shop_of(request).reach().of(audience, people, to or None)
    return ReachByPlatform(name, columns.at.number, columns.at.as_of, how_many(people), found)


@router.get("/audiences/{name}/sizes", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def list_sizes(
    request: Request, name: AudienceName, most: Annotated[int, Query(ge=1, le=MOST_DAYS)] = 8
) -> list[SizeThen]:
    """How many people the definition had, or would have had, on past days, the newest first."""
    project = shop_of(request).project()
    return list(sizes_over_releases(project, named(project.audiences, name), most=most))


def _asked(request: Request, name: str) -> tuple[Project, ReleaseColumns, Audience, Bits]:
    """The audience with its people, by the columns that all requests share."""
    shop = shop_of(request)
    project, columns = shop.project(), shop.columns()
    audience = named(project.audiences, name)
    people = people_at(project, columns, audience)
    columns.cache.trim()
    return project, columns, audience, people
