"""One person's card: masked, at once; in clear for a purpose that is noted."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from pydantic import Field

from portal.access import LONGEST_PURPOSE, log_access
from portal.api.answers import UNCHANGED, Said, Worded, api_router
from portal.parts import shop_of
from portal.sign_in.gate import allowed
from portal.sign_in.roles import Person
from queries.side_card import USER_ID
from queries.user import GREATEST_UID, Card, TagGroup, card, log_reveal
from schemas.errors import UsageError

router = api_router("users")
Uid = Annotated[int, Path(ge=0, le=GREATEST_UID, description="A person's number; it changes only by merges.")]
Purpose = Annotated[
    str,
    Field(max_length=LONGEST_PURPOSE, description="What it is for; it is noted, with who looks. Name nobody in it."),
]


class PersonAsked(Said):
    """Whom somebody looks for: by ``user_id``, or by an id of theirs (``member``, ``openid``, ``phone`` ...) for a purpose."""

    kind: Annotated[str, Field(min_length=1, max_length=40, pattern="^[a-z_]+$")] = USER_ID
    value: Annotated[str, Field(min_length=1, max_length=200)]
    purpose: Purpose = ""


class PersonFound(Said):
    """Whose it is."""

    uid: int


class PurposeSaid(Said):
    """Why somebody looks at data in clear."""

    purpose: Annotated[Purpose, Field(min_length=1, pattern=r"\S")]


class AdviceSaid(Said):
    """What one way to segment says of the person and advises, and by which window it sees them."""

    scheme: str
    name: Worded
    value: str
    label: Worded
    strategy: Worded
    window_days: int | None
    window: Worded


class SideCard(Said):
    """A person as whoever serves them needs them: what to do first, why others say otherwise, and every known tag."""

    release: int
    as_of: date
    user_id: str
    uid: int
    is_member: bool
    advice: AdviceSaid | None
    others_say: list[AdviceSaid]
    groups: list[TagGroup]
    unknown_tags: int
    held_tags: dict[str, list[str]]


@router.post("/users/search")
def find_user(
    request: Request, asked: PersonAsked, person: Annotated[Person, Depends(allowed("users.read"))]
) -> PersonFound:
    """Whose an id is. An id of the person's own is personal: the search is noted, and the purpose with it."""
    shop = shop_of(request)
    if asked.kind != USER_ID:
        if not asked.purpose.strip():
            raise UsageError(f"purpose: a search by {asked.kind} is personal; say what it is for")
        log_access(request, person, "search", f"by {asked.kind}", asked.purpose.strip())
        log_reveal(shop.project().lake, person.login, f"search by {asked.kind}", None, asked.purpose.strip())
    return PersonFound(uid=shop.side_cards().uid_of(asked.kind, asked.value))


@router.get("/users/{uid}", responses=UNCHANGED, response_model=SideCard)
def get_user(request: Request, uid: Uid, person: Annotated[Person, Depends(allowed("users.read"))]) -> dict[str, Any]:
    """The side card, in a few milliseconds; no id or contact is in it. The look is noted."""
    found = shop_of(request).side_cards().of(uid)
    log_access(request, person, "side card", f"uid {uid}")
    return found


@router.get("/users/{uid}/history", responses=UNCHANGED)
def get_user_history(request: Request, uid: Uid, person: Annotated[Person, Depends(allowed("users.read"))]) -> Card:
    """The whole card with stages over time and the share tree; ids and contacts are masked. The look is noted."""
    shop = shop_of(request)
    found = card(shop.project(), uid, which=shop.release().number)
    log_access(request, person, "card", f"uid {uid}")
    return found


@router.post("/users/{uid}/unmask")
def unmask_user(
    request: Request, uid: Uid, asked: PurposeSaid, person: Annotated[Person, Depends(allowed("users.unmask"))]
) -> Card:
    """The whole card in clear, after it was noted who looks and what for."""
    purpose = asked.purpose.strip()
    if not purpose:
        raise UsageError("purpose: say what the personal data is looked at for")
    log_access(request, person, "card in clear", f"uid {uid}", purpose)
    at = shop_of(request).release().number
    return card(shop_of(request).project(), uid, which=at, reveal=True, requested_by=person.login, purpose=purpose)
