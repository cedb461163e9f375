"""What some members say of themselves in questionnaires, and what the shop's people note about members by hand.

Made from random numbers of their own, after everything else, so that no other feed changes by them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.marks import ShownIds
from simulator.money import Baskets
from simulator.orders import Orders
from simulator.people import APP, MINI, Ints, People
from simulator.season import DAY_MS, NEVER, Season, pick_between, stream, time_of_day

QUESTIONS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    # attribute, question as asked, answers as (value, words)
    (
        "income_band",
        "家庭月收入",
        (
            ("low", "5000元以下"),
            ("middle", "5000至14999元"),
            ("upper_middle", "15000至29999元"),
            ("high", "30000元及以上"),
        ),
    ),
    (
        "age_band",
        "年龄段",
        (
            ("under_18", "18岁以下"),
            ("18-24", "18至24岁"),
            ("25-34", "25至34岁"),
            ("35-44", "35至44岁"),
            ("45-54", "45至54岁"),
            ("55-64", "55至64岁"),
            ("65+", "65岁及以上"),
        ),
    ),
    ("household_size", "家庭人数", tuple((str(n), f"{n}人") for n in range(1, 7))),
    ("has_children", "有无孩子", (("children", "有孩子"), ("no_children", "没有孩子"))),
    ("skin_type", "肤质", (("oily", "油性"), ("dry", "干性"), ("combination", "混合性"), ("sensitive", "敏感性"))),
    (
        "occupation",
        "职业",
        (
            ("student", "学生"),
            ("employee", "公司职员"),
            ("civil_servant", "公务员或事业单位"),
            ("self_employed", "个体或自由职业"),
            ("homemaker", "全职在家"),
            ("retired", "退休"),
        ),
    ),
    (
        "education",
        "学历",
        (("school", "高中及以下"), ("college", "大专"), ("bachelor", "本科"), ("master", "硕士及以上")),
    ),
    ("marital_status", "婚姻状况", (("single", "未婚"), ("married", "已婚"))),
)
SURVEYS = ("会员调研", "护肤问卷")
_AGE_EDGES = (18, 25, 35, 45, 55, 65)
_INCOME_SHARES = (0.30, 0.65, 0.90)
_ANSWERING, _AGAIN, _ANSWERED, _UNTRUE, _NAMED = 0.15, 0.2, 0.8, 0.12, 0.7
"""Shares: of members that answer, of them that answer twice, of questions answered, of answers that are not so, and of
questionnaires that name the member (the others show a WeChat id only)."""

NOTES: tuple[tuple[str, str, str], ...] = (
    # tag, value, author
    ("service_priority", "key_account", "客户经理 周"),
    ("service_priority", "complaint", "客服 李"),
    ("service_priority", "do_not_disturb", "客服 王"),
    ("preferred_brand", "资生堂", "导购 陈"),
    ("occupation", "self_employed", "导购 陈"),
)
_NOTED, _LEAST_NOTES = 0.006, 12
_HOLDS_DAYS = (14, 60, 400)


@dataclass(frozen=True)
class Answers:
    """Arrays by answer, in order of time. ``answer`` and ``truth`` are numbers among the question's answers."""

    person: Ints
    wall: Ints
    survey: Ints
    question: Ints
    answer: Ints
    truth: Ints
    marks: ShownIds

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True)
class Notes:
    """Arrays by note, in order of time. ``note`` is a number among ``NOTES``; ``expires`` a day, NEVER for ever."""

    account: Ints
    wall: Ints
    note: Ints
    expires: Ints


def make_answers(seed: int, season: Season, people: People, orders: Orders, baskets: Baskets) -> Answers:
    rng = stream(seed, "surveys")
    truth = _truths(rng, season, people, orders, baskets)
    members = np.flatnonzero(people.is_member & ~people.brushes & (people.registered < season.end - DAY_MS))
    who = members[rng.random(len(members)) < _ANSWERING]
    who = np.concatenate([who, who[rng.random(len(who)) < _AGAIN]])
    first = np.clip(season.day_of(people.registered[who]) + 1, 0, season.days - 1)
    day = pick_between(rng, season.visit_cum, first, np.full(len(who), season.days, np.int64))
    wall = season.start + day * DAY_MS + time_of_day(rng, people.clock[who])
    openid = people.openids.of(who, np.zeros(len(who)))
    named = (rng.random(len(who)) < _NAMED) | (openid < 0)
    survey = rng.integers(0, len(SURVEYS), len(who))

    asked = rng.random((len(who), len(QUESTIONS))) < _ANSWERED
    asked[np.arange(len(who)), rng.integers(0, len(QUESTIONS), len(who))] = True
    response, question = np.nonzero(asked)
    order = np.lexsort((question, response, wall[response]))
    response, question = response[order], question[order]
    person = who[response]
    true = truth[person, question]
    options = np.array([len(q[2]) for q in QUESTIONS])[question]
    other = (true + 1 + rng.integers(0, options - 1)) % options
    answer = np.where(rng.random(len(person)) < _UNTRUE, other, true)
    none = np.full(len(person), -1, np.int64)
    shown = openid[response]
    marks = ShownIds(
        account=np.where(named[response], people.account[person], -1),
        device=none,
        cookie=none,
        openid=shown,
        unionid=np.where((shown >= 0) & people.has_unionid[person], person, -1),
        channel=np.where(shown >= 0, MINI, APP).astype(np.int8),
    )
    return Answers(person, wall[response], survey[response], question, answer, true, marks)


def _truths(rng: np.random.Generator, season: Season, people: People, orders: Orders, baskets: Baskets) -> Ints:
    """What is so of every person, a column a question. Incomes go with money spent, children with the category."""
    n = people.n
    paid = np.flatnonzero(orders.valid)
    spent = np.bincount(orders.person[paid], baskets.net[paid], n)
    buyers = np.flatnonzero(spent > 0)
    means = rng.random(n)
    means[buyers] = _ranked(np.log(spent[buyers]) + rng.normal(0, 0.6, len(buyers)))
    birthday = people.birth_day.astype(np.int64)
    age = (season.epoch_day + season.days - birthday) * 400 // 146_097
    household = 1 + rng.choice(6, n, p=[0.16, 0.27, 0.32, 0.16, 0.07, 0.02])
    baby = people.favourite == 2
    children = (household >= 3) & (rng.random(n) < np.where(baby, 0.95, 0.55)) | baby & (rng.random(n) < 0.6)
    household = np.where(children, np.maximum(household, 2), household)
    married = children | (household >= 2) & (rng.random(n) < 0.5)
    job = rng.choice(6, n, p=[0.0, 0.5, 0.12, 0.22, 0.14, 0.02])
    job = np.where(age < 22, 0, np.where(age >= 60, 5, job))
    columns: dict[str, NDArray[np.integer]] = {
        "income_band": np.searchsorted(_INCOME_SHARES, means, side="right"),
        "age_band": np.searchsorted(_AGE_EDGES, age, side="right"),
        "household_size": household - 1,
        "has_children": np.where(children, 0, 1),
        "skin_type": rng.choice(4, n, p=[0.27, 0.23, 0.36, 0.14]),
        "occupation": job,
        "education": rng.choice(4, n, p=[0.22, 0.28, 0.40, 0.10]),
        "marital_status": np.where(married, 1, 0),
    }
    return np.stack([columns[attribute].astype(np.int64) for attribute, _, _ in QUESTIONS], axis=1)


def _ranked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks in [0, 1)."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values)) / len(values)
    return ranks


def make_notes(seed: int, season: Season, people: People) -> Notes:
    """A few notes; a member has at most one a tag, so that no two notes speak of the same."""
    rng = stream(seed, "manual tags")
    fine = people.is_member & ~people.brushes & (people.registered < season.end - 2 * DAY_MS)
    who = np.flatnonzero(fine)
    who = rng.permutation(who)[: max(_LEAST_NOTES, round(_NOTED * len(who)))]
    first = np.clip(season.day_of(people.registered[who]) + 1, 0, season.days - 1)
    day = first + (rng.random(len(who)) * (season.days - first)).astype(np.int64)
    wall = season.start + day * DAY_MS + rng.integers(9 * 60, 18 * 60, len(who)) * 60_000
    holds = np.array([*_HOLDS_DAYS, 0])[rng.integers(0, len(_HOLDS_DAYS) + 1, len(who))]
    expires = np.where(holds > 0, season.epoch_day + day + holds, NEVER)
    note = rng.integers(0, len(NOTES), len(who))
    order = np.argsort(wall, kind="stable")
    return Notes(people.account[who][order], wall[order], note[order], expires[order])
