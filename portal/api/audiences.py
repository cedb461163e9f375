"""Audiences: their definitions, what is wrong with one, how many people it holds, and saving it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from audiences.builder.tree import refuse_too_large
from audiences.builder.written import MOST_CHARACTERS, definition_in
from audiences.language import Audience, named
from audiences.tally import FunnelStep
from portal.access import looked_at
from portal.api.answers import (
    UNCHANGED,
    AudienceName,
    Cursor,
    Limit,
    Page,
    Said,
    Worded,
    api_router,
    named_in,
    page_of,
    text_version,
)
from portal.drafts import note_saved
from portal.failures import SAID, problem
from portal.parts import shop_of, state_of
from portal.requests import LONGEST_REASON
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from project.audience_saving import ChangedMeanwhileError, audience_text, save_audience
from project.audience_standing import uses_of
from project.folder import Project
from queries.audience_draft import NEW, Mistaken, draft_counts, draft_path, mistakes_in, read_draft
from queries.audience_list import AudienceEntry, audience_entries
from schemas.errors import ConfigurationError, NotThereError, UsageError

router = api_router("audiences")
Definition = Annotated[
    str, Field(max_length=MOST_CHARACTERS, description="The audience's YAML, as its file would have it.")
]


class AudienceListed(Said):
    """An audience. ``state`` says whether its people are those of the newest release; ``users`` are those of its last build.

    ``moved`` is by which share its size differs from the build before.
    """

    id: str
    name: Worded
    description: Worded
    owner: str
    folder: str
    state: str
    users: int | None
    moved: float | None
    used_by: tuple[str, ...]
    last_delivered_at: datetime | None


class AudienceFile(Said):
    """An audience's file. Its ETag is that of the text: give it as ``If-Match`` to save over it."""

    id: str
    text: str
    used_by: tuple[str, ...]


class DefinitionAsked(Said):
    """A definition that nobody saved yet. ``name``: the audience that it would become, which it must not refer to."""

    text: Definition
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = NEW


class DefinitionToSave(Said):
    """A definition and why it is as it is, for the audience's history."""

    text: Definition
    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""


class DefinitionJudged(Said):
    """Whether a definition can be meant, and what is wrong with it by line and field."""

    valid: bool
    mistakes: tuple[Mistaken, ...]


class PeopleCounted(Said):
    """Whom a definition holds at the newest release, condition by condition, and the whole in words."""

    release: int
    as_of: date
    base_users: int
    users: int
    members: int
    visitors: int
    share: float
    sentence: Worded
    steps: tuple[FunnelStep, ...]
    warnings: tuple[str, ...]


class SavedAudience(Said):
    """A saved definition; ``version`` counts saves."""

    id: str
    version: int


@router.get("/audiences", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def list_audiences(request: Request, cursor: Cursor = None, limit: Limit = 50) -> Page[AudienceListed]:
    """Every audience with its size and state, in order of folder and name."""
    shop = shop_of(request)
    try:
        at = shop.release()
    except NotThereError:
        at = None
    part = page_of(audience_entries(shop.project(), at), lambda one: one.id, cursor, limit)
    return Page(items=[_listed(one) for one in part.items], next=part.next)


def _listed(one: AudienceEntry) -> AudienceListed:
    d = one.audience.definition
    return AudienceListed(
        id=one.id,
        name=Worded(zh=d.name.zh, en=d.name.en),
        description=Worded(zh=d.description.zh, en=d.description.en),
        owner=d.owner,
        folder=one.folder,
        state=one.state,
        users=one.users,
        moved=one.moved,
        used_by=one.used_by,
        last_delivered_at=None if one.last_delivery is None else one.last_delivery.at,
    )


@router.post("/audiences/validate", dependencies=[Depends(allowed("audiences.read"))])
def validate_definition(request: Request, asked: DefinitionAsked) -> DefinitionJudged:
    """Whether it can be meant. Nothing is written."""
    _, mistakes = _read(shop_of(request).project(), asked.name, asked.text)
    return DefinitionJudged(valid=not mistakes, mistakes=tuple(mistakes))


@router.post("/audiences/preview", dependencies=[Depends(allowed("audiences.read"))], response_model=PeopleCounted)
def preview_definition(request: Request, asked: DefinitionAsked) -> PeopleCounted | Response:
    """How many people it would hold, and what each of its conditions keeps. Nothing is written."""
    audience, mistakes = _read(shop_of(request).project(), asked.name, asked.text)
    return _counted(request, audience) if audience is not None else _refused(mistakes)


def _read(project: Project, name: str, text: str) -> tuple[Audience | None, list[Mistaken]]:
    """The definition as an audience, or what is wrong with it; as large as one that a person can build, and no larger."""
    try:
        refuse_too_large(definition_in(text, draft_path(project, name)))
    except ConfigurationError as e:
        return None, mistakes_in(str(e))
    except UsageError as e:
        return None, [Mistaken(None, "", str(e))]
    return read_draft(project, name, text)


def _counted(request: Request, audience: Audience) -> PeopleCounted:
    shop = shop_of(request)
    found = draft_counts(shop.project(), shop.columns(), audience, shop.marks())
    return PeopleCounted(
        release=found.release,
        as_of=found.as_of,
        base_users=found.base_users,
        users=found.users,
        members=found.members,
        visitors=found.visitors,
        share=found.share,
        sentence=Worded(zh=found.sentence.zh, en=found.sentence.en),
        steps=tuple(found.steps.values()),
        warnings=found.warnings,
    )


def _refused(mistakes: list[Mistaken]) -> JSONResponse:
    """What cannot be meant, field by field."""
    errors = [
        {"field": m.place, "message": m.said} | ({"line": m.line} if m.line is not None else {}) for m in mistakes
    ]
    return problem(422, SAID[422].en, "; ".join(m.said for m in mistakes)[:2000], errors=errors)


@router.get("/audiences/{name}", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def get_audience(request: Request, response: Response, name: AudienceName) -> AudienceFile:
    """Its definition as the file has it, and what uses it."""
    project = shop_of(request).project()
    text = _there(project, name)
    looked_at(state_of(request), "audience", name)
    response.headers["ETag"] = text_version(text)
    return AudienceFile(id=name, text=text, used_by=tuple(uses_of(project, name)))


@router.get("/audiences/{name}/counts", responses=UNCHANGED, dependencies=[Depends(allowed("audiences.read"))])
def get_audience_counts(request: Request, name: AudienceName) -> PeopleCounted:
    """How many people it holds at the newest release, condition by condition."""
    return _counted(request, named(shop_of(request).project().audiences, name))


@router.put(
    "/audiences/{name}",
    response_model=SavedAudience,
    responses={201: {"model": SavedAudience, "description": "It is new."}},
)
def save_definition(
    request: Request,
    response: Response,
    name: AudienceName,
    asked: DefinitionToSave,
    person: Annotated[Person, Depends(allowed("audiences.write"))],
    if_match: Annotated[
        str | None, Header(max_length=300, description="ETag of the text that the change began with.")
    ] = None,
    if_none_match: Annotated[str | None, Header(max_length=300, description="`*`: only if there is none yet.")] = None,
) -> SavedAudience | Response:
    """Save it as the audience's next version; a new audience with ``If-None-Match: *``, over one with ``If-Match``.

    412 where somebody else saved meanwhile, 428 where neither header is there.
    """
    project = shop_of(request).project()
    there = audience_text(project, name)
    is_new = if_match is None and if_none_match == "*"
    if if_match is None and not is_new:
        return problem(
            428, "Say what the change began with.", "If-Match with the ETag, or If-None-Match: * for a new one"
        )
    if is_new if there is not None else not is_new:
        return problem(
            412, "There is another state.", f"{name} is {'there already' if is_new else 'not there any more'}"
        )
    if there is not None and not named_in(if_match, text_version(there)):
        return problem(412, "There is another state.", f"{name} was changed since; read it again and decide")
    audience, mistakes = _read(project, name, asked.text)
    if audience is None:
        return _refused(mistakes)
    try:
        save_audience(project, name, asked.text, there)
    except ChangedMeanwhileError as e:
        return problem(412, "There is another state.", str(e))
    shop_of(request).refresh()
    version = note_saved(state_of(request), name, asked.text, person.login, asked.reason)
    response.headers["ETag"] = text_version(asked.text)
    response.status_code = 201 if is_new else 200
    return SavedAudience(id=name, version=version)


def _there(project: Project, name: str) -> str:
    """The text of an audience that is there; NotThereError suggests the nearest."""
    text = audience_text(project, name)
    if text is None:
        named(project.audiences, name)
        raise NotThereError(f"no audience {name!r}")
    return text
