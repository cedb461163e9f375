"""How interest comes and goes: phases of each person, drawn before anything is bought, and the true stages after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.people import People
from simulator.season import DAY_MS, Season, stream

PROSPECT, ACTIVE, DORMANT, CHURNED, RETURNED = range(5)
STAGES = ("prospect", "new", "growing", "mature", "loyal", "dormant", "churned", "recovered")
RECOVERED_DAYS = 30
VISITS_BY_PHASE = np.array([1.0, 1.0, 0.15, 0.02, 1.0])
DAY_LIMIT = 1 << 14  # days of one person packed beside the person into one sortable key

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Phases:
    """One row a phase, sorted by person and start; days [start, end). Silent persons (rings) have none."""

    person: Ints
    state: Ints
    start: Ints
    end: Ints

    def on(self, person: Ints, day: Ints) -> tuple[Ints, Ints]:
        """(state, first day of the phase) of each person on each day; PROSPECT since day 0 before the first phase."""
        row = np.searchsorted(self.person * DAY_LIMIT + self.start, person * DAY_LIMIT + day, side="right") - 1
        row = np.maximum(row, 0)
        mine = self.person[row] == person
        return np.where(mine, self.state[row], PROSPECT), np.where(mine, self.start[row], 0)

    def state_on(self, person: Ints, day: Ints) -> Ints:
        return self.on(person, day)[0]


def make_phases(seed: int, season: Season, people: People) -> Phases:
    """prospect -> active -> dormant or churned -> active again (or after churn: returned), until the season ends."""
    rng = stream(seed, "lifecycle")
    n, days = people.n, season.days
    begins = np.where(people.is_member, season.day_of(np.minimum(people.registered, season.end)), days)
    # the younger the account, the sooner the first order; members from before the season are under way
    wait = np.where(people.wants_invite, rng.exponential(4.0, n), rng.exponential(10.0, n)).astype(np.int64)
    activation = np.where(people.will_buy, np.maximum(begins, 0) + wait, days)
    visits_until = np.where(people.is_member, days, people.seen_from + 1 + rng.exponential(25.0, n).astype(np.int64))
    there = ~people.brushes
    rows: list[tuple[Ints, int, Ints, Ints]] = []
    first = np.flatnonzero(there & (people.seen_from < np.minimum(activation, days)))
    until = np.minimum(np.minimum(activation, visits_until), days)
    rows.append((first, PROSPECT, people.seen_from[first], until[first]))
    who = np.flatnonzero(there & (activation < days))
    start = activation[who]
    state = ACTIVE
    back_from_churn = np.zeros(len(who), bool)
    while len(who):
        end = np.minimum(start + 8 + rng.exponential(people.staying[who]).astype(np.int64), days)
        for state, among in ((ACTIVE, ~back_from_churn), (RETURNED, back_from_churn)):
            rows.append((who[among], state, start[among], end[among]))
        still = end < days
        who, start = who[still], end[still]
        churns = rng.random(len(who)) < 0.4
        leaves_for_good = rng.random(len(who)) < 0.7
        pause = np.where(churns, 60 + rng.exponential(25.0, len(who)), 25 + rng.exponential(20.0, len(who)))
        end = np.where(churns & leaves_for_good, days, np.minimum(start + pause.astype(np.int64), days))
        for state, among in ((DORMANT, ~churns), (CHURNED, churns)):
            rows.append((who[among], state, start[among], end[among]))
        still = end < days
        who, start, back_from_churn = who[still], end[still], churns[still]
    person = np.concatenate([r[0] for r in rows])
    begin = np.concatenate([r[2] for r in rows])
    order = np.argsort(person * DAY_LIMIT + begin, kind="stable")
    states = np.concatenate([np.full(len(r[0]), r[1], np.int64) for r in rows])
    return Phases(person[order], states[order], begin[order], np.concatenate([r[3] for r in rows])[order])


def true_stages(season: Season, people: People, phases: Phases, buyer: Ints, day: Ints) -> tuple[Ints, Ints, Ints]:
    """(person, from_day, stage) of every change, given the valid purchases (person, day) that the shop can attribute.

    First match wins: churned and dormant are the person's true phase, whatever the silence; recovered lasts 30 days
    from the first purchase after a churn; new 1, growing 2, mature 3 to 7, loyal more than 7 purchase days.
    """
    days = np.unique(buyer * DAY_LIMIT + day)
    person = days // DAY_LIMIT
    first_row = np.searchsorted(person, np.arange(people.n + 1))
    nth = np.arange(len(days)) - first_row[person] + 1
    step = np.isin(nth, (1, 2, 3, 8))
    # the first purchase within each returned phase starts 30 days as recovered
    back = np.flatnonzero(phases.state == RETURNED)
    whose = phases.person[back] * DAY_LIMIT
    at = np.searchsorted(days, whose + phases.start[back])
    following = np.append(days, np.iinfo(np.int64).max)[at]
    recovered = np.sort(following[following < whose + phases.end[back]])
    ends = recovered + RECOVERED_DAYS
    ends = ends[ends % DAY_LIMIT < season.days]
    born = np.arange(people.n) * DAY_LIMIT + people.seen_from
    phase_key = phases.person * DAY_LIMIT + phases.start
    change = np.unique(np.concatenate([born, phase_key, days[step], recovered, ends]))
    who, when = change // DAY_LIMIT, change % DAY_LIMIT

    count = np.searchsorted(days, change, side="right") - first_row[who]
    phase, since = phases.on(who, when)
    stage = np.select([count == 0, count == 1, count == 2, count <= 7], [0, 1, 2, 3], 4)
    if len(recovered):
        last = np.maximum(np.searchsorted(recovered, change, side="right") - 1, 0)
        fresh = (recovered[last] // DAY_LIMIT == who) & (change >= recovered[last])
        stage = np.where(fresh & (change - recovered[last] < RECOVERED_DAYS), 7, stage)
    # who is back without having bought yet is as silent as before
    bought_since = np.searchsorted(days, change, side="right") > np.searchsorted(days, who * DAY_LIMIT + since)
    returned_silent = (phase == RETURNED) & ~bought_since
    stage = np.where((phase == DORMANT) & (count > 0), 5, stage)
    stage = np.where(((phase == CHURNED) | returned_silent) & (count > 0), 6, stage)
    keep = np.ones(len(change), bool)
    keep[1:] = (who[1:] != who[:-1]) | (stage[1:] != stage[:-1])
    return who[keep], when[keep], stage[keep]


def phase_orders(rng: np.random.Generator, season: Season, people: People, phases: Phases) -> tuple[Ints, Ints]:
    """(person, day) of every order that follows from the phases: one to begin with, then by rate and promotions."""
    rate = np.where(np.isin(phases.state, (ACTIVE, RETURNED)), people.order_rate[phases.person], 0.0)
    classes = people.sensitivity[phases.person]
    weight = season.order_cum[classes, phases.end] - season.order_cum[classes, phases.start]
    count = rng.poisson(rate * weight)
    row = np.repeat(np.arange(len(count)), count)
    day = np.empty(len(row), np.int64)
    for c in range(len(season.order_cum)):
        mine = np.flatnonzero(classes[row] == c)
        cumulative = season.order_cum[c]
        low, high = cumulative[phases.start[row[mine]]], cumulative[phases.end[row[mine]]]
        drawn = np.searchsorted(cumulative, low + rng.random(len(mine)) * (high - low), side="right") - 1
        day[mine] = np.clip(drawn, phases.start[row[mine]], phases.end[row[mine]] - 1)
    opening = np.flatnonzero(np.isin(phases.state, (ACTIVE, RETURNED)))
    return (
        np.concatenate([phases.person[row], phases.person[opening]]),
        np.concatenate([day, phases.start[opening]]),
    )


def phase_visits(rng: np.random.Generator, season: Season, people: People, phases: Phases) -> tuple[Ints, Ints]:
    """(person, day) of every visit without a purpose; each person is seen at least once in the first phase."""
    weight = season.visit_cum[phases.end] - season.visit_cum[phases.start]
    count = rng.poisson(people.visit_rate[phases.person] * VISITS_BY_PHASE[phases.state] * weight)
    begins = np.ones(len(count), bool)
    begins[1:] = phases.person[1:] != phases.person[:-1]
    count = np.maximum(count, begins)
    row = np.repeat(np.arange(len(count)), count)
    low, high = season.visit_cum[phases.start[row]], season.visit_cum[phases.end[row]]
    day = np.searchsorted(season.visit_cum, low + rng.random(len(row)) * (high - low), side="right") - 1
    return phases.person[row], np.clip(day, phases.start[row], phases.end[row] - 1)


def wall_of(season: Season, day: Ints, time: Ints) -> Ints:
    return season.start + day * DAY_MS + time
