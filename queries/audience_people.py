"""Some people of an audience as a marketer recognises them, contacts masked; and whom each platform's file would reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audiences.bits import Bits, flags, how_many
from audiences.contacts import masked_contact
from audiences.language import named
from audiences.platforms import platform_named
from lake.budget import in_memory
from lake.releases import release
from project.audience import USERS
from project.audience_file import IDENTIFIERS, LATEST, MEMBERS
from project.folder import Project
from queries.audience_insight import METHOD, AudienceSettings
from queries.preview import PlatformReach, ReachBits
from queries.preview.answer import people_at, release_columns
from queries.preview.release_columns import ReleaseColumns
from queries.user import read_value

SHOWN = ("phone", "email", "external_userid", "openid")
"""Contacts and ids by which people may know somebody."""
OF_THEM = f"""
with persons as (
    select a.uid, coalesce(u.merged_into_uid, a.uid) as person from asked a left join users u on u.uid = a.uid
), named as (
    select p.uid, i.id_value as member_id
    from persons p join identifiers i on i.uid = p.person and i.id_kind = 'member' and i.until_day is null
), theirs as (
    select * from members where member_id in (select member_id from named)
), {LATEST.replace("from members", "from theirs")}
select n.uid, {{columns}} from named n join latest m on m.member_id = n.member_id
group by n.uid
"""


@dataclass(frozen=True)
class TagSaid:
    """A tag of a person, the value as people read it in both languages (absent: not known)."""

    tag: str
    zh: str
    en: str
    value_zh: str | None
    value_en: str | None


@dataclass(frozen=True)
class MaskedPerson:
    """``contacts`` are masked, by kind, those only that the person has."""

    user_id: str
    uid: int
    is_member: bool
    contacts: dict[str, str]
    tags: tuple[TagSaid, ...]


@dataclass(frozen=True)
class MaskedSample:
    """Some of ``users`` people; ``lacking`` are tags that the release does not have yet."""

    release: int
    as_of: date
    users: int
    people: tuple[MaskedPerson, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class ReachByPlatform:
    """Whom the file of each platform would hold, were the audience exported now."""

    audience: str
    release: int
    as_of: date
    users: int
    platforms: tuple[PlatformReach, ...]


def audience_reach(
    project: Project, name: str, *, which: int | str | None = None, to: Sequence[str] | None = None
) -> ReachByPlatform:
    """An audience at its own file and every platform, or at these. Who asks often keeps ``queries.preview.ReachBits``.

    NotThereError for a platform or an audience that there is not. Nothing is published and no engine started.
    """
    for one in to or ():
        platform_named(project.platforms, one)
    audience, at = named(project.audiences, name), release(project.lake, which)
    columns = release_columns(project, at)
    members = people_at(project, columns, audience)
    found = ReachBits(project, columns).of(audience, members, to)
    columns.cache.trim()
    return ReachByPlatform(name, at.number, at.as_of, how_many(members), found)


def audience_sample(
    project: Project, name: str, *, which: int | str | None = None, most: int = 20, tags: Sequence[str] = ()
) -> MaskedSample:
    """``masked_sample`` of an audience at a release."""
    audience, at = named(project.audiences, name), release(project.lake, which)
    columns = release_columns(project, at)
    return masked_sample(project, columns, people_at(project, columns, audience), most=most, tags=tags)


def masked_sample(
    project: Project, columns: ReleaseColumns, members: Bits, *, most: int = 20, tags: Sequence[str] = ()
) -> MaskedSample:
    """Some of the people ``members`` of a release: the first in the order of ``user_id``, which is a hash.

    ``tags`` say what is told of them; absent: ``sample_tags`` of ``methods/audiences.yaml``. Contacts are as they are now.
    """
    names = tags or project.method(METHOD, AudienceSettings).sample_tags
    wanted = [project.catalogue.tag(name) for name in names]
    files = columns.profile.files.local()
    have: list[str] = pq.read_schema(files[0]).names if files else []
    there = [tag for tag in wanted if tag.id in have]
    rows = np.flatnonzero(flags(members, len(columns.profile.uid)))
    found = columns.profile.first_by_user_id(rows, most, ["uid", "is_member", *(t.id for t in there)])
    contacts = _contacts(project, [row["uid"] for row in found])
    columns.cache.trim()
    people = []
    for row in found:
        read = ((t, read_value(t, row[t.id], project.currency)) for t in there)
        said = tuple(TagSaid(t.id, t.name.zh, t.name.en, zh, en) for t, (zh, en) in read)
        theirs = contacts.get(row["uid"], {})
        people.append(MaskedPerson(row["user_id"], row["uid"], bool(row["is_member"]), theirs, said))
    at = columns.at
    return MaskedSample(at.number, at.as_of, len(rows), tuple(people), tuple(t.id for t in wanted if t.id not in have))


def _contacts(project: Project, uids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Of each person the newest contact of every kind, masked."""
    lake = project.lake
    kinds = [k for k in SHOWN if k in lake.dataset(MEMBERS).schema.names]
    newest = ", ".join(
        f"arg_max({k}, row(coalesce(source_time, _ingested_at), m.member_id)) filter ({k} is not null) as {k}"
        for k in kinds
    )
    with in_memory() as db:
        for name, table in (("members", MEMBERS), ("identifiers", IDENTIFIERS), ("users", USERS)):
            db.register(name, lake.dataset(table))
        db.register("asked", pa.table({"uid": pa.array(uids, pa.int64())}))
        rows: list[tuple[Any, ...]] = db.execute(OF_THEM.format(columns=newest)).fetchall()
    country = project.settings.default_country
    return {
        uid: {k: text for k, value in zip(kinds, values, strict=True) if (text := masked_contact(k, value, country))}
        for uid, *values in rows
    }
