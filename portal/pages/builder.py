"""圈选 The builder: a draft as a form and as text, counted after every change, saved as a file of the project."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from audiences.builder.written import definition_in
from audiences.language import Audience
from portal.access import log_access
from portal.blocks import Blocks, ConditionBlock, form_of
from portal.drafting import SETTINGS, Sent, done_to, lists_there, new_definition, sent_text
from portal.drafts import AudienceDraft, Drafts, note_saved, text_digest
from portal.insights import insight_of, reach_said
from portal.parts import base_path_of, shop_of, state_of
from portal.rendering import language_of, render
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from portal.words import builder as words
from project.audience_saving import ChangedMeanwhileError, audience_path, audience_text, save_audience
from project.folder import Project
from queries.audience_draft import DraftCounts, Mistaken, draft_counts, draft_path, mistakes_in, read_draft
from queries.preview import ReleaseColumns
from schemas.errors import HuaxiangError, NotThereError, UsageError

router = APIRouter()
Builder = Annotated[Person, Depends(allowed("audiences.write"))]
MOST_NAMES = 30


async def form_sent(request: Request) -> Sent:
    """The texts of the form that was sent."""
    form = await request.form(max_fields=2_000)
    found: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return found


Form = Annotated[Sent, Depends(form_sent)]


@router.get("/audiences/new")
def new_audience(request: Request, person: Builder, tag: str = "", value: str = "", like: str = "") -> Response:
    """A new draft: of who has a value of a tag, or with the definition of another audience."""
    project = shop_of(request).project()
    text = audience_text(project, like) if like else new_definition(project, person.login, tag, value)
    if text is None:
        raise NotThereError(f"no audience {like[:80]!r}")
    made = Drafts(state_of(request), person.id).begin(text, None, None)
    return _to(request, f"/drafts/{made}")


@router.post("/audiences/{name}/edit")
def edit_audience(request: Request, name: str, person: Builder) -> Response:
    """The audience's file as a draft; a draft of it that is there already is gone on with."""
    project, drafts = shop_of(request).project(), Drafts(state_of(request), person.id)
    text = audience_text(project, name)
    if text is None:
        raise NotThereError(f"no audience {name!r}")
    for draft in drafts.listed():
        if draft.audience == name:
            return _to(request, f"/drafts/{draft.id}")
    return _to(request, f"/drafts/{drafts.begin(text, name, text_digest(text))}")


@router.get("/drafts/{draft}")
def show_draft(
    request: Request, draft: str, person: Builder, view: str = "form", show: str = "", open: str = ""
) -> Response:
    """The builder; ``show`` opens what is asked on demand, ``open`` the fields of a block."""
    return _page(request, Drafts(state_of(request), person.id).get(draft), view=view, show=show, opened=open)


@router.post("/drafts/{draft}")
def change_draft(request: Request, draft: str, person: Builder, form: Form) -> Response:
    """One change of the draft, by a block's form, or undo and redo."""
    project, drafts = shop_of(request).project(), Drafts(state_of(request), person.id)
    now, focus, refused = drafts.get(draft), "", ""
    do = sent_text(form, "do")
    opened = sent_text(form, "at") if do == "change" else ""
    try:
        if do in ("undo", "redo"):
            now, focus = drafts.go(draft, -1 if do == "undo" else 1), do
        else:
            text, focus = done_to(project, now.audience or "", now.text, form)
            now = drafts.change(draft, text)
    except NotThereError:
        raise
    except HuaxiangError as e:
        refused = _short(project, now, str(e))
    if "HX-Request" in request.headers:
        return _page(request, now, template="_builder.html.j2", focus=focus, refused=refused)
    if refused:
        return _page(request, now, refused=refused, opened=sent_text(form, "at"), status=422)
    return _to(request, f"/drafts/{draft}" + (f"?open={opened}#block-{opened.replace('.', '-')}" if opened else ""))


@router.post("/drafts/{draft}/text")
def take_text(request: Request, draft: str, person: Builder, form: Form) -> Response:
    """The text as somebody typed it. What is no definition yet is kept all the same, and what is wrong with it said."""
    drafts, project = Drafts(state_of(request), person.id), shop_of(request).project()
    now = drafts.get(draft)
    typed = next(iter(form.get("text", ())), "").replace("\r\n", "\n")
    try:
        definition_in(typed, draft_path(project, now.audience or ""))
    except HuaxiangError as e:
        # It may be a trap, or too much to keep: it is shown again and not taken.
        mistakes = [Mistaken(m.line, m.place, m.said) for m in mistakes_in(str(e))]
        return _page(request, now, view="text", typed=typed[:300_000], mistakes=mistakes, status=422)
    drafts.change(draft, typed)
    return _to(request, f"/drafts/{draft}?view=text")


@router.post("/drafts/{draft}/drop")
def drop_draft(request: Request, draft: str, person: Builder) -> Response:
    Drafts(state_of(request), person.id).drop(draft)
    return _to(request, "/audiences")


@router.post("/drafts/{draft}/save")
def save_draft(request: Request, draft: str, person: Builder, form: Form) -> Response:
    """The draft becomes the audience's file and its next version. Nothing is overwritten that the draft did not begin with."""
    shop, drafts = shop_of(request), Drafts(state_of(request), person.id)
    project, now = shop.project(), drafts.get(draft)
    name = now.audience or sent_text(form, "name")
    try:
        audience_path(project, name)
        if name == "new":
            raise UsageError("an audience cannot be called 'new'; take another name")
        _, mistakes = read_draft(project, name, now.text)
        if mistakes:
            return _page(request, now, refused="\n".join(m.said for m in mistakes), status=422)
        there = audience_text(project, name)
        began = None if now.base is None else there
        digest = None if there is None else text_digest(there)
        looked_at = sent_text(form, "over")
        if digest != now.base and (digest is None or looked_at != digest):
            raise ChangedMeanwhileError(draft_path(project, name), there)
        save_audience(project, name, now.text, there if looked_at and looked_at == digest else began)
    except ChangedMeanwhileError as e:
        conflict = {"name": name, "there": e.there or "", "digest": text_digest(e.there) if e.there else ""}
        return _page(request, now, refused=str(e), conflict=conflict, status=409)
    except UsageError as e:
        return _page(request, now, refused=str(e), status=422)
    note_saved(state_of(request), name, now.text, person.login, sent_text(form, "reason")[:500])
    drafts.drop(draft)
    shop.refresh()
    return _to(request, f"/audiences/{name}?saved=1")


@router.get("/drafts/-/names")
def names(request: Request, person: Builder, kind: str = "", q: str = "") -> HTMLResponse:
    """Names that occur, as options for what is typed."""
    found = shop_of(request).columns().names_like(kind[:40], q[:80], MOST_NAMES)
    return render(request, "_names.html.j2", names=found)


def _to(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(base_path_of(request) + path, 303)


def _short(project: Project, draft: AudienceDraft, said: str) -> str:
    """Without the path of the machine's own folder."""
    return said.replace(f"{draft_path(project, draft.audience or '')}: ", "").replace(str(project.folder), "")


def _page(
    request: Request,
    draft: AudienceDraft,
    *,
    template: str = "builder.html.j2",
    view: str = "form",
    show: str = "",
    focus: str = "",
    opened: str = "",
    refused: str = "",
    typed: str | None = None,
    mistakes: list[Mistaken] | None = None,
    conflict: dict[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    project = shop_of(request).project()
    name = draft.audience or ""
    audience, found = read_draft(project, name, draft.text)
    columns = _columns(request)
    counts: DraftCounts | None = None
    if audience is not None and columns is not None:
        try:
            counts = draft_counts(project, columns, audience, shop_of(request).marks())
        except HuaxiangError as e:
            found = mistakes_in(str(e))
    content = _content(project, draft)
    form = form_of(project)
    blocks = Blocks(form, columns, counts, found, language_of(request))
    include, exclude = (blocks.of(content, block) for block in ("include", "exclude"))
    context: dict[str, Any] = {
        "b": words.BUILDER,
        "currency": project.currency,
        "opened": opened,
        "insight_at": lambda key: f"{base_path_of(request)}/drafts/{draft.id}?show={key}#insight",
        "said": words,
        "draft": draft,
        "content": content,
        "settings": {field: _setting(content, way) for field, way in SETTINGS.items()},
        "include": include,
        "exclude": exclude,
        "loose": [m for m in found if not _is_shown(m, [include, exclude])],
        "counts": counts,
        "mistakes": found if mistakes is None else mistakes,
        "tags": list(form.tags.values()),
        "groups": _tag_groups(project),
        "others": [(a.id, a.definition.name) for a in project.audiences.values() if a.id != name],
        "lists": lists_there(project),
        "view": "text" if view == "text" else "form",
        "typed": draft.text if typed is None else typed,
        "focus": focus,
        "refused": refused,
        "conflict": conflict,
        "show": show if show in words.INSIGHTS else "",
        "insight": _insight(request, audience, counts, show),
        "reach": _reach(request, audience, counts),
    }
    return render(request, template, status, **context)


def _is_shown(mistake: Mistaken, blocks: list[ConditionBlock | None]) -> bool:
    """Whether a mistake stands at its block."""
    return any(b is not None and (mistake in b.mistakes or _is_shown(mistake, list(b.below))) for b in blocks)


def _columns(request: Request) -> ReleaseColumns | None:
    try:
        return shop_of(request).columns()
    except NotThereError:
        return None


def _content(project: Project, draft: AudienceDraft) -> dict[str, Any]:
    try:
        return dict(definition_in(draft.text, draft_path(project, draft.audience or "")))
    except HuaxiangError:
        return {}


def _setting(content: dict[str, Any], way: tuple[str, ...]) -> str:
    here: Any = content
    for key in way:
        here = here.get(key) if isinstance(here, dict) else None
    return "" if here is None else str(here)


def _tag_groups(project: Project) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for tag in project.catalogue.tags.values():
        found.setdefault(" / ".join(tag.path[:2]), []).append(tag)
    return found


def _insight(
    request: Request, audience: Audience | None, counts: DraftCounts | None, show: str
) -> dict[str, Any] | None:
    if audience is None or counts is None or not may_look(request, audience.id, show):
        return None
    shop = shop_of(request)
    return insight_of(shop, shop.columns(), audience, counts, show)


def may_look(request: Request, audience: str, show: str) -> bool:
    """Whether the person may see what they ask for; a look at people, masked as they are, is noted."""
    person: Person = request.state.person
    if show == "sample" and person.may("users.read"):
        log_access(request, person, "masked sample of an audience", audience)
    return show in words.INSIGHTS and (show != "sample" or person.may("users.read"))


def _reach(request: Request, audience: Audience | None, counts: DraftCounts | None) -> list[Any]:
    """Whom channels would reach, for beside the count; none where that cannot be said (no members yet)."""
    if audience is None or counts is None:
        return []
    try:
        return reach_said(shop_of(request), audience, counts)
    except HuaxiangError:
        return []
