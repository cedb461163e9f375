"""``huaxiang release``: what was released, what changed between two releases, and going back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from lake.releases import Release, release
from lake.sql import connect
from project.folder import Project
from schemas.contracts import contract


@dataclass(frozen=True)
class TagDifference:
    """One tag between two releases: users of both whose value differs."""

    tag: str
    changed_users: int
    share: float


@dataclass(frozen=True)
class ReleaseDifference:
    """``before`` against ``after``: users that came and went, tags by users changed, table versions that moved."""

    before: Release
    after: Release
    new_users: int
    lost_users: int
    kept_users: int
    tags: tuple[TagDifference, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    tables: dict[str, tuple[int | None, int | None]]


def difference(project: Project, before: str, after: str) -> ReleaseDifference:
    """What changed for how many users between two releases (numbers or days)."""
    a, b = release(project.lake, before), release(project.lake, after)
    fixed = contract("profile.profile").column_names
    with connect(project.lake, a) as old, connect(project.lake, b) as new:
        old_columns, new_columns = _columns(old), _columns(new)
        shared = [c for c in new_columns if c in old_columns and c not in fixed]
        # Both snapshots are scanned where they lie and joined by DuckDB, which spills: nothing is collected here.
        new.register("old_profile", project.lake.dataset("profile.profile", a.tables["profile.profile"]))
        counts = _counts(new, a.as_of, b.as_of, shared)
    kept = counts["kept"]
    tags = [TagDifference(t, counts[t], counts[t] / kept if kept else 0.0) for t in shared]
    names = sorted(set(a.tables) | set(b.tables))
    return ReleaseDifference(
        before=a,
        after=b,
        new_users=counts["new"],
        lost_users=counts["lost"],
        kept_users=kept,
        tags=tuple(sorted(tags, key=lambda t: (-t.changed_users, t.tag))),
        only_before=tuple(c for c in old_columns if c not in new_columns),
        only_after=tuple(c for c in new_columns if c not in old_columns),
        tables={n: (a.tables.get(n), b.tables.get(n)) for n in names if a.tables.get(n) != b.tables.get(n)},
    )


def _columns(con: Any) -> list[str]:
    return [row[0] for row in con.execute("describe profile.profile").fetchall()]


def _counts(con: Any, old_day: date, new_day: date, tags: list[str]) -> dict[str, int]:
    changed = "".join(
        f', count(*) filter (o.uid is not null and n.uid is not null and o."{t}" is distinct from n."{t}")'
        for t in tags
    )
    row = con.execute(
        f"""
        select count(*) filter (o.uid is null), count(*) filter (n.uid is null),
               count(*) filter (o.uid is not null and n.uid is not null){changed}
        from (select * from old_profile where as_of = ?) o
        full join (select * from profile.profile where as_of = ?) n on o.uid = n.uid
        """,
        [old_day, new_day],
    ).fetchall()[0]
    return dict(zip(["new", "lost", "kept", *tags], row, strict=True))
