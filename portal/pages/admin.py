"""管理 Admin: people and roles, tokens, the access log, jobs that wait for a second person, runs and what they cost."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import accesses, log_access
from portal.parts import base_path_of, queue_of, shop_of, state_of
from portal.rendering import render
from portal.sign_in.gate import allowed
from portal.sign_in.people import ROLES, add_person, all_people, login_of, set_active, set_password, set_role
from portal.sign_in.roles import ROLE_NAMES, Person
from portal.sign_in.secrets import new_password
from portal.sign_in.tokens import revoke_token, tokens_of
from portal.words.admin import ADMIN, JOB_KINDS, JOB_STATES
from queries.timing import costs, timing

router = APIRouter(prefix="/admin")
Admin = Annotated[Person, Depends(allowed("admin"))]
ON_A_PAGE = 100
RUNS_SHOWN = 30


@router.get("")
def people_page(request: Request, person: Admin) -> Response:
    """Everybody who may sign in, or might."""
    return _people(request)


@router.post("/people")
def add_somebody(
    request: Request,
    person: Admin,
    login: Annotated[str, Form()] = "",
    role: Annotated[str, Form()] = "viewer",
    name: Annotated[str, Form()] = "",
) -> Response:
    """A new person; the password stands on the page that answers, and nowhere else."""
    password = new_password()
    added = add_person(state_of(request), login, role, password, name)
    log_access(request, person, "person added", f"person {added.id}", added.role)
    return _people(request, made=(added.login, password))


@router.post("/people/{number}/role")
def give_role(request: Request, person: Admin, number: int, role: Annotated[str, Form()] = "") -> Response:
    set_role(state_of(request), login_of(state_of(request), number), role)
    log_access(request, person, "role changed", f"person {number}", role)
    return _to(request, "")


@router.post("/people/{number}/active")
def let_in_or_stop(request: Request, person: Admin, number: int, active: Annotated[bool, Form()] = False) -> Response:
    set_active(state_of(request), login_of(state_of(request), number), active=active)
    log_access(request, person, "person let in" if active else "person stopped", f"person {number}")
    return _to(request, "")


@router.post("/people/{number}/password")
def renew_password(request: Request, person: Admin, number: int) -> Response:
    login, password = login_of(state_of(request), number), new_password()
    set_password(state_of(request), login, password)
    log_access(request, person, "password renewed", f"person {number}")
    return _people(request, made=(login, password))


@router.get("/tokens")
def tokens_page(request: Request, person: Admin) -> Response:
    found = tokens_of(state_of(request))
    return render(request, "admin_tokens.html.j2", a=ADMIN, found=found, now=state_of(request).now())


@router.post("/tokens/{number}/revoke")
def take_token_back(request: Request, person: Admin, number: int) -> Response:
    revoke_token(state_of(request), number)
    log_access(request, person, "token taken back", f"token {number}")
    return _to(request, "/tokens")


@router.get("/access")
def access_page(request: Request, person: Admin, login: str = "", before: int | None = None) -> Response:
    """Who looked at whose data and why, the newest first."""
    found = accesses(state_of(request), login=login or None, before=before, most=ON_A_PAGE)
    older = found[-1][0] if len(found) == ON_A_PAGE else None
    return render(request, "admin_access.html.j2", a=ADMIN, found=found, older=older, login=login)


@router.get("/jobs")
def jobs_page(request: Request, person: Annotated[Person, Depends(allowed("deliveries.approve"))]) -> Response:
    """What everybody asked for; what waits for a second person stands first."""
    found = sorted(queue_of(request).list(), key=lambda job: job.state != "waiting")
    said = {"a": ADMIN, "states": JOB_STATES, "kinds": JOB_KINDS}
    return render(request, "admin_jobs.html.j2", found=found, **said)


@router.post("/jobs/{job_id}/{answer}")
def decide(
    request: Request,
    person: Annotated[Person, Depends(allowed("deliveries.approve"))],
    job_id: str,
    answer: Literal["approve", "refuse"],
) -> Response:
    """Approve or refuse; nobody does for what they asked for themselves."""
    queue = queue_of(request)
    (queue.approve if answer == "approve" else queue.refuse)(job_id, person)
    log_access(request, person, "delivery approved" if answer == "approve" else "delivery refused", f"job {job_id}")
    return _to(request, "/jobs")


@router.get("/runs")
def runs_page(request: Request, person: Admin) -> Response:
    """What the newest runs and ingests took of the machine."""
    found = costs(timing(shop_of(request).project(), RUNS_SHOWN))
    return render(request, "admin_runs.html.j2", a=ADMIN, found=found)


def _people(request: Request, made: tuple[str, str] | None = None) -> Response:
    return render(
        request,
        "admin.html.j2",
        a=ADMIN,
        found=all_people(state_of(request)),
        roles=[(r, ROLE_NAMES[r]) for r in ROLES],
        made=made,
        now=state_of(request).now(),
    )


def _to(request: Request, way: str) -> Response:
    return RedirectResponse(f"{base_path_of(request)}/admin{way}", 303)
