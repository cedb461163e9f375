"""人群 Audiences: the list, and one audience with its people, versions, builds and deliveries."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from audiences.language import named
from portal.access import log_access, looked_at
from portal.approval import to_be_approved
from portal.drafting import Sent, sent_text
from portal.drafts import Drafts, saved_versions
from portal.insights import insight_of, reach_said
from portal.pages.builder import form_sent, may_look
from portal.parts import base_path_of, shop_of, state_of
from portal.queue import Queue
from portal.rendering import render
from portal.requests import request_of
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from portal.words import builder as words
from portal.words.admin import JOB_STATES
from project.audience_standing import uses_of
from project.platforms import target_of
from queries.audience_draft import draft_counts
from queries.audience_life import history_of
from queries.audience_list import audience_entries
from queries.audience_versions import compared_texts
from schemas.errors import HuaxiangError, NotThereError, UsageError

router = APIRouter(prefix="/audiences")
Reader = Annotated[Person, Depends(allowed("audiences.read"))]
Deliverer = Annotated[Person, Depends(allowed("audiences.deliver"))]
Form = Annotated[Sent, Depends(form_sent)]
LONGEST_KEY = 60


@router.get("")
def audiences(request: Request, person: Reader, folder: str = "") -> Response:
    """Every audience, and the reader's own drafts."""
    shop = shop_of(request)
    project = shop.project()
    try:
        at = shop.release()
    except NotThereError:
        at = None
    found = audience_entries(project, at)
    drafts = Drafts(state_of(request), person.id).listed() if person.may("audiences.write") else []
    return render(
        request,
        "audiences.html.j2",
        b=words.BUILDER,
        said=words,
        entries=[e for e in found if not folder or e.folder == folder],
        folders=sorted({e.folder for e in found if e.folder}),
        folder=folder,
        drafts=drafts,
    )


@router.get("/{name}")
def one_audience(
    request: Request, name: str, person: Reader, show: str = "", older: str = "", newer: str = "", saved: str = ""
) -> Response:
    """One audience: its people now, versions compared, and what can be done with it."""
    shop, state = shop_of(request), state_of(request)
    project = shop.project()
    audience = named(project.audiences, name)
    looked_at(state, "audience", name)
    columns, counts, problem, reach = None, None, "", []
    try:
        columns = shop.columns()
        counts = draft_counts(project, columns, audience, shop.marks())
        reach = reach_said(shop, audience, counts)
    except HuaxiangError as e:
        problem = str(e)
    insight = None
    if columns is not None and counts is not None and may_look(request, name, show):
        insight = insight_of(shop, columns, audience, counts, show)
    kept = saved_versions(state, name)
    compared: Any = None
    refused = ""
    if older and columns is not None:
        texts = {str(v.version): v.text for v in kept} | {"now": audience.path.read_text(encoding="utf-8-sig")}
        try:
            if older not in texts or (newer or "now") not in texts:
                raise NotThereError(f"audience {name!r} has no such version")
            compared = compared_texts(project, columns, name, texts[older], texts[newer or "now"])
        except HuaxiangError as e:
            refused = str(e)
    return render(
        request,
        "audience.html.j2",
        b=words.BUILDER,
        said=words,
        audience=audience,
        counts=counts,
        mistakes=[],
        reach=reach,
        problem=problem,
        saved=bool(saved),
        used_by=uses_of(project, name),
        kept=kept,
        built=history_of(project, name),
        older=older,
        newer=newer or "now",
        compared=compared,
        refused=refused,
        platforms=[(p.id, p.platform.name) for p in project.platforms.values()],
        job_states=JOB_STATES,
        jobs=Queue(state).list(audience=name, most=5),
        key=secrets.token_urlsafe(16),
        insight=insight,
        insight_at=lambda key: f"{base_path_of(request)}/audiences/{name}?show={key}#insight",
        text=audience.path.read_text(encoding="utf-8-sig"),
    )


@router.post("/{name}/build")
def build_audience(request: Request, name: str, person: Deliverer, form: Form) -> Response:
    """Ask a worker to build it."""
    audience = named(shop_of(request).project().audiences, name)
    reason = next((v.reason for v in saved_versions(state_of(request), name)), "")
    job = Queue(state_of(request)).put(
        "audience.build", {"audience": audience.id, "reason": reason}, person, _key(form, "build")
    )
    return RedirectResponse(f"{base_path_of(request)}/jobs/{job.id}", 303)


@router.post("/{name}/deliver")
def deliver_audience(request: Request, name: str, person: Deliverer, form: Form) -> Response:
    """Ask a worker to deliver it, for a purpose that is noted; a second person agrees where the settings say so."""
    project = shop_of(request).project()
    audience, purpose = named(project.audiences, name), sent_text(form, "purpose")
    if not purpose:
        raise UsageError("say what the delivery is for (purpose): it is noted with the request")
    wanted: dict[str, Any] = {"audience": audience.id, "platform": sent_text(form, "platform") or None}
    target_of(project, audience, wanted["platform"])
    approval = to_be_approved(project, request_of("audience.deliver", wanted))
    job = Queue(state_of(request)).put(
        "audience.deliver", wanted, person, _key(form, "deliver"), approve=approval is not None
    )
    log_access(request, person, "delivery asked for", audience.id, purpose)
    return RedirectResponse(f"{base_path_of(request)}/jobs/{job.id}", 303)


def _key(form: Sent, what: str) -> str:
    """The page's own key: a form that is sent twice asks once."""
    sent = sent_text(form, "key")[:LONGEST_KEY]
    return f"{what}-{sent or secrets.token_urlsafe(16)}"
