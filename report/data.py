"""What a release holds for its report: small tables of one day, read once. No row of a person leaves this module.

A table that the release does not pin, or a column that an older lake does not have, reads as absent; the sections say
so in words. Only ``landing`` and ``quarantine`` are read as they are now: releases do not pin them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from features.tags import UNKNOWN
from lake.refused import refused
from lake.sql import connect
from project.arrivals import unusual
from project.held import Marks, marks_of
from queries.campaign_course import CampaignsCourse, campaigns_course
from queries.status import FEEDS, WAITING
from report.words import Vocabulary
from schemas.money import money_text
from schemas.quarantine import quoted
from schemas.tag_roles import TagRole

if TYPE_CHECKING:
    import duckdb

    from features.rhythm import Silence
    from features.tags import Tag
    from lake.manifest import ManifestRow
    from lake.releases import Release
    from project.folder import Project

Row = dict[str, Any]
FEW = 31
"""Whole numbers with at most so many distinct values are shown one by one: months, hours, days of a month, scores."""
RFM_GRID = """
select {r} as r, {f} as f, count(*) as users, avg({monetary}) as mean_monetary_minor
from profile.profile where as_of = $day and {r} is not null and {f} is not null group by all
"""
BUYERS = """
select is_member, count(*) filter ({frequency} > 0) as buyers, coalesce(sum({monetary}), 0) as amount
from profile.profile where as_of = $day group by all
"""
TREES = """
select community_structure as structure, count(*) as trees, sum(tree_users)::bigint as users, max(tree_users) as largest,
       max(tree_depth) as deepest, avg(structural_virality) as virality, sum(tree_conversions)::bigint as conversions
from fission.share_trees where as_of = $day group by all
"""
REACHED = """
select 'won' as tree, count(*) as trees, sum(tree_users)::bigint as users, max(tree_users) as largest,
       max(tree_depth) as deepest, avg(structural_virality) as virality, sum(tree_conversions)::bigint as conversions
from fission.share_trees where as_of = $day
union all by name
select 'reached' as tree, count(*) as trees, sum(tree_users)::bigint as users, max(tree_users) as largest,
       max(tree_depth) as deepest, avg(structural_virality) as virality, sum(tree_conversions)::bigint as conversions,
       sum(tree_joined)::bigint as joined
from fission.reach_trees where as_of = $day
"""
CARDS = """
select code_value as sku, count(*) as trees, sum(tree_users)::bigint as users, max(tree_users) as largest,
       max(tree_depth) as deepest, max_by(structural_virality, (tree_users, -root_uid)) as virality,
       sum(tree_joined)::bigint as joined, sum(tree_conversions)::bigint as conversions
from fission.card_trees join activity.codes on code_kind = 'sku' and code = sku_code
where as_of = $day group by all order by users desc, sku limit 10
"""
LARGEST = "select * from fission.reach_trees where as_of = $day order by tree_users desc, root_uid limit 10"
FEW_BINS = frozenset({"0", "[1, 2)", "[2, 5)", "[5, 10)", "[10, 20)", UNKNOWN})
MOVED = """
select alert, from_segment, to_segment, count(*) as users from segments.alert_users where as_of = $day
group by all order by users desc, alert, from_segment, to_segment
"""
EXACT = """
select "{tag}"::varchar as bin, is_member, count(*) as users from profile.profile where as_of = $day
group by all order by users desc, bin
"""
FIRST_QUALITY = "select min(as_of) as first from profile.tag_quality where as_of <= $day"
OVERRIDES = """
select tag, origin, count(*) as users from profile.overrides where as_of = $day group by all order by all
"""


@dataclass(frozen=True)
class Figure:
    """One figure with what it rests on."""

    number: float | None
    sample: int | None = None
    low: float | None = None
    high: float | None = None


Figures = dict[str, dict[str, dict[str, Figure]]]
"""By topic, figure, item."""


@dataclass
class ReportData:
    """A day of a release. Segment counts and flows tell members (True) from visitors (False).

    ``first_quality``: the first day up to this one of which the release has the quality of tags.
    """

    project: Project
    at: Release
    words: Vocabulary
    there: frozenset[str]
    base: dict[bool, int] = field(default_factory=dict)
    buyers: dict[bool, Row] = field(default_factory=dict)
    segments: dict[str, dict[str, dict[bool, int]]] = field(default_factory=dict)
    figures: Figures = field(default_factory=dict)
    curves: dict[str, dict[str, list[Row]]] = field(default_factory=dict)
    alerts: list[Row] = field(default_factory=list)
    moved: list[Row] = field(default_factory=list)
    associations: list[Row] = field(default_factory=list)
    flows: dict[str, list[Row]] = field(default_factory=dict)
    flows_from: dt.date | None = None
    breaks: dict[str, list[Row]] = field(default_factory=dict)
    quality: dict[str, dict[bool | None, Row]] = field(default_factory=dict)
    first_quality: dt.date | None = None
    spread: dict[str, dict[bool | None, list[Row]]] = field(default_factory=dict)
    share_days: list[Row] = field(default_factory=list)
    trees: list[Row] = field(default_factory=list)
    touches: list[Row] = field(default_factory=list)
    reached: list[Row] = field(default_factory=list)
    largest_reach: list[Row] = field(default_factory=list)
    cards: list[Row] = field(default_factory=list)
    rfm_grid: list[Row] = field(default_factory=list)
    overrides: list[Row] = field(default_factory=list)
    held: Marks = field(default_factory=Marks)
    held_then: dict[dt.date, Marks] = field(default_factory=dict)
    feeds: list[Row] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    refused: list[ManifestRow] = field(default_factory=list)
    silent: dict[str, Silence] = field(default_factory=dict)
    campaigns: CampaignsCourse = field(default_factory=CampaignsCourse)

    @property
    def as_of(self) -> dt.date:
        return self.at.as_of

    @property
    def users(self) -> int:
        return sum(self.base.values())

    @property
    def observed_days(self) -> int | None:
        """Days from the first behaviour on, as the run noted them."""
        rows = self.breaks.get("observed_days")
        return int(rows[0]["number"]) if rows else None

    def of(self, role: TagRole) -> str | None:
        """The tag that has a role; None where no tag has it."""
        return self.project.catalogue.of_role(role)

    def figure(self, topic: str, figure: str) -> dict[str, Figure]:
        """Items of a figure in stored order; empty where the topic gave none."""
        return self.figures.get(topic, {}).get(figure, {})

    def number(self, topic: str, figure: str, item: str = "") -> float | None:
        found = self.figure(topic, figure).get(item)
        return None if found is None else found.number

    def money(self, minor: float | None, *, exact: bool = False) -> str:
        return "–" if minor is None else money_text(minor, self.project.currency, exact=exact)

    def curve(self, name: str) -> dict[str, list[Row]]:
        """Points of a curve by series, x ascending."""
        return self.curves.get(name, {})

    def flow(self, scheme: str) -> dict[tuple[str, str], int]:
        """Users by (from, to), members and visitors together."""
        found: dict[tuple[str, str], int] = {}
        for r in self.flows.get(scheme, []):
            pair = (r["from_segment"], r["to_segment"])
            found[pair] = found.get(pair, 0) + r["users"]
        return found


def report_data(project: Project, at: Release) -> ReportData:
    """Everything that the report shows of a release."""
    with connect(project.lake, at) as con:
        there = frozenset(
            f"{s}.{v}" for s, v in con.execute("select schema_name, view_name from duckdb_views()").fetchall()
        )
        d = ReportData(project, at, Vocabulary(project.catalogue), there)
        read = _reader(con, there, at.as_of)
        _people(d, read, con)
        _insights(d, read)
        _profile(d, read, con)
        _sharing(d, read)
        _feeds(d, con)
    d.refused = refused(project.lake)
    d.campaigns = campaigns_course(project, at)
    silver = {name: version for name, version in at.tables.items() if name.startswith("silver.")}
    d.silent = unusual(project.over(project.lake.at(silver)), at.as_of)
    return d


Reader = Callable[..., list[Row]]


def _reader(con: duckdb.DuckDBPyConnection, there: frozenset[str], day: dt.date) -> Reader:
    def read(table: str, sql: str | None = None, order: str = "all") -> list[Row]:
        """Rows of one day of a table; none where the table is not there."""
        if table not in there:
            return []
        return rows_of(con, sql or f"select * from {table} where as_of = $day order by {order}", {"day": day})

    return read


def rows_of(con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Row]:
    """What SQL gives, as rows by name."""
    cursor = con.execute(sql, dict(values) if isinstance(values, Mapping) else list(values))
    names = [c[0] for c in cursor.description]
    return [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    layer, name = table.split(".")
    found = con.execute(
        "select column_name from duckdb_columns() where schema_name = ? and table_name = ?", [layer, name]
    ).fetchall()
    return {c[0] for c in found}


def _people(d: ReportData, read: Reader, con: duckdb.DuckDBPyConnection) -> None:
    sql = "select is_member, count(*) as users from profile.profile where as_of = $day group by all"
    d.base = {r["is_member"]: r["users"] for r in read("profile.profile", sql)}
    columns = _columns(con, "profile.profile")

    def there(*roles: TagRole) -> list[str]:
        """The columns of the tags of roles; none where one of them is not there."""
        found = [quoted(tag) for role in roles if (tag := d.of(role)) is not None and tag in columns]
        return found if len(found) == len(roles) else []

    if spent := there(TagRole.FREQUENCY, TagRole.MONETARY):
        sql = BUYERS.format(frequency=spent[0], monetary=spent[1])
        d.buyers = {r["is_member"]: r for r in read("profile.profile", sql)}
    if scores := there(TagRole.RECENCY_SCORE, TagRole.FREQUENCY_SCORE, TagRole.MONETARY):
        d.rfm_grid = read("profile.profile", RFM_GRID.format(r=scores[0], f=scores[1], monetary=scores[2]))
    sql = "select scheme, segment, is_member, count(*) as users from segments.segments where as_of = $day group by all"
    for r in read("segments.segments", sql):
        d.segments.setdefault(r["scheme"], {}).setdefault(r["segment"], {})[r["is_member"]] = r["users"]


def _insights(d: ReportData, read: Reader) -> None:
    for r in read("segments.figures", order="topic, figure, item"):
        made = Figure(r["number"], r.get("sample_users"), r.get("low"), r.get("high"))
        d.figures.setdefault(r["topic"], {}).setdefault(r["figure"], {})[r["item"]] = made
    for r in read("segments.curves", order="curve, series, x"):
        d.curves.setdefault(r["curve"], {}).setdefault(r["series"], []).append(r)
    d.alerts = read("segments.alerts", order="alert")
    d.moved = read("segments.alert_users", MOVED)
    d.associations = read("segments.associations", order="lift desc, joint_baskets desc, left_item, right_item")
    flows = read("segments.segment_flows", order="scheme, from_segment, to_segment, is_member")
    d.flows_from = max((r["from_as_of"] for r in flows), default=None)
    for r in flows:
        if r["from_as_of"] == d.flows_from:
            d.flows.setdefault(r["scheme"], []).append(r)
    compared = {d.flows_from, *(a.get("from_as_of") for a in d.alerts)}
    d.held_then = {day: marks_of(d.project.lake, d.project.catalogue, d.at, day) for day in compared if day}


def _profile(d: ReportData, read: Reader, con: duckdb.DuckDBPyConnection) -> None:
    d.held = marks_of(d.project.lake, d.project.catalogue, d.at)
    for r in read("profile.breaks", order="name, position"):
        d.breaks.setdefault(r["name"], []).append(r)
    for r in read("profile.tag_quality", order="tag"):
        d.quality.setdefault(r["tag"], {})[r.get("is_member")] = r
    for r in read("profile.tag_quality", FIRST_QUALITY):
        d.first_quality = r["first"]
    for r in read("profile.tag_distribution", order="tag, users desc, bin"):
        d.spread.setdefault(r["tag"], {}).setdefault(r["is_member"], []).append(r)
    columns = _columns(con, "profile.profile") if "profile.profile" in d.there else set()
    for tag, tag_rows in d.spread.items():
        declared = d.words.tags.get(tag)
        if (
            tag in columns
            and declared is not None
            and has_few_values(declared, (r["bin"] for v in tag_rows.values() for r in v))
        ):
            exact: dict[bool | None, list[Row]] = {}
            for r in read("profile.profile", EXACT.format(tag=tag)):
                exact.setdefault(r["is_member"], []).append(r | {"bin": r["bin"] or UNKNOWN})
            d.spread[tag] = exact
    d.overrides = read("profile.overrides", OVERRIDES)


def has_few_values(tag: Tag, bins: Iterable[str]) -> bool:
    """Whether a tag counts in whole numbers of which few can occur, or did: then its bins would hide more than they say.

    The stored bins stay as they are: runs are compared by them, and exact values of a tag that counts days would move
    with every day.
    """
    if not tag.type.startswith("int") or tag.unit in ("minor", "year"):
        return False
    least, most = tag.bounds
    if least is not None and most is not None:
        return most - least <= FEW
    return all(b in FEW_BINS for b in bins)


def _sharing(d: ReportData, read: Reader) -> None:
    d.share_days = read("fission.share_daily", order="cohort_day")
    d.trees = read("fission.share_trees", TREES)
    d.touches = read("fission.touches")
    d.reached = [r for r in read("fission.reach_trees", REACHED) if r["trees"]]
    d.largest_reach = read("fission.reach_trees", LARGEST)
    d.cards = read("fission.card_trees", CARDS)


def _feeds(d: ReportData, con: duckdb.DuckDBPyConnection) -> None:
    if "landing.manifest" not in d.there:
        return
    d.feeds = rows_of(con, FEEDS)
    for feed in (r["feed"] for r in d.feeds):
        if f"quarantine.{feed}" in d.there:
            d.waiting[feed] = sum(r["waiting"] for r in rows_of(con, WAITING.format(feed=feed)))


def by_share(items: Mapping[str, Figure]) -> Iterator[tuple[str, Figure]]:
    """Items with the greatest number first."""
    yield from sorted(items.items(), key=lambda kv: (-(kv[1].number or 0.0), kv[0]))
