"""How far every campaign has come by a release's day: its stages, who has which arm, what left, who was reached, what it brought.

Nothing is counted anew that ``huaxiang campaign results`` and ``learn`` have counted: their newest rows up to the day are
read. Definitions are those of the project's files, or, where a file is gone, the last by which people were assigned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from campaigns.language import CampaignDefinition, CampaignSettings, StageName
from campaigns.touches import SEEN, TOUCHES, WHOSE
from lake.releases import Release
from lake.sql import connect
from project.folder import Project
from schemas.contracts import contract
from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]
ASSIGNMENTS, PLANS, DELIVERIES = "campaigns.assignments", "campaigns.plans", "exports.deliveries"
SIZES, MEMBERSHIP_LOG = "audiences.sizes", "audiences.membership_log"
LAYERS = ("campaigns", "exports", "audiences", "identity", "silver")
LAST_PLANS = """
select campaign, content from campaigns.plans where as_of <= $day
qualify row_number() over (partition by campaign order by as_of desc, release desc) = 1 order by campaign
"""
LAST_GIVEN = "select campaign, max(as_of) from campaigns.assignments where as_of <= $day group by campaign"
HOLDERS = """
create or replace temp table holders as
with merged as (select uid, merged_into_uid from identity.users where merged_into_uid is not null),
given as (
    select coalesce(m.merged_into_uid, a.uid) as person, a.uid, a.arm, a.as_of
    from campaigns.assignments a left join merged m on m.uid = a.uid
    where a.campaign = $campaign and a.as_of <= $day
)
select person as uid, arm, as_of from given
qualify row_number() over (partition by person order by uid <> person, uid) = 1
"""
"""Whose arms they are after merges (``campaigns.assignment.standing``): the elder's own, else that of the eldest of the younger."""
HELD = "select arm, count(*), min(as_of), max(as_of) from holders group by arm order by arm"
BUILT = """
select audience, max(as_of) from audiences.sizes
where as_of <= $day and list_contains($audiences, audience) group by audience
"""
MEMBERS = """
with merged as (select uid, merged_into_uid from identity.users where merged_into_uid is not null),
latest as (
    select uid, arg_max(change, as_of) as change from audiences.membership_log
    where as_of <= $day and list_contains($audiences, audience) group by audience, uid
),
inside as (
    select distinct coalesce(m.merged_into_uid, l.uid) as uid from latest l left join merged m on m.uid = l.uid
    where l.change = 'enter'
)
select h.arm, count(*) from inside i left join holders h on h.uid = i.uid group by h.arm order by h.arm
"""
DELIVERED = """
select stage, arm, audience, platform, as_of, rows from exports.deliveries where campaign = $campaign and as_of <= $day
qualify row_number() over (
    partition by stage, arm, audience, platform order by as_of desc, release desc, created_at desc
) = 1
order by stage, arm, platform nulls first, audience
"""
TOUCHED = f"""
select t.stage, h.arm, grouping(t.stage) = 1 as is_whole, count(distinct t.uid) as users,
    count(distinct t.uid) filter (list_contains($seen, t.touch_state)) as seen
from ({WHOSE}) t join holders h on h.uid = t.uid
group by grouping sets ((t.stage, h.arm), (h.arm))
"""
NEWEST = """
select * from {table} where campaign = $campaign
and as_of = (select max(as_of) from {table} where campaign = $campaign and as_of <= $day) order by {order}
"""


@dataclass(frozen=True)
class PeopleReached:
    """People of one arm whom the touches name at all, and those of them who saw one."""

    users: int
    seen: int


@dataclass(frozen=True)
class StageDelivery:
    """The newest delivery of an audience and arm to a platform (None: a file of one's own).

    ``rows`` are of that delivery alone; with ``is_changes`` they are who came and who went since the one before.
    """

    audience: str
    arm: str
    platform: str | None
    as_of: date
    rows: int
    is_changes: bool


@dataclass(frozen=True)
class StageCourse:
    """One stage. ``by_arm`` are the people of its audiences, each once, as they were last built (on ``built`` or later).

    The key None of ``by_arm`` is who has no arm. ``built`` is None, and ``by_arm`` empty, where one of the audiences has not
    been built by the day. ``touched`` is by the arm that people were given, whatever the touch says.
    """

    stage: StageName
    first: date
    last: date
    built: date | None
    by_arm: dict[str | None, int]
    deliveries: tuple[StageDelivery, ...]
    touched: dict[str, PeopleReached]

    @property
    def users(self) -> int | None:
        """People of its audiences; None where they are not known."""
        return None if self.built is None else sum(self.by_arm.values())


@dataclass(frozen=True)
class CampaignCourse:
    """One campaign by the release's day. ``assigned`` are persons by arm; ``over_on`` is the last day of the last window.

    ``results``, ``progress``, ``attribution`` and ``learnt`` are rows of the newest counting up to the day, empty where there
    was none; ``touched`` is by arm over all stages, None where the shop tells of no touches of it.
    """

    id: str
    definition: CampaignDefinition
    assigned: dict[str, int]
    assigned_from: date | None
    over_on: date | None
    stages: tuple[StageCourse, ...]
    touched: dict[str, PeopleReached] | None
    results: tuple[Row, ...]
    progress: tuple[Row, ...]
    attribution: tuple[Row, ...]
    learnt: tuple[Row, ...]


@dataclass(frozen=True)
class CampaignsCourse:
    """Every campaign by its last day; ``told`` are those that are not over for longer than ``report_days``.

    ``has_mistakes``: the project's campaigns cannot be read, so only those that people were assigned to are here.
    """

    definitions: dict[str, CampaignDefinition] = field(default_factory=dict)
    told: tuple[CampaignCourse, ...] = ()
    report_days: int = 0
    has_mistakes: bool = False


def campaigns_course(project: Project, at: Release) -> CampaignsCourse:
    """Every campaign at a release; nothing is written. Campaigns' tables are read as they are now, up to the release's day."""
    definitions, has_mistakes = _declared(project)
    settings = project.method("campaigns", CampaignSettings)
    if not definitions and project.lake.version(PLANS) is None:
        return CampaignsCourse(has_mistakes=has_mistakes, report_days=settings.report_days)
    with connect(project.lake, at, LAYERS) as con:
        there = {f"{s}.{v}" for s, v in con.execute("select schema_name, view_name from duckdb_views()").fetchall()}
        if PLANS in there:
            for name, content in con.execute(LAST_PLANS, {"day": at.as_of}).fetchall():
                if name not in definitions:
                    definitions[name] = CampaignDefinition.model_validate(json.loads(content))
        ordered = dict(sorted(definitions.items(), key=lambda d: (d[1].last_day, d[0])))
        given = dict(con.execute(LAST_GIVEN, {"day": at.as_of}).fetchall()) if ASSIGNMENTS in there else {}
        since = at.as_of - timedelta(settings.report_days)
        told = tuple(
            _Reading(project, con, there, at, name, d).course()
            for name, d in ordered.items()
            if _ends(d, given.get(name)) >= since
        )
    return CampaignsCourse(ordered, told, settings.report_days, has_mistakes)


def _ends(d: CampaignDefinition, last_given: date | None) -> date:
    """Its last day, or that of its last window where that is later."""
    return d.last_day if last_given is None else max(d.last_day, last_given + timedelta(d.window_days))


def _declared(project: Project) -> tuple[dict[str, CampaignDefinition], bool]:
    try:
        return {name: c.definition for name, c in project.campaigns.items()}, False
    except ConfigurationError:
        return {}, True


class _Reading:
    """One campaign over an open release."""

    def __init__(
        self,
        project: Project,
        con: duckdb.DuckDBPyConnection,
        there: set[str],
        at: Release,
        name: str,
        definition: CampaignDefinition,
    ):
        self.project, self.con, self.there, self.d, self.day = project, con, there, definition, at.as_of
        self.id = name
        self.asked = {"campaign": name, "day": at.as_of}

    def course(self) -> CampaignCourse:
        held = self._held()
        touched = self._touched() if held else []
        delivered = self._delivered()
        days = [d for _, _, *both in held for d in both]
        return CampaignCourse(
            id=self.id,
            definition=self.d,
            assigned={arm: n for arm, n, _, _ in held},
            assigned_from=min(days, default=None),
            over_on=max(days) + timedelta(self.d.window_days) if days else None,
            stages=tuple(
                self._stage(name, delivered, {r["arm"]: r for r in touched if r["stage"] == name and not r["is_whole"]})
                for name, _ in self.d.stages.there
            ),
            touched={r["arm"]: PeopleReached(r["users"], r["seen"]) for r in touched if r["is_whole"]}
            if touched
            else None,
            results=self._newest("campaigns.results", "arm, outcome"),
            progress=self._newest("campaigns.progress", "stage, metric"),
            attribution=self._newest("campaigns.attribution", "channel, method"),
            learnt=self._newest("campaigns.learnt", "is_found desc, p_value, tag, value"),
        )

    def _held(self) -> list[tuple[str, int, date, date]]:
        """Arm, persons, first and last day of their assignments; none before anybody was assigned."""
        if ASSIGNMENTS not in self.there:
            return []
        self.con.execute(HOLDERS, self.asked)
        return self.con.execute(HELD).fetchall()

    def _stage(self, name: StageName, delivered: list[Row], touched: Mapping[str, Row]) -> StageCourse:
        built, by_arm = self._members(list(getattr(self.d.stages, name).audiences))
        return StageCourse(
            name,
            *self.d.days(name),
            built=built,
            by_arm=by_arm,
            deliveries=tuple(
                StageDelivery(r["audience"], r["arm"], r["platform"], r["as_of"], r["rows"], self._is_changes(r))
                for r in delivered
                if r["stage"] == name
            ),
            touched={arm: PeopleReached(r["users"], r["seen"]) for arm, r in touched.items()},
        )

    def _members(self, audiences: list[str]) -> tuple[date | None, dict[str | None, int]]:
        if not {ASSIGNMENTS, SIZES, MEMBERSHIP_LOG} <= self.there:
            return None, {}
        asked = {"day": self.day, "audiences": audiences}
        built = dict(self.con.execute(BUILT, asked).fetchall())
        if set(built) != set(audiences):
            return None, {}
        return min(built.values()), dict(self.con.execute(MEMBERS, asked).fetchall())

    def _delivered(self) -> list[Row]:
        """None in a lake whose deliveries are older than campaigns."""
        if DELIVERIES not in self.there:
            return []
        columns = {c[0] for c in self.con.execute(f"describe {DELIVERIES}").fetchall()}
        return self._rows(DELIVERED, self.asked) if "campaign" in columns else []

    def _is_changes(self, delivery: Row) -> bool:
        found = self.project.platforms.get(delivery["platform"] or "")
        return found is not None and found.platform.sends == "changes"

    def _touched(self) -> list[Row]:
        if TOUCHES not in self.there:
            return []
        return self._rows(TOUCHED, {"campaign": self.id, "as_of": self.day, "seen": list(SEEN)})

    def _newest(self, table: str, order: str) -> tuple[Row, ...]:
        if table not in self.there:
            return ()
        # Rows of an older lake have fewer columns.
        every = dict.fromkeys(c.name for c in contract(table).columns)
        return tuple(every | r for r in self._rows(NEWEST.format(table=table, order=order), self.asked))

    def _rows(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        cursor = self.con.execute(sql, dict(values))
        names = [c[0] for c in cursor.description]
        return [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]
