"""Step ``user``: one person's tags by group, as a release has them; personal data masked unless it is asked for.

Every look at unmasked personal data, and every search by a member's own id, is written to ``LAKE/ops/reveals``
before anything is shown.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow.dataset as pads

from audiences.contacts import masked
from features.kernel.rows import USERS_PER_BUCKET
from features.tags import PATHS, UNKNOWN, Tag
from lake.budget import in_memory
from lake.lake import Lake
from lake.releases import Release, lake_at, release
from project.folder import Project
from project.held import marks_of
from queries.user_history import Override, Stay, Story, Tree, story
from schemas.contracts import CONSENT_SAID_LAST, NEWEST_FIRST, contract
from schemas.errors import NotThereError, UsageError
from schemas.money import money_cell

REVEALS = "ops/reveals/"

IDENTIFIERS = "identity.identifiers"
PROFILE = "profile.profile"
USERS = "identity.users"
UID = "uid:"
"""In front of a number: a uid is meant, and no member's own id."""
GREATEST_UID = USERS_PER_BUCKET * 2**31 - 1
"""Buckets are numbered by int32: no uid beyond was ever given."""
MEMBERS = "silver.members"
LATEST_MEMBERS = f"""
select m.* replace ({CONSENT_SAID_LAST} as marketing_consent) from members m where list_contains(?, member_id)
qualify row_number() over (partition by member_id order by {NEWEST_FIRST}) = 1
order by member_id
"""


@dataclass(frozen=True)
class TagValue:
    """One tag of one person: the value as stored, and as people read it in both languages (absent: not known)."""

    id: str
    zh: str
    en: str
    value: Any
    value_zh: str | None
    value_en: str | None


@dataclass(frozen=True)
class TagGroup:
    """Tags that share the two upper levels of their path."""

    path: tuple[str, str]
    tags: tuple[TagValue, ...]


@dataclass(frozen=True)
class Identifier:
    """One id of the person and the days on which it is theirs (absent: from the beginning, until now)."""

    kind: str
    value: str | None
    from_day: date | None
    until_day: date | None


@dataclass(frozen=True)
class Card:
    """What is known of one person at a release.

    ``history`` are the values of every segmentation with their days, oldest first; ``tree`` is absent for who neither
    shared nor was brought. ``held_by`` names the held tags that a tag comes from, itself included.
    """

    release: int
    as_of: date
    uid: int
    user_id: str
    is_member: bool
    groups: tuple[TagGroup, ...]
    identifiers: tuple[Identifier, ...]
    contacts: tuple[dict[str, Any], ...]
    revealed: bool
    history: tuple[Stay, ...] = field(default=())
    tree: Tree | None = None
    overrides: tuple[Override, ...] = field(default=())
    held_by: dict[str, tuple[str, ...]] = field(default_factory=dict)


def find_uid(
    project: Project, who: str, at: Release, *, by_member_id: bool = False, requested_by: str = "", purpose: str = ""
) -> int:
    """The uid of a ``user_id``, a uid (also ``uid:760``), or (restricted, logged) a member's own id.

    A bare number that is a uid of one person and a member's own id of another is a UsageError with both readings.
    NotThereError says what to try.
    """
    lake = lake_at(project.lake, at)
    if by_member_id:
        log_reveal(lake, requested_by, f"search by member id {masked(who)}", None, purpose)
        return _uid_of_member(lake, who)
    marked = who.removeprefix(UID)
    if marked.isascii() and marked.isdigit():
        if marked == who:
            _refuse_two_readings(lake, who)
        return int(marked)
    for path in lake.local(lake.files(PROFILE, where={"as_of": at.as_of})):
        found = pads.dataset(path).to_table(columns=["uid"], filter=pads.field("user_id") == who)
        if len(found):
            return int(found["uid"][0].as_py())
    for path in lake.local(lake.files(USERS)):
        # of somebody who was merged since: by their uid it is said into whom
        found = pads.dataset(path).to_table(columns=["uid"], filter=pads.field("user_id") == who)
        if len(found):
            return int(found["uid"][0].as_py())
    raise NotThereError(
        f"no user {who!r} in release {at.number} ({at.as_of}); give a user_id, a uid, or a member id with --member"
    )


def _refuse_two_readings(lake: Lake, who: str) -> None:
    """Shops number their customers, too: whose number is it? Whether a member has it is all that is told here."""
    members = _uids_of_member(lake, who)
    if members and members[0] != int(who):
        raise UsageError(
            f"{who} can be read two ways: it is a uid here (say {UID}{who}), and a member's own id of somebody else "
            f"(say --member {who}; that look is logged)"
        )


def _uid_of_member(lake: Lake, member_id: str) -> int:
    found = _uids_of_member(lake, member_id)
    if not found:
        raise NotThereError("no member has that id; it may not have been ingested, or `huaxiang run` is still to come")
    return found[0]


def _uids_of_member(lake: Lake, member_id: str) -> list[int]:
    """Whose the member id is, the present person first."""

    with in_memory() as db:
        db.register("identifiers", lake.dataset(IDENTIFIERS))
        rows = db.execute(
            "select uid from identifiers where id_kind = 'member' and id_value = ? order by until_day desc nulls first",
            [member_id],
        ).fetchall()
    return [int(uid) for (uid,) in rows]


def card(
    project: Project,
    uid: int,
    *,
    which: int | str | None = None,
    reveal: bool = False,
    requested_by: str = "",
    purpose: str = "",
) -> Card:
    """The person's card. ``reveal`` shows ids and contacts in clear and is logged first, with who asked and why."""
    at = release(project.lake, which)
    lake = lake_at(project.lake, at)
    if not 0 <= uid <= GREATEST_UID:
        raise NotThereError(f"uid {uid} was never given")
    row = _profile_row(lake, at, uid)
    if row is None:
        raise NotThereError(_missing(project.lake, at, uid))
    if reveal:
        log_reveal(lake, requested_by, "ids and contacts", uid, purpose)
    ids = _identifiers(lake, uid)
    members = [i.value for i in ids if i.kind == "member" and i.until_day is None and i.value]
    told: Story = story(lake, at, uid, uid // USERS_PER_BUCKET, project.catalogue.schemes)
    shown = tuple(i if reveal else Identifier(i.kind, masked(i.value), i.from_day, i.until_day) for i in ids)
    return Card(
        release=at.number,
        as_of=at.as_of,
        uid=uid,
        user_id=row["user_id"],
        is_member=bool(row["is_member"]),
        groups=tag_groups(project, row),
        identifiers=shown,
        contacts=tuple(_contacts(lake, members, reveal)),
        revealed=reveal,
        history=told.stays,
        tree=told.tree,
        overrides=told.overrides,
        held_by=marks_of(project.lake, project.catalogue, at).held_by,
    )


def _profile_row(lake: Lake, at: Release, uid: int) -> dict[str, Any] | None:
    where = {"as_of": at.as_of, "bucket": uid // USERS_PER_BUCKET}
    for path in lake.local(lake.files(PROFILE, where=where)):
        found = pads.dataset(path).to_table(filter=pads.field("uid") == uid)
        if len(found):
            row: dict[str, Any] = found.to_pylist()[0]
            return row
    return None


def _missing(lake: Lake, at: Release, uid: int) -> str:
    """Why a uid has no row: merged into another, retired with nobody in its place, not yet known, or never given."""
    for path in lake.local(lake.files(USERS, where={"bucket": uid // USERS_PER_BUCKET})):
        found = pads.dataset(path).to_table(filter=pads.field("uid") == uid).to_pylist()
        if found and found[0]["merged_into_uid"] is not None:
            return f"uid {uid} was merged into uid {found[0]['merged_into_uid']} on {found[0]['retired_day']}"
        if found and found[0]["retired_day"] is not None:
            return (
                f"uid {uid} was retired on {found[0]['retired_day']} and has no successor: "
                "its ids went to other persons, or the deliveries that told of it were taken away"
            )
        if found:
            return f"uid {uid} is not in release {at.number} ({at.as_of}); it became known later"
    return f"uid {uid} was never given to anybody"


def tag_groups(project: Project, row: Mapping[str, Any]) -> tuple[TagGroup, ...]:
    """Every tag of a row of the profile by group, also those without a value."""
    found: dict[tuple[str, str], list[TagValue]] = {(a, b): [] for a, below in PATHS.items() for b in below}
    for tag in project.catalogue.tags.values():
        zh, en = read_value(tag, row.get(tag.id), project.currency)
        value = TagValue(tag.id, tag.name.zh, tag.name.en, row.get(tag.id), zh, en)
        found[(tag.path[0], tag.path[1])].append(value)
    return tuple(TagGroup(path, tuple(tags)) for path, tags in found.items() if tags)


def read_value(tag: Tag, value: Any, currency: str) -> tuple[str | None, str | None]:
    """A value as people read it: labels for values, money in the lake's currency."""
    if value is None:
        return None, None
    if isinstance(value, bool):
        return ("是", "yes") if value else ("否", "no")
    if isinstance(value, str) and value in tag.labels:
        return tag.labels[value].zh, tag.labels[value].en
    if value == UNKNOWN:
        return "未知", "Unknown"
    if tag.unit == "minor":
        text = money_cell(value, currency)
    elif isinstance(value, float):
        text = _plain(value)
    else:
        text = str(value)
    return text, text


def _plain(number: float) -> str:
    """Two decimals from 1,000 on, four digits that count below, never an exponent: 12,345.68, 0.3333, 0.00001234."""
    if abs(number) >= 1000:
        return f"{number:,.2f}".removesuffix(".00")
    return f"{Decimal(f'{number:.4g}'):,f}"


def _identifiers(lake: Lake, uid: int) -> list[Identifier]:

    with in_memory() as db:
        db.register("identifiers", lake.dataset(IDENTIFIERS))
        rows = db.execute(
            "select id_kind, id_value, from_day, until_day from identifiers where uid = ? "
            "order by id_kind, from_day nulls first, id_value",
            [uid],
        ).fetchall()
    return [Identifier(*row) for row in rows]


def _contacts(lake: Lake, members: list[str], reveal: bool) -> list[dict[str, Any]]:
    """Contacts of the person's member records and the consent given with them."""

    if not members:
        return []
    with in_memory() as db:
        db.register("members", lake.dataset(MEMBERS))
        cursor = db.execute(LATEST_MEMBERS, [members])
        names = [d[0] for d in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    personal = [c.name for c in contract(MEMBERS).feed_columns if c.field.personal in ("contact", "identifier")]
    return [
        {n: (v if reveal else masked(v)) for n in personal if (v := row.get(n))}
        | {"marketing_consent": row["marketing_consent"]}
        for row in rows
    ]


def log_reveal(lake: Lake, requested_by: str, what: str, uid: int | None, purpose: str) -> None:
    """Note it below ``ops/reveals`` and wait until it is there."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": requested_by,
        "what": what,
        "uid": uid,
        "purpose": purpose,
    }
    name = f"{REVEALS}{datetime.now(UTC):%Y-%m-%dT%H%M%S}-{uuid.uuid4().hex[:8]}.json"
    lake.store.create(name, json.dumps(line, ensure_ascii=False).encode(), private=True)
