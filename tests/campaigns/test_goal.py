"""``huaxiang campaign plan --goal``: every number a second way, in SQL over the lake, and what cannot be said is said."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from campaigns.goals import (
    ACTIVE,
    GOALS,
    Contribution,
    GoalName,
    MetricPart,
    contributions,
    where_it_can_be_closed,
    whole_of,
)
from cli import campaign as verbs
from lake.releases import write_release
from lake.sql import connect
from queries.campaign_goal import GoalReport, campaign_goal
from schemas.behaviours import BEHAVIOURS
from schemas.errors import HuaxiangError
from schemas.tag_roles import TagRole, used_by
from tests.audiences.lake_shop import Shop, act
from tests.pipeline import shop as shipped

DAY, PAST, BETWEEN = date(2026, 3, 31), date(2026, 3, 3), date(2026, 3, 24)
UIDS = [*range(1, 161), *range(100_001, 100_141)]
ELDER, YOUNGER = 1, 2
SCHEMES = {
    "aipl_stage": ["awareness", "interest", "purchase", "loyalty", "none"],
    "lifecycle": ["prospect", "new", "mature", "dormant"],
    "activity_level": ["high", "middle", "low", "none"],
    "enthusiasm": ["devoted", "keen", "occasional", "none"],
    "quadrant": ["frequent_high", "frequent_low", "rare_high", "rare_low", "no_purchase"],
    "promotion_class": ["fanatic", "neutral", "cold", "insufficient"],
    "rfm_value_segment": ["important_value", "general_value", "no_purchase"],
    "user_pyramid": ["spokesperson", "repeat", "first_purchase", "follower"],
    "usual_order_way": ["group", "share", "coupon", "promotion", "direct", "none"],
}
AUDIENCE = """\
name: {{zh: 人群, en: People}}
description: {{zh: 人群, en: People}}
owner: crm
include: {{tag: {tag}, is: [{values}]}}
"""
AUDIENCES = {
    "aware": ("aipl_stage", "awareness, interest"),
    "loyal": ("aipl_stage", "loyalty"),
    "cool": ("lifecycle", "dormant"),
}
PARTS = """
with person as (
    select s.scheme, coalesce(u.merged_into_uid, s.uid) as uid, s.segment, u.merged_into_uid is null as is_elder
    from segments.segments s join identity.users u using (uid) where s.as_of = $day
), standing as (
    select scheme, uid, segment from person qualify row_number() over (partition by scheme, uid order by is_elder desc, uid) = 1
), counted as (
    select * from activity.activity
    where valid_from_day <= $day and (void_day is null or void_day > $day) and (flagged_day is null or flagged_day > $day)
), did as (
    select uid, count(*) filter (list_contains($active, behaviour_code) and day > $first and day <= $day) > 0 as active,
           count(*) filter (list_contains($active, behaviour_code) and day > $before and day <= $first) > 0 as active_before,
           count(distinct order_key) filter (behaviour_code = $pay and day > $first and day <= $day) as orders,
           coalesce(sum(amount_minor) filter (behaviour_code = $pay and day > $first and day <= $day), 0)
           - coalesce(sum(amount_minor) filter (behaviour_code = $back and day > $first and day <= $day), 0) as net_amount
    from counted group by uid
)
select scheme, segment, count(*), coalesce(sum({amount}), 0)::bigint, coalesce(sum({base}), 0)::bigint
from standing left join did using (uid) group by all
"""
OF_GOAL = {
    "activity": ("active::int", "1"),
    "retention": ("(active and active_before)::int", "active_before::int"),
    "orders": ("orders", "1"),
    "basket": ("net_amount", "orders"),
    "money": ("net_amount", "1"),
}  # fmt: skip


def behaviour() -> Iterable[dict[str, Any]]:
    """Over 100 days: orders, some void later, flagged, given back in part or known late, views, and exposures that nobody asked for."""
    rng = np.random.default_rng(3)
    for u in UIDS:
        for n in range(int(rng.poisson(3))):
            day = DAY - timedelta(int(rng.integers(0, 100)))
            order = {
                "order_key": u * 100 + n,
                "sku_code": 1,
                "quantity": 1,
                "amount_minor": int(rng.integers(1, 9_999)),
            }
            kind = rng.random()
            if kind < 0.2:
                order["void_day"] = day + timedelta(int(rng.integers(1, 9)))
            elif kind < 0.3:
                order["flagged_day"] = day
            elif kind < 0.4:
                order["valid_from_day"] = day + timedelta(3)
            yield act(u, day, "pay", **order)
            if kind > 0.7:
                later = day + timedelta(int(rng.integers(1, 9)))
                yield act(
                    u,
                    day,
                    "refund_of_order",
                    **{**order, "amount_minor": order["amount_minor"] // 2, "valid_from_day": later},
                )
            if kind > 0.9:
                yield act(u, day, "pay", hour=4, **order)
        for name in ("view", "cart", "share", "exposure"):
            for _ in range(int(rng.poisson(0.4))):
                yield act(u, DAY - timedelta(int(rng.integers(0, 100))), name, sku_code=1)
    yield act(UIDS[0], date(2025, 11, 1), "view", sku_code=1)


def standing(seed: int, uids: Iterable[int]) -> dict[int, dict[str, str]]:
    """A segment of every scheme for every user; the first of each is more frequent."""
    # the scheme that came later is drawn by itself, so that the people of the others stay who they were
    rng, later = np.random.default_rng(seed), np.random.default_rng(seed + 1_000)
    drawn = {s: later if s == "usual_order_way" else rng for s in SCHEMES}
    return {
        u: {
            s: values[int(drawn[s].integers(0, len(values)) * drawn[s].integers(0, 2))] for s, values in SCHEMES.items()
        }
        for u in uids
    }


def segments(day: date, where: dict[int, dict[str, str]]) -> list[dict[str, Any]]:
    return [
        {"as_of": day, "bucket": u // 100_000, "scheme": s, "uid": u, "is_member": True, "segment": v}
        for u, mine in where.items()
        for s, v in mine.items()
    ]


def figures(day: date, where: dict[int, dict[str, str]]) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for mine in where.values():
        for s, v in mine.items():
            counts[f"{s}/{v}"] = counts.get(f"{s}/{v}", 0) + 1
    return [
        {"as_of": day, "topic": "segments", "figure": "users_share", "item": i, "number": n / len(where)}
        for i, n in counts.items()
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "shop"
    shipped.new_project(folder)
    for path in (folder / "audiences").glob("*.yaml"):
        path.unlink()
    shop = Shop.at(folder)
    for name, (tag, values) in AUDIENCES.items():
        shop.define(name, AUDIENCE.format(tag=tag, values=values))
    shop.put(
        "identity.users",
        [
            {
                "uid": u,
                "bucket": u // 100_000,
                "user_id": f"m{u:06d}",
                "person_kind": "member",
                "merged_into_uid": ELDER if u == YOUNGER else None,
                "retired_day": DAY if u == YOUNGER else None,
            }
            for u in UIDS
        ],
    )
    shop.activity(behaviour())
    now = standing(5, [u for u in UIDS if u != YOUNGER])
    then = standing(7, UIDS[:-60])
    # Nobody stood in it then: a day without a segment counts with 0 in the mean.
    gone = {
        u: {**mine, "lifecycle": "new" if mine["lifecycle"] == "mature" else mine["lifecycle"]}
        for u, mine in then.items()
    }
    for day, where in ((PAST, gone), (BETWEEN, standing(11, UIDS[:-20])), (DAY, now)):
        shop.put("segments.segments", segments(day, where), replace=[{"as_of": day}])
        shop.put("segments.figures", figures(day, where), replace=[{"as_of": day}])
    rows = [
        {"as_of": DAY, "bucket": u // 100_000, "is_member": True, "uid": u, "user_id": f"m{u:06d}", **mine}
        for u, mine in now.items()
    ]
    shop.put("profile.profile", rows, replace=[{"as_of": DAY}])
    write_release(shop.lake, DAY, "run-1", shop.lake.versions())
    return folder


def by_sql(shop: Shop, goal: str, day: date, days: int = 28) -> dict[str, dict[str, MetricPart]]:
    """Users, amount and base by scheme and segment, by plain SQL."""
    amount, base = OF_GOAL[goal]
    first = day - timedelta(days)
    values = {
        "day": day,
        "first": first,
        "before": first - timedelta(days),
        "active": [BEHAVIOURS[b] for b in ACTIVE],
        "pay": BEHAVIOURS["pay"],
        "back": BEHAVIOURS["refund_of_order"],
    }
    found: dict[str, dict[str, MetricPart]] = {}
    with connect(shop.lake, None) as con:
        for scheme, segment, *numbers in con.execute(PARTS.format(amount=amount, base=base), values).fetchall():
            found.setdefault(scheme, {})[segment] = MetricPart(*numbers)
    return found


@pytest.mark.parametrize("goal", GOALS)
def test_the_metric_of_a_goal_now_and_then_is_that_of_plain_sql(template: Path, goal: GoalName) -> None:
    shop = Shop.at(template)
    found = campaign_goal(shop.project, goal)
    now, then = (whole_of(by_sql(shop, goal, day)["lifecycle"]) for day in (DAY, PAST))
    assert (found.past_day, found.days, found.notes, found.warnings) == (PAST, 28, (), ())
    assert (found.users, found.amount, found.base) == (now.users, now.amount, now.base)
    assert (found.past_users, found.past_amount, found.past_base) == (then.users, then.amount, then.base)
    assert then.amount > 0 and 0 < now.amount != then.amount
    assert found.gap == pytest.approx(then.amount / then.base * now.base - now.amount)


@pytest.mark.parametrize("goal", GOALS)
def test_a_segments_gap_to_its_past_is_what_its_users_do_less_and_what_their_number_makes(
    template: Path, goal: GoalName
) -> None:
    """The scheme's gaps sum to the shop's; each of them is worked out here from counts of plain SQL."""
    shop = Shop.at(template)
    found = campaign_goal(shop.project, goal)
    now, then = (by_sql(shop, goal, day) for day in (DAY, PAST))
    assert [TagRole(s.role) for s in found.schemes] == list(GOALS[goal].roles)
    for s in found.schemes:
        mine, was = now[s.scheme], then[s.scheme]
        here, of_then = whole_of(mine), whole_of(was)
        assert {g.segment for g in s.to_past} == {*mine, *was}
        assert sum(g.gap for g in s.to_past) == pytest.approx(found.gap)
        assert [g.gap for g in s.to_past] == sorted((g.gap for g in s.to_past), reverse=True)
        for g in s.to_past:
            p, q = mine.get(g.segment, MetricPart(0, 0, 0)), was.get(g.segment, MetricPart(0, 0, 0))
            assert (g.users, g.share) == (p.users, pytest.approx(p.users / here.users))
            assert g.reference_share == pytest.approx(q.users / of_then.users)
            usual = of_then.amount / of_then.base
            level = q.amount / q.base if q.base else p.amount / p.base if p.base else usual
            assert g.by_value == pytest.approx(p.base * level - p.amount, abs=1e-6)
            assert g.by_share == pytest.approx((q.base / of_then.base * here.base - p.base) * (level - usual), abs=1e-6)


def test_a_benchmark_of_own_history_is_the_mean_of_the_days_before(template: Path) -> None:
    shop = Shop.at(template)
    found = next(s for s in campaign_goal(shop.project, "orders").schemes if s.role == TagRole.LIFECYCLE)
    with connect(shop.lake, None) as con:
        shares = dict(
            con.execute(
                """
                select segment, sum(share) / 2 from (
                    select segment, count(*) / sum(count(*)) over (partition by as_of) as share
                    from segments.segments where scheme = 'lifecycle' and as_of in (?, ?) group by segment, as_of
                ) group by segment
                """,
                [PAST, BETWEEN],
            ).fetchall()
        )
    assert found.benchmark_days == 2
    assert {g.segment: g.reference_share for g in found.to_benchmark} == pytest.approx(shares)
    counts = by_sql(shop, "orders", DAY)["lifecycle"]
    whole = whole_of(counts)
    for g in found.to_benchmark:
        mine = counts[g.segment]
        usual = (shares[g.segment] * whole.users - mine.users) * (mine.amount / mine.users - whole.amount / whole.users)
        assert g.gap == pytest.approx(usual, abs=1e-6) and g.reference_value is None


def test_aipl_is_held_against_its_own_benchmark_where_there_is_one(shop: Shop) -> None:
    peers = {"awareness": 0.1, "interest": 0.1, "purchase": 0.2, "loyalty": 0.5, "none": 0.1}
    rows = [
        {"as_of": DAY, "topic": "aipl", "figure": "benchmark_share", "item": s, "number": n} for s, n in peers.items()
    ]
    shop.put("segments.figures", rows, replace=[{"as_of": DAY}])
    write_release(shop.lake, DAY, "run-2", shop.lake.versions())
    found = campaign_goal(shop.project, "money").schemes[0]
    assert (found.role, found.benchmark_days) == (TagRole.AIPL, None)
    assert {g.segment: g.reference_share for g in found.to_benchmark} == peers


def test_audiences_that_can_close_a_gap_are_those_with_people_where_it_can_be_closed(template: Path) -> None:
    shop = Shop.at(template)
    with connect(shop.lake, None) as con:
        standing = con.execute("select aipl_stage, lifecycle, count(*) from profile.profile group by all").fetchall()
    seen = 0
    for s in campaign_goal(shop.project, "orders").schemes:
        for g in (g for g in (*s.to_past, *s.to_benchmark) if s.role in (TagRole.AIPL, TagRole.LIFECYCLE)):
            wanted: dict[str, int] = {}
            for stage, life, n in standing:
                here = stage if s.role == TagRole.AIPL else life
                for name, (tag, values) in AUDIENCES.items():
                    if (stage if tag == "aipl_stage" else life) in values.split(", ") and here in g.where:
                        wanted[name] = wanted.get(name, 0) + n
            assert g.audiences == (wanted if g.gap > 0 else {})
            assert list(g.audiences.values()) == sorted(g.audiences.values(), reverse=True)
            seen += bool(g.audiences)
    assert seen > 4


def test_who_was_merged_since_is_one_person_where_the_elder_stood(template: Path) -> None:
    shop = Shop.at(template)
    found = campaign_goal(shop.project, "activity")
    assert (found.past_users, found.users) == (len(UIDS) - 60 - 1, len(UIDS) - 1)


def test_without_a_snapshot_of_then_nothing_is_said_of_the_past_and_it_is_told(shop: Shop) -> None:
    (shop.folder / "methods" / "campaigns.yaml").write_text("goal_days: 60\n", encoding="utf-8")
    found = campaign_goal(shop.project, "basket")
    assert (found.past_day, found.past_value, found.gap, found.days) == (None, None, None, 60)
    assert all(s.to_past == () and s.to_benchmark for s in found.schemes)
    assert (
        f"there is no snapshot of 60 days ago ({DAY - timedelta(60)}" in found.notes[0].en
        and f"{BETWEEN}" in found.notes[0].zh
    )
    whole = whole_of(by_sql(shop, "basket", DAY, 60)["quadrant"])
    assert (found.amount, found.base) == (whole.amount, whole.base)


def test_a_snapshot_some_days_off_gives_the_days_that_are_counted(shop: Shop) -> None:
    (shop.folder / "methods" / "campaigns.yaml").write_text("goal_days: 8\ngoal_tolerance_days: 1\n", encoding="utf-8")
    found = campaign_goal(shop.project, "money")
    assert (found.past_day, found.days) == (BETWEEN, 7)
    then = whole_of(by_sql(shop, "money", BETWEEN, 7)["aipl_stage"])
    assert (found.past_amount, found.past_base) == (then.amount, then.base)


def test_what_lacks_a_benchmark_a_role_a_segmentation_or_enough_behaviour_is_told(shop: Shop) -> None:
    tags = shop.folder / "tags" / "segments.yaml"
    tags.write_text(tags.read_text(encoding="utf-8").replace("    role: pyramid\n", ""), encoding="utf-8")
    shop.put("segments.figures", [], replace="all")
    kept = standing(7, UIDS)
    for mine in kept.values():
        del mine["rfm_value_segment"]
    shop.put("segments.segments", segments(PAST, kept), replace=[{"as_of": PAST}])
    shop.activity(act(u, PAST, "view", sku_code=1) for u in UIDS)
    write_release(shop.lake, DAY, "run-2", shop.lake.versions())
    found = campaign_goal(shop.project, "money")
    told = " | ".join(n.en for n in found.notes)
    assert "no tag has the role pyramid" in told and [s.role for s in found.schemes] == [
        TagRole.AIPL,
        TagRole.RFM_VALUE,
    ]
    assert "no segmentation rfm_value_segment on 2026-03-03" in told and found.schemes[1].to_past == ()
    assert told.count("has no benchmark") == 2 and all(s.to_benchmark == () for s in found.schemes)
    assert f"behaviour is known from {PAST} on, and the period of then begins on {PAST - timedelta(27)}" in told
    assert (found.amount, found.past_value) == (0, 0.0)
    again = campaign_goal(shop.project, "retention")
    assert f"begins on {PAST - timedelta(55)}" in " | ".join(n.en for n in again.notes)
    assert (again.past_base, again.past_value, again.gap) == (0, None, None)


def test_an_audience_that_cannot_be_judged_is_left_out_with_a_warning(shop: Shop) -> None:
    shop.define("broken", AUDIENCE.format(tag="aipl_stge", values="loyalty"))
    assert any(w.startswith("audience broken is left out") for w in campaign_goal(shop.project, "orders").warnings)


def test_no_such_goal_is_refused_with_the_goals(shop: Shop) -> None:
    with pytest.raises(HuaxiangError, match="no goal 'fame'; goals are activity, retention, orders, basket, money"):
        campaign_goal(shop.project, "fame")  # type: ignore[arg-type]


# --- arithmetic ---


def test_changes_of_segments_sum_to_that_of_all_also_where_a_segment_is_new_or_gone() -> None:
    now = {"a": MetricPart(10, 30, 10), "new": MetricPart(5, 5, 5), "idle": MetricPart(3, 0, 0)}
    then = {"a": MetricPart(8, 16, 8), "gone": MetricPart(4, 12, 4), "idle": MetricPart(3, 0, 0)}
    found = contributions(now, then)
    assert found["a"].by_value == pytest.approx(10 * (3 - 2))
    assert found["new"] == Contribution(0.0, pytest.approx(5 * (1 - 28 / 12)))
    assert found["idle"] == Contribution(0.0, 0.0)
    assert sum(c.whole for c in found.values()) == pytest.approx(35 - 15 * 28 / 12)
    assert contributions(now, {}) == {} == contributions({}, then)


def test_where_too_few_stand_a_gap_is_closed_by_who_stands_too_much_below() -> None:
    now = {"high": MetricPart(10, 30, 10), "middle": MetricPart(50, 60, 50), "low": MetricPart(40, 4, 40)}
    shares = {"high": 0.3, "middle": 0.4, "low": 0.3}
    assert where_it_can_be_closed("high", Contribution(0.0, -5.0), now, shares) == ("low", "middle")
    assert where_it_can_be_closed("high", Contribution(-6.0, -5.0), now, shares) == ("high",)
    assert where_it_can_be_closed("low", Contribution(0.0, -5.0), now, shares) == ("low",)


def test_roles_that_goals_look_at_are_told_to_be_theirs() -> None:
    assert {r for g in GOALS.values() for r in g.roles} == set(used_by("goal"))


# --- the verb ---


def invoked(*words: str) -> Any:
    app = typer.Typer()
    app.add_typer(verbs.campaign, name="campaign")
    return CliRunner().invoke(app, ["campaign", "plan", *words])


@pytest.mark.parametrize("goal", GOALS)
def test_a_marketer_reads_the_goal_in_both_languages(template: Path, goal: GoalName) -> None:
    done = invoked("--goal", goal, "--project", str(template))
    assert done.exit_code == 0, done.output
    g = GOALS[goal]
    for said in (
        g.name.zh,
        g.metric.zh,
        g.metric.en,
        g.definition.zh,
        g.definition.en,
        "与自身过去相比",
        "与基准相比",
        "* = 不足 30 人",
    ):
        assert said in done.output
    found: GoalReport = campaign_goal(Shop.at(template).project, goal)
    shown = json.loads(invoked("--goal", goal, "--project", str(template), "--json").output)
    assert (shown["amount"], shown["gap"]) == (found.amount, pytest.approx(found.gap))
    assert [s["scheme"] for s in shown["schemes"]] == [s.scheme for s in found.schemes]


def test_a_plan_is_of_a_campaign_or_of_a_goal(template: Path) -> None:
    for words in ((), ("spring", "--goal", "money"), ("--goal", "fame")):
        done = invoked(*words, "--project", str(template))
        assert done.exit_code == 2
