"""What a person's card tells beyond today's tags: stages with their days, the place in the share tree, values set by hand.

All of it is read at a release; a table that the release does not have gives nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from lake.sql import connect

if TYPE_CHECKING:
    import duckdb

    from lake.lake import Lake
    from lake.releases import Release

SHOWN_CHILDREN = 20
STAYS = """
select tag, value, from_day, lead(from_day) over (partition by tag order by from_day) as until_day
from profile.tag_changes where uid = $uid and from_day <= $day and list_contains($tags, tag) order by tag, from_day
"""
OVERRIDES = """
select tag, origin, value, author, from_day, until_day from profile.overrides
where as_of = $day and bucket = $bucket and uid = $uid order by tag, origin desc
"""
EDGE = "select parent_uid, root_uid, level, joined_at from fission.share_edges where as_of = $day and uid = $uid"
CHILDREN = "select uid from fission.share_edges where as_of = $day and parent_uid = $uid order by joined_at, uid"
ROLE = "select * exclude (as_of, bucket, uid) from fission.roles where as_of = $day and bucket = $bucket and uid = $uid"


@dataclass(frozen=True)
class Stay:
    """One value of a segmentation and the days on which it held: ``until_day`` is the first day of the next, absent now."""

    tag: str
    value: str | None
    from_day: date
    until_day: date | None


@dataclass(frozen=True)
class Override:
    """A value that was set by hand (``manual``) or declared in a survey."""

    tag: str
    origin: str
    value: str
    author: str | None
    from_day: date
    until_day: date | None


@dataclass(frozen=True)
class Kin:
    """Another person, by uid and public id only."""

    uid: int
    user_id: str | None


@dataclass(frozen=True)
class Tree:
    """Place in the share tree. ``parent`` is absent for a root and for who is in no tree (``level`` tells them apart).

    ``children`` are the first that joined, ``children_count`` all. ``role`` holds the columns of fission.roles that
    have a value.
    """

    level: int | None
    parent: Kin | None
    root: Kin | None
    joined_day: date | None
    children: tuple[Kin, ...]
    children_count: int
    role: dict[str, Any]


@dataclass(frozen=True)
class Story:
    """Everything of this module for one person."""

    stays: tuple[Stay, ...] = ()
    overrides: tuple[Override, ...] = ()
    tree: Tree | None = None


def story(lake: Lake, at: Release, uid: int, bucket: int, schemes: Sequence[str]) -> Story:
    """Stages of the segmentations ``schemes``, overrides and tree position of a person as of the release's day."""
    values = {"uid": uid, "day": at.as_of}
    with connect(lake, at) as con:
        there = {f"{s}.{v}" for s, v in con.execute("select schema_name, view_name from duckdb_views()").fetchall()}
        stays = _rows(con, STAYS, {**values, "tags": list(schemes)}) if "profile.tag_changes" in there else []
        overrides = _rows(con, OVERRIDES, {**values, "bucket": bucket}) if "profile.overrides" in there else []
        tree = _tree(con, there, values, bucket)
    return Story(tuple(Stay(**r) for r in stays), tuple(Override(**r) for r in overrides), tree)


def _tree(con: duckdb.DuckDBPyConnection, there: set[str], values: dict[str, Any], bucket: int) -> Tree | None:
    edge = _rows(con, EDGE, values) if "fission.share_edges" in there else []
    children = _rows(con, CHILDREN, values) if "fission.share_edges" in there else []
    role = _rows(con, ROLE, {**values, "bucket": bucket}) if "fission.roles" in there else []
    if not edge and not children and not role:
        return None
    kin = {r["uid"] for r in children[:SHOWN_CHILDREN]}
    kin |= {edge[0]["parent_uid"], edge[0]["root_uid"]} if edge else set()
    ids = _public_ids(con, there, kin)
    known = {k: v for k, v in (role[0] if role else {}).items() if v is not None}
    joined = edge[0]["joined_at"] if edge else None
    return Tree(
        level=edge[0]["level"] if edge else 0 if children else None,
        parent=Kin(edge[0]["parent_uid"], ids.get(edge[0]["parent_uid"])) if edge else None,
        root=Kin(edge[0]["root_uid"], ids.get(edge[0]["root_uid"])) if edge else None,
        # the connection shows stamps in the business zone
        joined_day=None if joined is None else joined.date(),
        children=tuple(Kin(r["uid"], ids.get(r["uid"])) for r in children[:SHOWN_CHILDREN]),
        children_count=len(children),
        role=known,
    )


def _public_ids(con: duckdb.DuckDBPyConnection, there: set[str], uids: set[int]) -> dict[int, str]:
    if not uids or "identity.users" not in there:
        return {}
    sql = "select uid, user_id from identity.users where list_contains($uids, uid)"
    return {r["uid"]: r["user_id"] for r in _rows(con, sql, {"uids": sorted(uids)})}


def _rows(con: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    used = {k: v for k, v in values.items() if f"${k}" in sql}
    cursor = con.execute(sql, used)
    names = [c[0] for c in cursor.description]
    return [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]
