"""``huaxiang campaign plan``: what a campaign's goal asks for, who could bring it, and what its holdout will be able to see."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audiences.bits import flags
from campaigns.language import ABOVE, HELD_OUT, STAGES, Campaign, StageName, refuse_past
from campaigns.metrics import METRICS
from campaigns.power import smallest_share_difference
from features.aipl import BELOW
from lake.releases import Release, release
from lake.sql import connect
from project.audience import held_notes, plan_of, with_elders
from project.campaign import campaign_of
from project.folder import Project
from queries.gap import GapReport, StageNeed, gap
from queries.preview.answer import release_columns
from schemas.errors import HuaxiangError, NotThereError
from schemas.money import minor_units
from schemas.tag_roles import TagRole

Z95 = 1.959963984540054
ASSIGNED = "select arm, count(*) from campaigns.assignments where campaign = ? group by arm"
REACHED = """
select stage, metric, reached, as_of from campaigns.progress
where campaign = ? and as_of = (select max(as_of) from campaigns.progress where campaign = ? and as_of <= ?)
"""


@dataclass(frozen=True)
class AudienceReach:
    """Users of one audience, or of several counted once, by the AIPL stage in which they stand."""

    audience: str
    users: int
    by_aipl: dict[str, int]


@dataclass(frozen=True)
class GoalNeed:
    """What the goal asks of one AIPL stage, and who could bring it, as users by audience of the project.

    ``inside`` stand in the stage already; ``fillers`` stand one stage below, where users are missing.
    """

    stage: str
    zh: str
    en: str
    users: int
    needed_users: int
    gap_users: int
    surplus_users: int
    conversion: float
    sample_users: int
    below: str | None
    inside: dict[str, int]
    fillers: dict[str, int]


@dataclass(frozen=True)
class Expected:
    """What the campaign's people would bring within the rates' horizon, without any lift, with 95 % intervals.

    The spread is that of who buys and that of the rates themselves; the value of an order is held as it was.
    ``needed_lift`` of who is not held out would reach the goal; None where they would reach it anyway.
    """

    horizon_days: int
    buyers: float
    buyers_low: float
    buyers_high: float
    money_minor: float
    money_low: float
    money_high: float
    conversion: float | None
    needed_lift: float | None


@dataclass(frozen=True)
class MetricPlan:
    """One metric: ``reached`` so far (None: no results yet), what is missing, and how much of it a day; money in minor units."""

    metric: str
    zh: str
    en: str
    is_money: bool
    target: float
    reached: float | None
    missing: float
    days_left: int
    per_day: float | None


@dataclass(frozen=True)
class StagePlan:
    """One stage of the campaign."""

    stage: StageName
    zh: str
    en: str
    first: date
    last: date
    audiences: tuple[str, ...]
    channels: tuple[str, ...]
    budget_minor: int | None
    metrics: tuple[MetricPlan, ...]


@dataclass(frozen=True)
class ArmPlan:
    """An arm: its share of people, how many that would be, how many have it already, and the smallest relative lift of the
    conversion that it and the held out will see with the power that was asked for (None: none can be seen)."""

    arm: str
    share: float
    users: int
    assigned: int
    visible_lift: float | None


@dataclass(frozen=True)
class CampaignPlan:
    """A campaign before a release: what its goal needs, who is there, what is to be expected and what can be told of it."""

    campaign: str
    zh: str
    en: str
    release: int
    as_of: date
    d_day: date
    days_to_d_day: int
    goal_minor: int | None
    goal_users: int | None
    needs: tuple[GoalNeed, ...]
    audiences: tuple[AudienceReach, ...]
    together: AudienceReach
    expected: Expected | None
    arms: tuple[ArmPlan, ...]
    stages: tuple[StagePlan, ...]
    budget_minor: int
    warnings: tuple[str, ...]


def campaign_plan(project: Project, name: str, *, which: int | str | None = None) -> CampaignPlan:
    """The plan at a release; nothing is written.

    ConfigurationError for an audience that is not there or a D-day that is not after the release's day. Without rates
    (definitions.md, section 3) needs and expectation are left out, and a warning says what they lack.
    """
    campaign = campaign_of(project, name)
    d = campaign.definition
    at = release(project.lake, which)
    refuse_past(campaign, at.as_of)
    everywhere, together, warnings = _reach(project, campaign, at)
    audiences = tuple(everywhere[a] for a in campaign.audiences)
    rates: GapReport | None = None
    try:
        # A goal in users needs the rates only.
        rates = gap(project, d.goal.money or Decimal(1), at.as_of)
        warnings += rates.warnings
    except NotThereError as e:
        warnings.append(f"what the goal needs and what is to be expected is not known: {e}")
    goal_minor = None if d.goal.money is None else minor_units(d.goal.money, project.currency)
    expected = None if rates is None else _expected(rates, together, goal_minor, d.goal.users, d.holdout)
    assigned, reached = _so_far(project, campaign.id, at)
    stages = tuple(_stage(project, campaign, stage, reached, at.as_of) for stage, _ in d.stages.there)
    arms = _arms(project, campaign, together.users, assigned, None if expected is None else expected.conversion)
    if not d.holdout:
        warnings.append("nobody is held out, so no lift of this campaign can be told; say `holdout: 0.1`")
    if expected is not None and expected.needed_lift is not None:
        blind = [a.arm for a in arms if a.arm != HELD_OUT and (a.visible_lift or math.inf) > expected.needed_lift]
        if blind:
            warnings.append(
                f"the goal needs a lift of {expected.needed_lift:.0%}, which {', '.join(blind)} will not be able to see: hold "
                "more people out, take fewer arms, or widen the audiences"
            )
    return CampaignPlan(
        campaign=campaign.id,
        zh=d.name.zh,
        en=d.name.en,
        release=at.number,
        as_of=at.as_of,
        d_day=d.d_day,
        days_to_d_day=(d.d_day - at.as_of).days,
        goal_minor=goal_minor,
        goal_users=d.goal.users,
        needs=() if rates is None else _needs(rates, list(everywhere.values()), d.goal.users),
        audiences=audiences,
        together=together,
        expected=expected,
        arms=arms,
        stages=stages,
        budget_minor=sum(s.budget_minor or 0 for s in stages),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _reach(
    project: Project, campaign: Campaign, at: Release
) -> tuple[dict[str, AudienceReach], AudienceReach, list[str]]:
    """Every audience of the project, and the campaign's together with everybody counted once.

    One that cannot be judged at the release is left out, with a warning, unless it is the campaign's.
    """
    columns = release_columns(project, at)
    stage = columns.profile.stored(project.catalogue.tag_of(TagRole.AIPL).id)
    users, warnings = len(columns.profile.uid), list[str]()
    together = np.zeros(users, np.bool_)
    found = {}

    def reach(name: str, inside: np.ndarray) -> AudienceReach:
        counts = pc.value_counts(stage.filter(pa.array(inside))).to_pylist()
        by_aipl = {str(c["values"]): int(c["counts"]) for c in counts}
        return AudienceReach(name, int(np.count_nonzero(inside)), dict(sorted(by_aipl.items())))

    for name in dict.fromkeys((*campaign.audiences, *project.audiences)):
        is_ours = name in campaign.audiences
        try:
            audience, plan = plan_of(project, name)
            tally, unknown = columns.judged(with_elders(project.lake, at, plan))
        except HuaxiangError as e:
            if is_ours:
                raise
            warnings.append(f"audience {name} is left out: {e}")
            continue
        inside = flags(tally.members, users)
        if is_ours:
            warnings += [*held_notes(project, audience, plan, at), *unknown]
            together |= inside
        found[name] = reach(name, inside)
    columns.cache.trim()
    return found, reach("", together), warnings


def _needs(rates: GapReport, audiences: Sequence[AudienceReach], goal_users: int | None) -> tuple[GoalNeed, ...]:
    buyers = sum(s.sample_users * s.conversion for s in rates.stages)
    found = []
    for s in rates.stages:
        needed = s.needed_users
        if goal_users is not None:
            needed = math.ceil(goal_users * s.sample_users / buyers - 1e-9)
        below = BELOW.get(s.stage)
        short = max(0, needed - s.users)
        found.append(
            GoalNeed(
                stage=s.stage,
                zh=s.zh,
                en=s.en,
                users=s.users,
                needed_users=needed,
                gap_users=short,
                surplus_users=max(0, s.users - needed),
                conversion=s.conversion,
                sample_users=s.sample_users,
                below=below,
                inside=_standing_in(audiences, s.stage),
                fillers=_standing_in(audiences, below) if short and below else {},
            )
        )
    return tuple(found)


def _standing_in(audiences: Sequence[AudienceReach], stage: str) -> dict[str, int]:
    """Users in an AIPL stage by audience, most first."""
    found = {a.audience: n for a in audiences if (n := a.by_aipl.get(stage, 0))}
    return dict(sorted(found.items(), key=lambda f: (-f[1], f[0])))


def _expected(
    rates: GapReport, together: AudienceReach, goal_minor: int | None, goal_users: int | None, holdout: float
) -> Expected:
    mine = [(together.by_aipl.get(s.stage, 0), s) for s in rates.stages]
    buyers = sum(n * s.conversion for n, s in mine)
    money = sum(n * s.conversion * _value(s) for n, s in mine)
    spread = {s.stage: _buyers_variance(n, s) for n, s in mine}
    half = Z95 * math.sqrt(sum(spread.values()))
    money_half = Z95 * math.sqrt(sum(spread[s.stage] * _value(s) ** 2 for _, s in mine))
    goal, there = (float(goal_users), buyers) if goal_users is not None else (float(goal_minor or 0), money)
    lacking = goal - there
    needed = lacking / (there * (1 - holdout)) if there and lacking > 0 else None
    return Expected(
        horizon_days=rates.horizon_days,
        buyers=buyers,
        buyers_low=max(0.0, buyers - half),
        buyers_high=buyers + half,
        money_minor=money,
        money_low=max(0.0, money - money_half),
        money_high=money + money_half,
        conversion=buyers / together.users if together.users else None,
        needed_lift=needed,
    )


def _value(s: StageNeed) -> float:
    """Money of one buyer of the stage within the horizon."""
    return s.orders_per_buyer * s.order_value_minor


def _buyers_variance(n: int, s: StageNeed) -> float:
    """Of so many users who buys, and how well the rate is known."""
    error = (s.conversion_high - s.conversion_low) / (2 * Z95)
    return n * s.conversion * (1 - s.conversion) + (n * error) ** 2


def _so_far(project: Project, campaign: str, at: Release) -> tuple[dict[str, int], dict[tuple[str, str], float]]:
    """Users by arm who are assigned, and what the newest results say of metrics."""
    lake = project.lake
    assigned: dict[str, int] = {}
    reached: dict[tuple[str, str], float] = {}
    with connect(lake, None, ("campaigns",)) as con:
        if lake.version("campaigns.assignments") is not None:
            assigned = dict(con.execute(ASSIGNED, [campaign]).fetchall())
        if lake.version("campaigns.progress") is not None:
            rows = con.execute(REACHED, [campaign, campaign, at.as_of]).fetchall()
            reached = {(stage, metric): number for stage, metric, number, _ in rows}
    return assigned, reached


def _stage(
    project: Project, campaign: Campaign, name: StageName, reached: Mapping[tuple[str, str], float], as_of: date
) -> StagePlan:
    stage, kind = getattr(campaign.definition.stages, name), STAGES[name]
    first, last = campaign.definition.days(name)
    left = max(0, (last - max(as_of, date.fromordinal(first.toordinal() - 1))).days)
    metrics = []
    for m in stage.metrics:
        known = METRICS[m.metric]
        is_money = known.counts == "net_amount"
        target = float(minor_units(m.target, project.currency)) if is_money else float(m.target)
        so_far = reached.get((name, m.metric))
        missing = max(0.0, target - (so_far or 0.0))
        metrics.append(
            MetricPlan(
                metric=m.metric,
                zh=known.zh,
                en=known.en,
                is_money=is_money,
                target=target,
                reached=so_far,
                missing=missing,
                days_left=left,
                per_day=missing / left if left else None,
            )
        )
    budget = None if stage.budget is None else minor_units(stage.budget, project.currency)
    return StagePlan(name, kind.zh, kind.en, first, last, stage.audiences, stage.channels, budget, tuple(metrics))


def _arms(
    project: Project, campaign: Campaign, users: int, assigned: Mapping[str, int], conversion: float | None
) -> tuple[ArmPlan, ...]:
    d = campaign.definition
    planned = {arm: round(users * share) for arm, share in d.weights.items()}
    found = []
    for arm, share in d.weights.items():
        lift = None
        if arm != HELD_OUT and conversion:
            seen = smallest_share_difference(conversion, planned[HELD_OUT], planned[arm], power=d.power)
            lift = None if seen is None else seen / conversion
        found.append(ArmPlan(arm, share, planned[arm], assigned.get(arm, 0), lift))
    gone = [ArmPlan(a, 0.0, 0, n, None) for a, n in sorted(assigned.items()) if a not in planned and a != ABOVE]
    return (*found, *gone)
