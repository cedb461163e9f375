"""Step ``campaign results``: what every arm brought more than the held out, and how far the stages' metrics have come.

By assignment: everybody counts in the arm that they were given, whoever was reached. Of each person what they brought in
the window after the assignment is counted, and the same outcome in as many days before it for CUPED.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from campaigns.language import (
    ABOVE,
    HELD_OUT,
    OUTCOMES,
    Campaign,
    CampaignSettings,
    Outcome,
    StageName,
)
from campaigns.lift import NOBODY, Lift, Moments, absolute_lift, cuped, moments, relative_lift, spread_of
from campaigns.metrics import METRICS
from campaigns.power import power_of
from campaigns.verdict import Asked, Word, sequential, verdict, visible_lift
from features.instants import day_number
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audiences.columns import run_on_buckets
from jobs.campaigns.assign import ACTIVITY, as_list, write_rows
from jobs.campaigns.assigned import Inputs, assigned_inputs, given_of, people_of, sample_ratio_of
from jobs.campaigns.outcomes import DaySpan, after, before, counts_over, outcome_spans, outcomes_in
from jobs.campaigns.touched import Attribution, Touches, attribution_of, credited_in_bucket, touches_of
from lake import journal
from lake.engine import Engine, Progress
from lake.lake import by_bucket
from lake.locks import lock
from lake.publish import publish
from lake.releases import Release, lake_at, release
from project.campaign import campaign_of
from project.folder import Project
from schemas.errors import NotThereError
from schemas.money import minor_units

RESULTS, PROGRESS, ATTRIBUTION = "campaigns.results", "campaigns.progress", "campaigns.attribution"
FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class ArmResult:
    """One arm and outcome against the held out, as it stands in ``campaigns.results``; money in minor units."""

    arm: str
    outcome: Outcome
    users: int
    held_users: int
    mean: float | None
    held_mean: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    relative_lift: float | None
    relative_low: float | None
    relative_high: float | None
    chance_to_win: float | None
    sequential_low: float | None
    sequential_high: float | None
    cuped_difference: float | None
    cuped_low: float | None
    cuped_high: float | None
    variance_reduction: float | None
    sample_ratio_p: float | None
    visible_lift: float | None
    power: float | None
    cost_minor: int | None
    cost_per_added_order_minor: float | None
    is_over: bool
    lift_verdict: Word


@dataclass(frozen=True)
class MetricProgress:
    """One metric of a stage; money in minor units. ``users`` are the people who have an arm and are not held out."""

    stage: StageName
    metric: str
    target: float
    reached: float
    users: int


@dataclass(frozen=True)
class Results:
    """What came of a campaign as of a release. ``over_on`` is the last day of the last window.

    ``attribution`` is None where the shop tells of no touches of the campaign.
    """

    campaign: str
    release: int
    as_of: date
    outcome: Outcome
    over_on: date
    arms: tuple[ArmResult, ...]
    progress: tuple[MetricProgress, ...]
    attribution: Attribution | None
    warnings: tuple[str, ...]


def campaign_results(
    project: Project,
    name: str,
    *,
    which: int | str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Results:
    """Count, compare and publish; a run again of the same release replaces its rows by equal ones.

    NotThereError where nobody was assigned by the release's day.
    """
    lake, campaign = project.lake, campaign_of(project, name)
    at = release(lake, which)
    with lock(lake, RESULTS, PROGRESS, ATTRIBUTION, wait_seconds=60):
        journal.recover(lake)
        run_id = journal.new_run_id(f"results-{campaign.id}", at.as_of)
        with journal.kept(lake, run_id):
            return _Comparison(project, campaign, at, run_id).made(engine, progress)


class _Comparison:
    """One run over one release, under the tables' locks."""

    def __init__(self, project: Project, campaign: Campaign, at: Release, run_id: str):
        self.project, self.campaign, self.at, self.run_id = project, campaign, at, run_id
        self.lake, self.d = project.lake, campaign.definition
        self.settings = project.method("campaigns", CampaignSettings)
        self.asked = Asked(self.settings.min_arm_users, self.d.smallest_lift, self.d.power)

    def made(self, engine: Engine | None, progress: Progress | None) -> Results:
        scratch = journal.scratch(self.lake, self.run_id)
        touched = touches_of(self.lake, self.at, self.campaign.id, scratch / "touches")
        found = run_on_buckets(
            self.lake, "jobs.campaigns.results:outcomes_of_bucket", self.items(touched), engine, progress
        )
        arms: dict[str, dict[Outcome, Moments]] = {}
        given: Counter[tuple[str, str]] = Counter()
        reached: Counter[str] = Counter()
        last = 0
        for one in found:
            for arm, by_outcome in one["arms"].items():
                mine = arms.setdefault(arm, dict.fromkeys(OUTCOMES, NOBODY))
                for outcome, numbers in by_outcome.items():
                    mine[outcome] += Moments(*numbers)
            given.update({(h, arm): n for h, arm, n in one["given"]})
            reached.update(one["reached"])
            last = max(last, one["last"])
        if not given:
            raise NotThereError(
                f"nobody was assigned to campaign {self.campaign.id!r} by {self.at.as_of}; "
                f"`huaxiang campaign assign {self.campaign.id}` comes first"
            )
        over_on = FIRST_DAY + timedelta(last + self.d.window_days)
        ratio_p = sample_ratio_of(self.lake, self.campaign.id, given)
        credit = None if touched is None else attribution_of([one["touches"] for one in found], touched)
        rows = self.compared(
            arms, ratio_p, {} if credit is None else credit.cost_by_arm, is_over=over_on <= self.at.as_of
        )
        treated = sum(n for (_, arm), n in given.items() if arm not in (HELD_OUT, ABOVE))
        done = tuple(
            MetricProgress(stage, metric, target, float(reached[key]), treated)
            for key, (stage, metric, target, _) in self.metrics().items()
        )
        self.publish(rows, done, credit)
        return Results(
            campaign=self.campaign.id,
            release=self.at.number,
            as_of=self.at.as_of,
            outcome=self.d.outcome,
            over_on=over_on,
            arms=rows,
            progress=done,
            attribution=credit,
            warnings=(*self.warnings(arms, over_on), *(() if credit is None else credit.warnings)),
        )

    def items(self, touched: Touches | None) -> list[Inputs]:
        activity = by_bucket(lake_at(self.lake, self.at).files(ACTIVITY))
        shared = {
            "as_of": self.at.as_of.isoformat(),
            "window": self.d.window_days,
            "half_life": self.settings.half_life_days,
            "touches": None if touched is None else str(touched.file),
            "channels": [] if touched is None else list(touched.channels),
            "metrics": {key: [s.first.isoformat(), s.last.isoformat(), s.measure, list(s.behaviours), counts]
                        for key, (_, metric, _, s) in self.metrics().items()
                        for counts in [METRICS[metric].counts]},
        }  # fmt: skip
        inputs = assigned_inputs(self.lake, self.at, self.campaign.id, journal.scratch(self.lake, self.run_id))
        return [{**item, **shared, "activity": activity.get(b, [])} for b, item in inputs.items()]

    def metrics(self) -> dict[str, tuple[StageName, str, float, DaySpan]]:
        """Every metric of every stage: its target in minor units where it is money, and the days that it is counted over."""
        found: dict[str, tuple[StageName, str, float, DaySpan]] = {}
        for stage, s in self.d.stages.there:
            for m in s.metrics:
                kind = METRICS[m.metric]
                is_money = kind.counts == "net_amount"
                target = minor_units(m.target, self.project.currency) if is_money else float(m.target)
                measure = "rows" if kind.counts == "users" else kind.counts
                span = DaySpan(*self.d.days(stage), measure, kind.behaviours)
                found[f"{stage}.{m.metric}"] = (stage, m.metric, target, span)
        return found

    def compared(
        self,
        arms: Mapping[str, Mapping[Outcome, Moments]],
        ratio_p: float | None,
        cost: Mapping[str, int],
        *,
        is_over: bool,
    ) -> tuple[ArmResult, ...]:
        held = arms.get(HELD_OUT, dict.fromkeys(OUTCOMES, NOBODY))
        order = [a for a in self.d.weights if a in arms] + sorted(set(arms) - set(self.d.weights))
        return tuple(
            self.one(arm, outcome, held[outcome], arms[arm][outcome], ratio_p, cost.get(arm), is_over)
            for arm in order
            if arm not in (HELD_OUT, ABOVE)
            for outcome in OUTCOMES
        )

    def one(
        self,
        arm: str,
        outcome: Outcome,
        held: Moments,
        mine: Moments,
        ratio_p: float | None,
        cost: int | None,
        is_over: bool,
    ) -> ArmResult:
        plain, relative, adjusted = absolute_lift(held, mine), relative_lift(held, mine), cuped(held, mine)
        users = held.users + mine.users
        valid = None if plain is None else sequential(plain, users, self.settings.sequential_users)
        power = None
        if self.d.smallest_lift is not None and held.users:
            power = power_of(self.d.smallest_lift * held.mean, spread_of((held, mine)), held.users, mine.users)
        # An order that was not brought costs nothing that could be named.
        added = plain.estimate * mine.users if plain is not None and outcome == "orders" else 0.0
        said = verdict(held, mine, self.asked, ratio_p=ratio_p, is_over=is_over, tuning=self.settings.sequential_users)
        return ArmResult(
            arm=arm,
            outcome=outcome,
            users=mine.users,
            held_users=held.users,
            mean=mine.mean if mine.users else None,
            held_mean=held.mean if held.users else None,
            **_figures(plain, ("difference", "difference_low", "difference_high")),
            p_value=None if plain is None else plain.p_value,
            **_figures(relative, ("relative_lift", "relative_low", "relative_high")),
            chance_to_win=None if plain is None else plain.chance_to_win,
            sequential_low=None if valid is None else valid[0],
            sequential_high=None if valid is None else valid[1],
            **_figures(
                None if adjusted is None else adjusted.absolute, ("cuped_difference", "cuped_low", "cuped_high")
            ),
            variance_reduction=None if adjusted is None else adjusted.variance_reduction,
            sample_ratio_p=ratio_p,
            visible_lift=visible_lift(held, mine, self.asked),
            power=power,
            cost_minor=cost,
            cost_per_added_order_minor=cost / added if cost is not None and added > 0 else None,
            is_over=is_over,
            lift_verdict=said,
        )

    def warnings(self, arms: Mapping[str, Mapping[Outcome, Moments]], over_on: date) -> tuple[str, ...]:
        found = []
        if HELD_OUT not in arms:
            found.append("nobody was held out, so no lift can be told")
        if over_on > self.at.as_of:
            found.append(
                f"the last window ends on {over_on}, after {self.at.as_of}: until then the always-valid interval decides"
            )
        if later := [f for f in sorted(set(arms) - set(self.d.weights)) if f != ABOVE]:
            found.append(f"people were assigned to {', '.join(later)}, which the campaign does not have any more")
        return tuple(found)

    def publish(self, rows: Sequence[ArmResult], done: Sequence[MetricProgress], credit: Attribution | None) -> None:
        slice_ = {"campaign": self.campaign.id, "as_of": self.at.as_of}
        made = {
            RESULTS: [{"release": self.at.number, **asdict(r)} for r in rows],
            PROGRESS: [asdict(p) for p in done],
            ATTRIBUTION: [] if credit is None else [asdict(c) for c in credit.credits],
        }
        for table, content in made.items():
            self.lake.ensure(table)
            version = self.lake.version(table)
            folder = self.lake.stage(table, self.run_id)
            write_rows(table, content, folder, slice_, "rows")
            publish(
                self.lake,
                table,
                folder,
                replace=[slice_],
                read_version=version,
                run_id=self.run_id,
                key=f"{table}-{self.run_id}",
            )


def _figures(found: Lift | None, names: tuple[str, str, str]) -> dict[str, float | None]:
    """Estimate and interval under their names."""
    values = (None, None, None) if found is None else (found.estimate, found.low, found.high)
    return dict(zip(names, values, strict=True))


def outcomes_of_bucket(item: Inputs) -> dict[str, Any]:
    """Task: moments of every outcome by arm, users by definition and arm, and what the stages' metrics have reached."""
    people = people_of(item)
    if not len(people.uid):
        return {"arms": {}, "given": [], "reached": {}, "last": 0, "touches": None}
    as_of, window = date.fromisoformat(item["as_of"]), item["window"]
    places = people.uid - item["bucket"] * USERS_PER_BUCKET
    arm, day = people.texts("arm"), people.days
    metrics = {
        key: (DaySpan(date.fromisoformat(first), date.fromisoformat(last), measure, tuple(behaviours)), counts)
        for key, (first, last, measure, behaviours, counts) in item["metrics"].items()
    }
    days = [FIRST_DAY + timedelta(int(d)) for d in np.unique(day)]
    spans = [s for d in days for s in outcome_spans(after(d, window))]
    found = counts_over(item["activity"], item["bucket"], [*spans, *(s for s, _ in metrics.values())], as_of)
    arms: dict[str, dict[str, Any]] = {}
    for d in days:
        on = np.flatnonzero(day == day_number(d))
        earlier = before(d, window)
        known = counts_over(item["activity"], item["bucket"], outcome_spans(earlier), d)
        was, now = outcomes_in(known, earlier, places[on]), outcomes_in(found, after(d, window), places[on])
        for name in set(arm[on].tolist()):
            mine = arm[on] == name
            for outcome in OUTCOMES:
                made = moments(now[outcome][mine], was[outcome][mine])
                so_far = arms.setdefault(name, {}).get(outcome)
                arms[name][outcome] = as_list(made if so_far is None else Moments(*so_far) + made)
    treated = places[~np.isin(arm, [HELD_OUT, ABOVE])]
    return {
        "arms": arms,
        "given": given_of(people),
        "reached": {
            key: int((found[s][treated] > 0).sum() if counts == "users" else found[s][treated].sum())
            for key, (s, counts) in metrics.items()
        },
        "last": int(day.max()),
        "touches": None if item["touches"] is None else credited_in_bucket(item, people),
    }
