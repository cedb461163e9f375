"""Assignment and results over a shop of 400 people: nobody moves, and every number is held against a count by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

from campaigns.assignment import arms_of
from campaigns.language import ABOVE, HELD_OUT
from campaigns.lift import absolute_lift, cuped, moments
from jobs.audiences import columns as audience_columns
from jobs.campaigns import assign as assign_step
from jobs.campaigns.assign import assign_arms as assign
from jobs.campaigns.assigned import ASSIGNMENTS, PLANS
from jobs.campaigns.learn import learn
from jobs.campaigns.outcomes import DaySpan, counts_over
from jobs.campaigns.results import PROGRESS, RESULTS
from jobs.campaigns.results import campaign_results as results
from lake.engine import Engine
from lake.publish import publish
from lake.retention import retained
from schemas.errors import ConfigurationError, HuaxiangError, NotThereError, OutdatedError, UsageError
from tests.audiences.lake_shop import Shop
from tests.campaigns.campaign_shop import (
    END,
    SPRING,
    START,
    UIDS,
    WINDOW,
    behaviour,
    brought,
    define,
    people,
    users,
)


def sql(shop: Shop, table: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as db:
        db.register("t", shop.lake.dataset(table))
        return db.execute(query).fetchall()


def arms(shop: Shop) -> dict[int, str]:
    rows = sql(shop, ASSIGNMENTS, "select uid, arm from t")
    assert len(rows) == len({u for u, _ in rows}), "nobody has two rows"
    return dict(rows)


def test_everybody_gets_the_arm_that_the_hash_says_and_the_stage_that_took_them(shop: Shop) -> None:
    found = assign(shop.project, "spring", which=str(START))
    assert found.stages == ("grow", "harvest")
    assert sum(found.added.values()) == len(UIDS) and found.users == found.added
    weights = {HELD_OUT: 0.3, "coupon": 0.35, "message": 0.35}
    number, names = arms_of(np.array(UIDS), "spring/spring", weights)
    assert arms(shop) == dict(zip(UIDS, (names[i] for i in number), strict=True))
    stages = sql(shop, ASSIGNMENTS, "select stage, audience, count(*), min(uid % 3) from t group by all order by all")
    men = sum(u % 3 == 0 for u in UIDS)
    assert stages == [("grow", "women", len(UIDS) - men, 1), ("harvest", "everybody", men, 0)]
    assert sql(shop, PLANS, "select count(*) from t") == [(1,)]


def test_a_second_run_adds_nobody_and_makes_no_version(shop: Shop) -> None:
    first = assign(shop.project, "spring", which=str(START))
    version = shop.lake.version(ASSIGNMENTS)
    again = assign(shop.project, "spring", which=str(START))
    assert sum(again.added.values()) == 0 and again.users == first.users
    assert shop.lake.version(ASSIGNMENTS) == version


def test_a_dry_run_says_the_same_and_publishes_nothing(shop: Shop) -> None:
    tried = assign(shop.project, "spring", which=str(START), dry_run=True)
    assert sql(shop, ASSIGNMENTS, "select count(*) from t") == [(0,)]
    made = assign(shop.project, "spring", which=str(START))
    assert (tried.added, tried.users, tried.visible_lift) == (made.added, made.users, made.visible_lift)


def test_who_comes_later_is_added_and_nobody_moves_whatever_the_definition_says_by_then(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(START), stages=["grow"])
    before = arms(shop)
    assert len(before) == sum(u % 3 != 0 for u in UIDS)
    define(shop, SPRING.replace("holdout: 0.3", "holdout: 0.9").replace("d_day: 2026-03-20", "d_day: 2026-05-30"))
    found = assign(shop.project, "spring", which=str(END))
    after = arms(shop)
    assert {u: after[u] for u in before} == before
    new = Counter(after[u] for u in set(after) - set(before))
    assert len(after) == len(UIDS) and new[HELD_OUT] > 0.8 * sum(new.values())
    assert found.added == {a: new[a] for a in found.added}
    assert sql(shop, PLANS, "select count(*) from t") == [(2,)]
    days = sql(shop, ASSIGNMENTS, "select as_of, count(*) from t group by all order by all")
    assert days == [(START, len(before)), (END, len(after) - len(before))]


def test_of_two_merged_persons_the_elders_arm_counts_and_no_row_is_added(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(START), stages=["grow"])
    given = arms(shop)
    # Two women of different arms become one; a man without an arm takes over a woman of another bucket.
    elder, younger = next((a, b) for a in given for b in given if a < b < 100_000 and given[a] != given[b])
    man, woman = 3, next(u for u in given if u > 100_000)
    merged = {younger: elder, woman: man}
    shop.put("identity.users", users(merged))
    define(shop, SPRING.replace("d_day: 2026-03-20", "d_day: 2026-05-30"))
    shop.release(END, people(without=merged), number=2)
    found = assign(shop.project, "spring", which=str(END))
    assert {u: a for u, a in arms(shop).items() if u in given} == given
    assert man not in arms(shop), "the man has the arm of the woman he was merged with"
    assert sum(found.users.values()) == len(UIDS) - 2
    rest = Counter(a for u, a in arms(shop).items() if u not in merged)
    rest[given[woman]] += 1
    assert found.users == {a: rest[a] for a in found.users}


def test_a_killed_run_leaves_all_or_nothing_and_the_next_gives_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = assign(shop.project, "spring", which=str(START), dry_run=True)

    def killed_before(table: str) -> Callable[..., int]:
        def publishing(lake: Any, name: str, *rest: Any, **more: Any) -> int:
            if name == table:
                raise KeyboardInterrupt
            return publish(lake, name, *rest, **more)

        return publishing

    for table in (PLANS, ASSIGNMENTS):
        monkeypatch.setattr(assign_step, "publish", killed_before(table))
        with pytest.raises(KeyboardInterrupt):
            assign(shop.project, "spring", which=str(START))
        assert sql(shop, ASSIGNMENTS, "select count(*) from t") == [(0,)]
    monkeypatch.undo()
    assert assign(shop.project, "spring", which=str(START)).added == calm.added
    assert sql(shop, PLANS, "select count(*) from t") == [(1,)]


def test_the_shops_own_holdout_stands_above_the_campaign(shop: Shop) -> None:
    (shop.folder / "methods").mkdir()
    (shop.folder / "methods" / "campaigns.yaml").write_text("global_holdout: 0.25\n", encoding="utf-8")
    found = assign(shop.project, "spring", which=str(START))
    assert 70 < found.users[ABOVE] < 130
    assert ABOVE not in {a.arm for a in results(shop.project, "spring", which=str(END)).arms}
    assert (
        results(shop.project, "spring", which=str(END)).progress[0].users
        == found.users["coupon"] + found.users["message"]
    )


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"name": "sprung"}, NotThereError, "did you mean 'spring'"),
        ({"stages": ["seed"]}, UsageError, "has no stage 'seed'"),
        ({"which": str(END)}, HuaxiangError, "is over: its last day is 2026-03-20"),
    ],
)
def test_what_cannot_be_assigned_says_why(shop: Shop, words: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        assign(shop.project, **{"name": "spring", "which": str(START), **words})


def test_no_day_goes_back_and_no_unknown_audience_gets_in(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(END), stages=["harvest"])
    with pytest.raises(OutdatedError, match="of 2026-03-10, before it"):
        assign(shop.project, "spring", which=str(START))
    define(shop, SPRING.replace("[women]", "[womn]").replace("{women:", "{womn:"))
    with pytest.raises(
        ConfigurationError, match=r"spring\.yaml:14: stages\.grow\.audiences: no audience 'womn'; did you"
    ):
        assign(shop.project, "spring")


def test_a_release_that_people_were_assigned_from_stays(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(START))
    kept, gone = retained(shop.lake, keep_days=1)
    assert next((k.release.as_of, k.why) for k in kept) == (
        START,
        ("what a rollback brings back", "campaign spring was assigned from it"),
    )
    assert not gone


def test_results_are_those_of_a_count_by_hand(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(START))
    given, rows = arms(shop), behaviour()
    found = results(shop.project, "spring", which=str(END))
    after = brought(rows, START + timedelta(1), START + timedelta(WINDOW), END)
    before = brought(rows, START - timedelta(WINDOW - 1), START, START)
    ways: dict[str, Callable[[tuple[int, int]], float]] = {
        "net_amount": lambda b: b[0],
        "orders": lambda b: b[1],
        "converted": lambda b: b[1] > 0,
    }
    assert len(found.arms) == 6 and found.over_on == START + timedelta(WINDOW)
    for one in found.arms:
        of = ways[one.outcome]
        mine, held = (
            moments(*(np.array([of(w[u]) for u in UIDS if given[u] == arm], float) for w in (after, before)))
            for arm in (one.arm, HELD_OUT)
        )
        plain, adjusted = absolute_lift(held, mine), cuped(held, mine)
        assert plain is not None and adjusted is not None
        assert (one.users, one.held_users) == (mine.users, held.users)
        assert (one.mean, one.held_mean) == pytest.approx((mine.mean, held.mean))
        assert (one.difference, one.difference_low, one.p_value) == pytest.approx(
            (plain.estimate, plain.low, plain.p_value)
        )
        assert (one.cuped_difference, one.variance_reduction) == pytest.approx(
            (adjusted.absolute.estimate, adjusted.variance_reduction)
        )
        assert one.is_over and one.sample_ratio_p is not None and one.sample_ratio_p > 0.001
    stored = sql(shop, RESULTS, "select arm, outcome, users, difference from t order by all")
    assert stored == sorted((a.arm, a.outcome, a.users, a.difference) for a in found.arms)


def test_metrics_are_counted_over_the_stages_own_days_and_over_who_gets_something(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(START))
    given, rows = arms(shop), behaviour()
    found = {(p.stage, p.metric): p for p in results(shop.project, "spring", which=str(END)).progress}
    d_day = date(2026, 3, 20)
    carts = {r["uid"] for r in rows if r["quantity"] == 0 and d_day - timedelta(9) <= r["day"] < d_day}
    bought = brought(rows, d_day, d_day, END)
    treated = {u for u, a in given.items() if a != HELD_OUT}
    assert found["grow", "cart_users"].reached == len(carts & treated) > 0
    assert found["harvest", "buyers"].reached == sum(bought[u][1] > 0 for u in treated)
    assert found["harvest", "net_amount"].reached == sum(bought[u][0] for u in treated)
    assert found["harvest", "net_amount"].target == 50_000
    assert len(sql(shop, PROGRESS, "select * from t")) == 3


def test_a_window_that_runs_is_counted_so_far_and_judged_by_the_always_valid_interval(shop: Shop) -> None:
    middle = START + timedelta(7)
    shop.release(middle, people())
    assign(shop.project, "spring", which=str(START))
    found = results(shop.project, "spring", which=str(middle))
    assert not any(a.is_over for a in found.arms)
    assert "ends on 2026-03-30" in found.warnings[0]
    so_far = brought(behaviour(), START + timedelta(1), START + timedelta(WINDOW), middle)
    coupon = [u for u, a in arms(shop).items() if a == "coupon"]
    first = found.arms[0]
    assert (first.arm, first.mean) == ("coupon", pytest.approx(np.mean([so_far[u][0] for u in coupon])))
    assert first.sequential_low is not None and first.difference_low is not None
    assert first.sequential_low < first.difference_low


def test_results_run_again_replace_themselves(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(START))
    once = results(shop.project, "spring", which=str(END))
    assert results(shop.project, "spring", which=str(END)) == once
    assert sql(shop, RESULTS, "select count(*) from t") == [(6,)]


def test_arms_that_are_not_what_was_assigned_get_no_verdict(shop: Shop) -> None:
    assign(shop.project, "spring", which=str(START))
    rows = sql(shop, ASSIGNMENTS, "select * from t where arm != 'coupon' or uid % 2 = 0")
    names = shop.lake.schema(ASSIGNMENTS).names
    shop.put(ASSIGNMENTS, [dict(zip(names, r, strict=True)) for r in rows])
    found = results(shop.project, "spring", which=str(END))
    assert {a.lift_verdict for a in found.arms} == {"sample_ratio"}


def test_nobody_assigned_is_said(shop: Shop) -> None:
    with pytest.raises(NotThereError, match="huaxiang campaign assign spring"):
        results(shop.project, "spring")


def test_a_span_without_days_counts_nothing() -> None:
    spans = [DaySpan(END, START, "orders"), DaySpan(END + timedelta(1), END + timedelta(9), "orders")]
    assert not any(n.any() for n in counts_over([], 0, spans, END).values())


def test_worker_processes_give_what_this_process_gives(
    shop: Shop, embedded: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many buckets are judged by the engine's workers, few here."""
    here = assign(shop.project, "spring", which=str(START), dry_run=True)
    monkeypatch.setattr(audience_columns, "INLINE_BUCKETS", 0)
    there = assign(shop.project, "spring", which=str(START), engine=embedded)
    assert (there.added, there.visible_lift) == (here.added, here.visible_lift)
    found = results(shop.project, "spring", which=str(END), engine=embedded)
    lesson = learn(shop.project, "spring", which=str(END), engine=embedded)
    monkeypatch.undo()
    assert results(shop.project, "spring", which=str(END)) == found
    assert learn(shop.project, "spring", which=str(END)) == lesson


def test_a_campaign_that_holds_nobody_out_counts_and_says_nothing(shop: Shop) -> None:
    define(shop, SPRING.replace("holdout: 0.3", "holdout: 0"))
    assert any("nobody is held out" in w for w in assign(shop.project, "spring", which=str(START)).warnings)
    found = results(shop.project, "spring", which=str(END))
    assert "nobody was held out, so no lift can be told" in found.warnings
    assert {(a.lift_verdict, a.difference, a.visible_lift, a.held_users) for a in found.arms} == {
        ("too_small", None, None, 0)
    }
    assert all(a.mean is not None for a in found.arms)
    assert learn(shop.project, "spring", which=str(END)).values == ()
