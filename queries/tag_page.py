"""Everything that a marketer asks about one tag: meaning, values and strategies, and how it stands in the latest release."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from lake import releases
from lake.sql import connect
from project.check import audience_uses
from project.folder import Project
from project.frozen import BREAKS, break_rows
from project.held import held_in_words, marks_of, remedy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from lake.releases import Release

MOST_VALUES = 40
"""Values of a tag that its page shows of members, and of visitors; ``distinct_values`` says how many there are."""
QUALITY = "select * from profile.tag_quality where tag = ? and as_of = ? order by is_member desc"
BINS = """
select is_member, bin as value, users, count(*) over (partition by is_member) as distinct_values
from profile.tag_distribution where tag = ? and as_of = ?
qualify row_number() over (partition by is_member order by users desc, bin) <= {most}
order by is_member desc, users desc, bin
"""
CUT = (
    "name",
    "position",
    "number",
    "fitted_on",
    "basis",
    "sample_users",
    "share_beyond_horizon",
    "horizon_to_try_days",
)
VALUES = """
select *, count(*) over (partition by is_member) as distinct_values
from (select is_member, cast("{tag}" as varchar) as value, count(*) as users from profile.profile where as_of = ? group by all)
qualify row_number() over (partition by is_member order by users desc, value) <= {most}
order by is_member desc, users desc, value
"""
SPREAD = """
select is_member, count("{tag}") as known, min("{tag}") as least, quantile_cont("{tag}", 0.25) as quarter,
       median("{tag}") as median, quantile_cont("{tag}", 0.75) as three_quarters, max("{tag}") as greatest,
       avg("{tag}") as mean
from profile.profile where as_of = ? group by all order by is_member desc
"""


@dataclass(frozen=True)
class TagPage:
    """``standing`` is the latest release's: its day, quality rows, and the distribution; None without a release."""

    entry: dict[str, Any]
    window: int | None
    place: str
    values: tuple[dict[str, Any], ...]
    used_by_tags: tuple[str, ...]
    used_by_audiences: tuple[str, ...]
    standing: Standing | None


@dataclass(frozen=True)
class Standing:
    """A tag in the latest release, members and visitors apart. ``spread`` is there for numbers.

    ``cuts`` are the frozen numbers that the tag is judged by, with what each rests on. ``held`` are the
    held tags that it comes from, itself included, with the day since when; ``notes`` say so in words.
    """

    as_of: date
    release: int
    quality: tuple[dict[str, Any], ...]
    distribution: tuple[dict[str, Any], ...]
    spread: tuple[dict[str, Any], ...]
    cuts: tuple[dict[str, Any], ...] = ()
    held: dict[str, date] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def tag_page(project: Project, name: str) -> TagPage:
    """NotThereError names the nearest tag."""
    catalogue = project.catalogue
    tag = catalogue.tag(name)
    said = (("label", tag.labels), ("strategy", tag.strategies), ("needs", tag.needs), ("resources", tag.resources))
    values = [
        {"value": v, **{key: texts[v].model_dump() for key, texts in said if v in texts}} for v in tag.finite or ()
    ]
    return TagPage(
        entry=tag.model_dump(mode="json", exclude_none=True, by_alias=True),
        window=catalogue.windows[name],
        place=str(catalogue.places[("tag", name)]),
        values=tuple(values),
        used_by_tags=tuple(catalogue.users_of(name)),
        used_by_audiences=tuple(u.name for u in audience_uses(project, name)),
        standing=_standing(project, name, tag.type),
    )


def _standing(project: Project, name: str, kind: str) -> Standing | None:
    current = releases.latest(project.lake)
    if current is None:
        return None
    with connect(project.lake, current) as con:
        if name not in {row[0] for row in con.execute("describe profile.profile").fetchall()}:
            return None
        judged = _rows(con, QUALITY, [name, current.as_of]) if "profile.tag_quality" in current.tables else []
        quality = [
            {"coverage": row["known_users"] / row["base_users"] if row["base_users"] else None, **row} for row in judged
        ]
        distribution, spread = [], []
        if kind in ("int32", "int64", "float64"):
            spread = _rows(con, SPREAD.format(tag=name), [current.as_of])
        if "profile.tag_distribution" in current.tables:
            distribution = _rows(con, BINS.format(most=MOST_VALUES), [name, current.as_of])
        if not distribution and not spread:
            distribution = _rows(con, VALUES.format(tag=name, most=MOST_VALUES), [current.as_of])
        cuts = _cuts(project, name, current)
    held = marks_of(project.lake, project.catalogue, current).of([name])
    figures = (tuple(quality), tuple(distribution), tuple(spread), tuple(cuts))
    return Standing(current.as_of, current.number, *figures, held, tuple(_held_notes(project, name, held)))


def _held_notes(project: Project, name: str, held: dict[str, date]) -> Iterator[str]:
    if name in held:
        ends = remedy(project.catalogue, [name])
        yield f"held since {held[name]}: it keeps the values of the run before that day; {ends}"
    below = {n: day for n, day in held.items() if n != name}
    if below:
        yield f"made from {held_in_words(below)}, that is from older values"


def _cuts(project: Project, name: str, at: Release) -> list[dict[str, Any]]:
    """Frozen numbers that the tag, or a fact that it is made of, names; those of other tags stand with them."""
    needs = project.catalogue.needs
    mine = set(needs.get(("tag", name), ()))
    mine |= {node for kind, n in mine if kind == "fact" for node in needs.get((kind, n), ())}
    names = sorted(n for kind, n in mine if kind == "break")
    if not names or BREAKS not in at.tables:
        return []
    return [{c: r[c] for c in CUT} for r in break_rows(project.lake, [at.as_of], names, at.tables[BREAKS])]


def _rows(con: duckdb.DuckDBPyConnection, sql: str, values: list[Any]) -> list[dict[str, Any]]:
    cursor = con.execute(sql, values)
    names = [d[0] for d in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
