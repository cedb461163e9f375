"""用户: one person's card, masked; in clear only for a purpose, which is noted. Who is looked for is never in an address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import log_access
from portal.parts import base_path_of, shop_of
from portal.rendering import render
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from portal.words.pages import USERS
from queries.user import Card, card, find_uid
from report.blocks import same
from report.card import WORDS, contacts, rfm, strategies, tree_rows
from report.words import ID_KINDS, Vocabulary, group_name
from schemas.errors import UsageError
from schemas.text import Text

router = APIRouter(prefix="/users")
Purpose = Annotated[str, Form(max_length=300)]


@router.get("", dependencies=[Depends(allowed("users.read"))])
def users(request: Request) -> Response:
    """The form to look somebody up."""
    return render(request, "users.html.j2", u=USERS)


@router.post("", response_model=None)
def find(
    request: Request,
    person: Annotated[Person, Depends(allowed("users.read"))],
    who: Annotated[str, Form(max_length=200)] = "",
    by_member_id: Annotated[bool, Form()] = False,
    purpose: Purpose = "",
) -> Response:
    """On to the person's card. A member id is looked up for a purpose only."""
    if not who.strip():
        raise UsageError("say who is looked for: a user_id, a uid or a member id")
    if by_member_id and not purpose.strip():
        raise UsageError("a member id is personal: say what it is looked up for; it is noted")
    shop = shop_of(request)
    uid = find_uid(
        shop.project(),
        who.strip(),
        shop.release(),
        by_member_id=by_member_id,
        requested_by=person.login,
        purpose=purpose.strip(),
    )
    if by_member_id:
        log_access(request, person, "look up by member id", f"uid {uid}", purpose.strip())
    return RedirectResponse(f"{base_path_of(request)}/users/{uid}", 303)


@router.get("/{uid}")
def one_user(request: Request, uid: int, person: Annotated[Person, Depends(allowed("users.read"))]) -> Response:
    """The card with ids and contacts masked."""
    shop = shop_of(request)
    log_access(request, person, "card", f"uid {uid}", "")
    return _page(request, card(shop.project(), uid, which=shop.release().number))


@router.post("/{uid}")
def in_clear(
    request: Request, uid: int, person: Annotated[Person, Depends(allowed("users.unmask"))], purpose: Purpose = ""
) -> Response:
    """The card in clear, after it was noted who looks and what for."""
    if not purpose.strip():
        raise UsageError("say what the personal data is looked at for; it is noted")
    shop = shop_of(request)
    log_access(request, person, "card in clear", f"uid {uid}", purpose.strip())
    at = shop.release().number
    found = card(shop.project(), uid, which=at, reveal=True, requested_by=person.login, purpose=purpose.strip())
    return _page(request, found)


def _page(request: Request, found: Card) -> Response:
    project = shop_of(request).project()
    words = Vocabulary(project.catalogue)
    return render(
        request,
        "user.html.j2",
        u=USERS,
        cw=WORDS,
        card=found,
        rfm=[(Text(t.zh, t.en), Text(t.value_zh or "–", t.value_en or "–")) for t in rfm(project, found)],
        strategies=strategies(project, found),
        tree=tree_rows(found.tree, words),
        groups=[
            (
                group_name(g.path),
                [
                    (Text(t.zh, t.en), t.id, None if t.value_zh is None else Text(t.value_zh, t.value_en or "–"))
                    for t in g.tags
                ],
            )
            for g in found.groups
        ],
        stays=[
            (words.tag(s.tag), words.value(s.tag, s.value), s.from_day, s.until_day) for s in reversed(found.history)
        ][:60],
        ids=[(ID_KINDS.get(i.kind, same(i.kind)), i) for i in found.identifiers],
        contacts=contacts(found),
    )
