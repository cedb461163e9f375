"""``huaxiang campaign plan --goal``: a goal's metric, where the shop is short of its past and of the benchmark, and who can close it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa

from audiences.bits import Bits, how_many
from audiences.plan import Test
from campaigns.goals import (
    ACTIVE,
    GOALS,
    Contribution,
    Counts,
    GoalName,
    MetricPart,
    contributions,
    contributions_to_shares,
    where_it_can_be_closed,
    whole_of,
)
from campaigns.language import CampaignSettings
from features.aipl import AiplSettings
from features.facts import Fact
from features.kernel.arrays import to_arrow
from features.tags import Tag
from lake.lake import Lake
from lake.releases import Release, lake_at, release
from lake.sql import connect
from project.audience import held_notes, plan_of, with_elders
from project.folder import Project
from project.held import held_in_words, marks_of
from queries.preview.answer import release_columns
from queries.preview.events import Events
from queries.preview.release_columns import ACTIVITY, ReleaseColumns
from schemas.errors import HuaxiangError, NotThereError
from schemas.tag_roles import ROLES, TagRole

SEGMENTS, FIGURES = "segments.segments", "segments.figures"
PARTS = """
select scheme, segment, count(*), coalesce(sum(amount), 0)::bigint, coalesce(sum(base), 0)::bigint
from (
    select s.scheme, coalesce(u.merged_into_uid, s.uid) as uid,
           arg_min(s.segment, case when u.merged_into_uid is null then -1 else s.uid end) as segment
    from segments.segments s left join identity.users u using (uid)
    where s.as_of = $day and list_contains($schemes, s.scheme)
    group by all
) left join did using (uid)
group by all
"""
"""Who was merged since is one person, where the elder stood: what both did is the elder's."""
PEERS = """
select item, number, sample_users from segments.figures
where as_of = ? and topic = 'aipl' and figure = 'benchmark_share'
"""
HISTORY = """
select item, sum(number), (
    select count(distinct as_of) from segments.figures
    where as_of >= $first and as_of < $last and topic = 'segments' and figure = 'users_share' and starts_with(item, $scheme)
)
from segments.figures
where as_of >= $first and as_of < $last and topic = 'segments' and figure = 'users_share' and starts_with(item, $scheme)
group by item
"""
"""A day on which nobody stood in a segment counts with 0: the sum is to be divided by all days of the scheme."""


@dataclass(frozen=True)
class Note:
    """What cannot be said, and what to do, in both languages."""

    zh: str
    en: str


@dataclass(frozen=True)
class SegmentGap:
    """A segment beside a reference: its share of users, its metric, and what it brings less, in units of the goal's amount.

    ``gap`` (below 0: it brings more) is ``by_value``, its users do less than then, and ``by_share``, they are more or fewer.
    ``where`` are the segments of the scheme whose users can close it, ``audiences`` those of the project with people there,
    most first. ``is_few``: the metric rests on few users.
    """

    segment: str
    zh: str
    en: str
    users: int
    share: float
    reference_share: float
    value: float | None
    reference_value: float | None
    by_value: float
    by_share: float
    gap: float
    is_few: bool
    where: tuple[str, ...]
    audiences: dict[str, int]


@dataclass(frozen=True)
class SchemeGaps:
    """One segmentation to look at, segments with the largest gap first: to its own past, and to its benchmark.

    The gaps to the past sum to what the whole shop is short of. ``benchmark_days`` own days are the benchmark's mean; None
    is a file of peers. Empty lists where a note says why.
    """

    role: str
    scheme: str
    zh: str
    en: str
    to_past: tuple[SegmentGap, ...]
    benchmark_days: int | None
    to_benchmark: tuple[SegmentGap, ...]


@dataclass(frozen=True)
class GoalReport:
    """A goal at a release. ``value`` is ``amount`` over ``base`` of the ``days`` that end on ``as_of``; those of then end on
    ``past_day`` (None: there is no such snapshot), as far as they were known then. Money in minor units.

    ``gap`` is the amount that the shop is short of at the metric of then (below 0: more than then).
    """

    goal: GoalName
    zh: str
    en: str
    metric_zh: str
    metric_en: str
    definition_zh: str
    definition_en: str
    unit_zh: str
    unit_en: str
    is_money: bool
    is_share: bool
    release: int
    as_of: date
    days: int
    past_day: date | None
    users: int
    amount: int
    base: int
    value: float | None
    past_users: int | None
    past_amount: int | None
    past_base: int | None
    past_value: float | None
    gap: float | None
    min_users: int
    schemes: tuple[SchemeGaps, ...]
    notes: tuple[Note, ...]
    warnings: tuple[str, ...]


def campaign_goal(project: Project, goal: GoalName, *, which: int | str | None = None) -> GoalReport:
    """The goal at a release; nothing is written. NotThereError for a release without segments, HuaxiangError for no such goal."""
    if goal not in GOALS:
        raise HuaxiangError(f"no goal {goal!r}; goals are {', '.join(GOALS)}")
    at = release(project.lake, which)
    if SEGMENTS not in at.tables:
        raise NotThereError(f"release {at.number} ({at.as_of}) has no segments; `huaxiang run --as-of {at.as_of}`")
    return _Asking(project, goal, at).answer()


class _Asking:
    """One question to one release."""

    def __init__(self, project: Project, name: GoalName, at: Release):
        self.project, self.name, self.at, self.goal = project, name, at, GOALS[name]
        self.settings = project.method("campaigns", CampaignSettings)
        self.columns = release_columns(project, at)
        self.notes: list[Note] = []
        self.warnings: list[str] = []

    def answer(self) -> GoalReport:
        g, at, lake = self.goal, self.at, self.project.lake
        past = self.past_day()
        days = self.settings.goal_days if past is None else (at.as_of - past).days
        schemes = self.schemes()
        ids = [tag.id for _, tag in schemes]
        with connect(lake, at, ("segments", "identity")) as con:
            now = self.parts(con, at.as_of, days, ids)
            then = {} if past is None else self.parts(con, past, days, ids)
            benchmarks = {tag.id: self.benchmark(con, role, tag) for role, tag in schemes}
        if past is not None:
            self.say_when_behaviour_begins(past - timedelta(days * (2 if "active_before" in g.amounts else 1) - 1))
        here = next((whole_of(p) for p in now.values()), None) or self.whole(at.as_of, days)
        before = next((whole_of(p) for p in then.values()), None)
        self.warn_of_held(ids, past)
        members = self.members() if schemes else {}
        found = tuple(
            self.scheme_gaps(role, tag, now.get(tag.id, {}), then.get(tag.id, {}), past, benchmarks[tag.id], members)
            for role, tag in schemes
        )
        self.columns.cache.trim()
        was = None if before is None else before.value
        return GoalReport(
            goal=self.name,
            zh=g.name.zh,
            en=g.name.en,
            metric_zh=g.metric.zh,
            metric_en=g.metric.en,
            definition_zh=g.definition.zh,
            definition_en=g.definition.en,
            unit_zh=g.unit.zh,
            unit_en=g.unit.en,
            is_money=g.is_money,
            is_share=g.is_share,
            release=at.number,
            as_of=at.as_of,
            days=days,
            past_day=past,
            users=here.users,
            amount=here.amount,
            base=here.base,
            value=here.value,
            past_users=None if before is None else before.users,
            past_amount=None if before is None else before.amount,
            past_base=None if before is None else before.base,
            past_value=was,
            gap=None if was is None or not here.base else was * here.base - here.amount,
            min_users=self.settings.goal_min_users,
            schemes=found,
            notes=tuple(self.notes),
            warnings=tuple(dict.fromkeys(self.warnings)),
        )

    def past_day(self) -> date | None:
        """The snapshot nearest to so many days before, within the tolerance; a note says where there is none."""
        s, as_of = self.settings, self.at.as_of
        files = lake_at(self.project.lake, self.at).files(SEGMENTS)
        there = sorted({f.partition["as_of"] for f in files if f.partition["as_of"] < as_of})
        wanted = as_of - timedelta(s.goal_days)
        near = [d for d in there if abs((d - wanted).days) <= s.goal_tolerance_days]
        if near:
            return min(near, key=lambda d: (abs((d - wanted).days), d))
        kept = ", ".join(map(str, there[-5:]))
        self.note(
            f"没有 {s.goal_days} 天前（{wanted}，前后 {s.goal_tolerance_days} 天）的快照，无法与自身过去比较；"
            f"现存更早的快照：{kept or '无'}。补跑该日：huaxiang run --as-of {wanted}，再重跑 {as_of}",
            f"there is no snapshot of {s.goal_days} days ago ({wanted}, within {s.goal_tolerance_days} days), so nothing can be "
            f"said of the past; older snapshots kept: {kept or 'none'}. Run that day (`huaxiang run --as-of {wanted}`), then "
            f"{as_of} again",
        )
        return None

    def schemes(self) -> list[tuple[TagRole, Tag]]:
        """The goal's segmentations by role; a note says which role no tag has."""
        catalogue, found = self.project.catalogue, []
        for role in self.goal.roles:
            name = catalogue.of_role(role)
            if name is not None:
                found.append((role, catalogue.tag(name)))
                continue
            entry = ROLES[role]
            self.note(
                f"没有标签担任角色 {role}（{entry.name.zh}），不看该分群；在 tags/*.yaml 里给{entry.means.zh}的标签写上 role: {role}",
                f"no tag has the role {role} ({entry.name.en}), so it is not looked at; give it to the tag that holds "
                f"{entry.means.en}: `role: {role}` in tags/*.yaml",
            )
        return found

    # --- what was counted ---

    def parts(
        self, con: duckdb.DuckDBPyConnection, day: date, days: int, schemes: Sequence[str]
    ) -> dict[str, dict[str, MetricPart]]:
        """Users, amount and base by scheme and segment of a day."""
        con.register("did", self.did(day, days))
        rows = con.execute(PARTS, {"day": day, "schemes": list(schemes)}).fetchall()
        con.unregister("did")
        found: dict[str, dict[str, MetricPart]] = {}
        for scheme, segment, users, amount, base in sorted(rows):
            # Everybody is a base of their own, also who did nothing.
            found.setdefault(scheme, {})[segment] = MetricPart(
                users, amount, users if self.goal.bases == "users" else base
            )
        return found

    def whole(self, day: date, days: int) -> MetricPart:
        """Everybody of the release's day."""
        did = self.did(day, days)
        amount, base = (int(did[c].to_numpy().sum()) for c in ("amount", "base"))
        return MetricPart(len(did), amount, base)

    def did(self, day: date, days: int) -> pa.Table:
        """Of every user amount and base over the days that end on a day, as known by then."""
        amounts = [_counted(self.columns, c, day, days) for c in self.goal.amounts]
        amount = amounts[0] if len(amounts) == 1 else np.logical_and.reduce(amounts).astype(np.int64)
        base = _counted(self.columns, self.goal.bases, day, days)
        arrays = [to_arrow(np.ascontiguousarray(a), None, pa.int64()) for a in (self.columns.profile.uid, amount, base)]
        return pa.table(arrays, names=["uid", "amount", "base"])

    def say_when_behaviour_begins(self, needed: date) -> None:
        begins = _first_day(self.project.lake, self.at)
        if begins is None or begins > needed:
            self.note(
                f"行为数据从 {begins or '（无）'} 才开始，而当时的时期始于 {needed}：当时的数字偏低",
                f"behaviour is known from {begins or '(never)'} on, and the period of then begins on {needed}: its figures are too low",
            )

    def benchmark(self, con: duckdb.DuckDBPyConnection, role: TagRole, tag: Tag) -> tuple[int | None, dict[str, float]]:
        """Shares of users to be held against: AIPL's own benchmark, else the mean of earlier days; and of how many days."""
        settings = self.project.method("aipl", AiplSettings).benchmark
        rows: list[tuple[str, float, int | None]] = []
        if FIGURES in self.at.tables:
            if role == TagRole.AIPL and (rows := con.execute(PEERS, [self.at.as_of]).fetchall()):
                return rows[0][2], {item: number for item, number, _ in rows}
            first = self.at.as_of - timedelta(settings.days)
            rows = con.execute(HISTORY, {"first": first, "last": self.at.as_of, "scheme": f"{tag.id}/"}).fetchall()
        if not rows:
            self.note(
                f"{tag.name.zh}没有基准：既没有同行数据，近 {settings.days} 天也没有更早的发布日",
                f"{tag.name.en} has no benchmark: no file of peers, and no released day of the last {settings.days} days before this one",
            )
            return None, {}
        return rows[0][2], {item.removeprefix(f"{tag.id}/"): number / days for item, number, days in rows if days}

    def warn_of_held(self, schemes: Sequence[str], past: date | None) -> None:
        for day in (self.at.as_of, past):
            if day is not None and (
                held := marks_of(self.project.lake, self.project.catalogue, self.at, day).of(schemes)
            ):
                self.warnings.append(
                    f"segments of {day} are made from {held_in_words(held)}, that is from older values"
                )

    def note(self, zh: str, en: str) -> None:
        self.notes.append(Note(zh, en))

    # --- gaps, and who can close them ---

    def members(self) -> dict[str, Bits]:
        """Members of every audience of the project; one that cannot be judged is left out, with a warning."""
        found = {}
        for name in self.project.audiences:
            try:
                audience, plan = plan_of(self.project, name)
                tally, unknown = self.columns.judged(with_elders(self.project.lake, self.at, plan))
            except HuaxiangError as e:
                self.warnings.append(f"audience {name} is left out: {e}")
                continue
            self.warnings += [*held_notes(self.project, audience, plan, self.at), *unknown]
            found[name] = tally.members
        return found

    def scheme_gaps(
        self,
        role: TagRole,
        tag: Tag,
        now: Mapping[str, MetricPart],
        then: Mapping[str, MetricPart],
        past: date | None,
        benchmark: tuple[int | None, Mapping[str, float]],
        members: Mapping[str, Bits],
    ) -> SchemeGaps:
        if not now:
            self.note(
                f"{self.at.as_of} 没有分群 {tag.id}：该日之后才有这个标签",
                f"there is no segmentation {tag.id} on {self.at.as_of}: the tag is newer than that day",
            )
            return SchemeGaps(role, tag.id, tag.name.zh, tag.name.en, (), None, ())
        if past is not None and not then:
            self.note(
                f"{past} 没有分群 {tag.id}，无法与自身过去比较",
                f"there is no segmentation {tag.id} on {past}, so nothing can be said of its past",
            )
        days, shares = benchmark
        standing = _Standing(self.columns, tag, members)
        shares_then = {s: p.users / whole_of(then).users for s, p in then.items()}
        past_values = {s: p.value for s, p in then.items()}

        def gaps(
            found: Mapping[str, Contribution], reference: Mapping[str, float], values: Mapping[str, float | None]
        ) -> tuple[SegmentGap, ...]:
            made = [self.gap(tag, s, c, now, reference, values.get(s), standing) for s, c in found.items()]
            return tuple(sorted(made, key=lambda g: (-g.gap, g.segment)))

        return SchemeGaps(
            role=role,
            scheme=tag.id,
            zh=tag.name.zh,
            en=tag.name.en,
            to_past=gaps(contributions(now, then), shares_then, past_values),
            benchmark_days=days,
            to_benchmark=gaps(contributions_to_shares(now, shares), shares, {}),
        )

    def gap(
        self,
        tag: Tag,
        segment: str,
        change: Contribution,
        now: Mapping[str, MetricPart],
        shares: Mapping[str, float],
        value_then: float | None,
        standing: _Standing,
    ) -> SegmentGap:
        part, label = now.get(segment, MetricPart(0, 0, 0)), tag.labels.get(segment)
        where = where_it_can_be_closed(segment, change, now, shares)
        return SegmentGap(
            segment=segment,
            zh=segment if label is None else label.zh,
            en=segment if label is None else label.en,
            users=part.users,
            share=part.users / whole_of(now).users,
            reference_share=shares.get(segment, 0.0),
            value=part.value,
            reference_value=value_then,
            by_value=0.0 - change.by_value,
            by_share=0.0 - change.by_share,
            gap=0.0 - change.whole,
            is_few=part.users < self.settings.goal_min_users,
            where=where,
            audiences=standing.by_audience(where) if change.whole < 0 else {},
        )


class _Standing:
    """Who stands where in one segmentation, by audience."""

    def __init__(self, columns: ReleaseColumns, tag: Tag, members: Mapping[str, Bits]):
        self.columns, self.tag, self.members = columns, tag, members

    def by_audience(self, segments: Sequence[str]) -> dict[str, int]:
        """Users of every audience that stand in any of the segments, most first."""
        profile, name = self.columns.profile, self.tag.id
        column = profile.columns({name: self.tag.type})[name]
        standing = column.truth([Test(op="is", values=tuple(segments))], self.tag.type, profile.everybody).true
        found = {audience: n for audience, bits in self.members.items() if (n := how_many(bits & standing))}
        return dict(sorted(found.items(), key=lambda f: (-f[1], f[0])))


def _counted(columns: ReleaseColumns, what: Counts, day: date, days: int) -> np.ndarray:
    """Of every user of the release one count over the days that end on a day."""
    uid = columns.profile.uid
    if what == "users":
        return np.ones(len(uid), np.int64)
    if what in ("active", "active_before"):
        ago = days if what == "active_before" else 0
        measured = {"from": ACTIVE, "measure": "days", "agg": "count", "window": days + ago, "ago": ago}
    else:
        measured = {"from": ["pay"], "measure": what, "agg": "count" if what == "orders" else "sum", "window": days}
    here = columns.events
    events = Events(here.files, here.cache, day, here.zone)
    values, known = events.counted(Fact.model_validate({"id": what, **measured}), uid, None, {})
    counts = (values > 0).astype(np.int64) if what in ("active", "active_before") else values.astype(np.int64)
    return counts if known is None else np.where(known, counts, 0)


def _first_day(lake: Lake, at: Release) -> date | None:
    """The first day of behaviour that the release has."""
    files = lake_at(lake, at).files(ACTIVITY)
    if not files:
        return None
    first = min(f.partition["period"] for f in files)
    with connect(lake, at, ("activity",)) as con:
        ((day,),) = con.execute("select min(day) from activity.activity where period = ?", [first]).fetchall()
    return None if day is None else date.fromisoformat(str(day)[:10])
