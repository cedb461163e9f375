"""A build or a delivery that somebody asked for, and how far it is; the page can be closed and opened again."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from portal.parts import base_path_of, queue_of
from portal.queue import Job
from portal.rendering import render
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from portal.words.admin import JOB_KINDS, JOB_STATES
from portal.words.jobs import JOB

router = APIRouter(prefix="/jobs")


@router.get("/{job}")
def show_job(request: Request, job: str, person: Annotated[Person, Depends(allowed("jobs.read"))]) -> Response:
    """The person's own job (an admin sees all); a part of the page where the page asks for itself again."""
    found = queue_of(request).get(job, of=person)
    usual = queue_of(request).usual_seconds(found.kind, str(found.arguments.get("audience")))
    template = "_job.html.j2" if "HX-Request" in request.headers else "job.html.j2"
    return render(
        request, template, j=JOB, states=JOB_STATES, kinds=JOB_KINDS, job=found, usual=usual, figures=_figures(found)
    )


@router.post("/{job}/cancel")
def take_back(request: Request, job: str, person: Annotated[Person, Depends(allowed("audiences.deliver"))]) -> Response:
    """Take back what no worker has begun."""
    queue_of(request).cancel(job, person)
    return RedirectResponse(f"{base_path_of(request)}/jobs/{job}", 303)


def _figures(job: Job) -> dict[str, Any]:
    """Of a verb's answer the numbers that somebody waits for."""
    try:
        answer = json.loads(job.output)
    except ValueError:
        return {}
    first = answer[0] if isinstance(answer, list) and answer else answer
    return {k: first[k] for k in ("users", "rows") if isinstance(first, dict) and isinstance(first.get(k), int)}
