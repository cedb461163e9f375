"""Builds and deliveries: asked for here, done by a worker."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import Field

from audiences.language import named
from audiences.platforms import platform_named
from portal.api.answers import UNCHANGED, VERSION, AudienceName, Cursor, Limit, Page, Said, api_router, page_of
from portal.approval import to_be_approved
from portal.parts import base_path_of, queue_of, shop_of
from portal.queue import LONGEST_KEY, Job
from portal.requests import LONGEST_REASON, NAME, request_of
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person

router = api_router("jobs")
MOST_LISTED = 1000
OneKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=r"^[!-~]+$",
        description="Your own word for this request: the same word gives the same job.",
    ),
]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class BuildAsked(Said):
    """Why it is built, for the audience's history."""

    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""


class DeliverAsked(Said):
    """Where to (absent: the audience's own file). ``again`` repeats a delivery that was made; ``full`` sends everybody, not
    changes; ``force`` lets a held tag or an unusual size leave all the same."""

    platform: Annotated[str | None, Field(max_length=120, pattern=NAME)] = None
    again: bool = False
    full: bool = False
    force: bool = False


@router.post("/audiences/{name}/build", status_code=202)
def build_audience(
    request: Request,
    response: Response,
    name: AudienceName,
    asked: BuildAsked,
    key: OneKey,
    person: Annotated[Person, Depends(allowed("audiences.write"))],
) -> Job:
    """Publish who is in the audience at the newest release. `Location` is where the job can be watched."""
    return _put(request, response, "audience.build", {"audience": name, **asked.model_dump()}, key, person)


@router.post("/audiences/{name}/deliver", status_code=202)
def deliver_audience(
    request: Request,
    response: Response,
    name: AudienceName,
    asked: DeliverAsked,
    key: OneKey,
    person: Annotated[Person, Depends(allowed("audiences.deliver"))],
) -> Job:
    """Write the audience's files. The job waits for a second person where the shop wants one to agree."""
    if asked.platform is not None:
        platform_named(shop_of(request).project().platforms, asked.platform)
    return _put(request, response, "audience.deliver", {"audience": name, **asked.model_dump()}, key, person)


def _put(
    request: Request, response: Response, kind: str, arguments: dict[str, object], key: str, person: Person
) -> Job:
    project = shop_of(request).project()
    named(project.audiences, str(arguments["audience"]))
    approve = to_be_approved(project, request_of(kind, arguments)) is not None
    job = queue_of(request).put(kind, arguments, person, key, approve=approve)
    response.headers["Location"] = f"{base_path_of(request)}{VERSION}/jobs/{job.id}"
    return job


@router.get("/jobs", responses=UNCHANGED)
def list_jobs(
    request: Request,
    person: Annotated[Person, Depends(allowed("jobs.read"))],
    audience: Annotated[str | None, Query(max_length=120)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Job]:
    """The newest jobs of yours; of everybody for an admin."""
    of = None if person.may("admin") else person
    found = queue_of(request).list(of, audience, most=MOST_LISTED)
    return page_of(found, lambda job: job.id, cursor, limit)


@router.get("/jobs/{job_id}", responses=UNCHANGED)
def get_job(request: Request, job_id: JobId, person: Annotated[Person, Depends(allowed("jobs.read"))]) -> Job:
    """How far it is, and what came of it."""
    return queue_of(request).get(job_id, person)


@router.post("/jobs/{job_id}/cancel")
def cancel_job(request: Request, job_id: JobId, person: Annotated[Person, Depends(allowed("audiences.write"))]) -> Job:
    """Take back what no worker has begun."""
    queue_of(request).cancel(job_id, person)
    return queue_of(request).get(job_id, person)


@router.post("/jobs/{job_id}/approve")
def approve_delivery(
    request: Request, job_id: JobId, person: Annotated[Person, Depends(allowed("deliveries.approve"))]
) -> Job:
    """Agree, as a second person, that a delivery leaves."""
    queue_of(request).approve(job_id, person)
    return queue_of(request).get(job_id)


@router.post("/jobs/{job_id}/refuse")
def refuse_delivery(
    request: Request, job_id: JobId, person: Annotated[Person, Depends(allowed("deliveries.approve"))]
) -> Job:
    """Say, as a second person, that a delivery must not leave."""
    queue_of(request).refuse(job_id, person)
    return queue_of(request).get(job_id)
