"""What the insights of a day say of a hand-made lake: curves and cuts, moves, the alert, and the audience it feeds."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.audiences.step import why
from lake.releases import write_release
from queries.preview import preview
from schemas.errors import ConfigurationError, NotThereError
from tests.audiences.lake_shop import Shop, act
from tests.lifecycle.lake import CONF, InThisProcess, breaks, insight, publish, shop_at

D = date(2026, 3, 31)
MEDIANS = {"quadrant_frequency": (2,), "quadrant_value": (10_000,)}


def put_profile(shop: Shop, as_of: date, quadrants: dict[int, str]) -> None:
    rows = [
        {
            "as_of": as_of,
            "bucket": uid // 100_000,
            "uid": uid,
            "user_id": f"m{uid:06d}",
            "is_member": uid % 10 != 9,
            "quadrant": q,
            "lifecycle": "mature",
        }
        for uid, q in sorted(quadrants.items())
    ]
    shop.put("profile.profile", rows, replace=[{"as_of": as_of}])


def two_days(shop: Shop, slid: int, fitted: date = D - timedelta(days=100), medians: Any = None) -> None:
    """100 frequent buyers a week ago, of whom ``slid`` are rare and low today; one left, one is new."""
    before = dict.fromkeys(range(99), "frequent_high") | {100_005: "rare_high", 7_000: "no_purchase"}
    after = {uid: "rare_low" if uid < slid else "frequent_high" for uid in range(99)} | {
        100_006: "rare_low",
        7_000: "rare_low",
    }
    put_profile(shop, D - timedelta(days=7), before)
    put_profile(shop, D, after)
    breaks(shop, D - timedelta(days=7), MEDIANS, fitted)
    breaks(shop, D, medians or MEDIANS, fitted)


def put_history(shop: Shop, shares: list[float]) -> None:
    for i, share in enumerate(shares, 1):
        day = D - timedelta(days=7 * i)
        row = {"as_of": day, "from_as_of": day - timedelta(days=7), "alert": "moving_to_rare_low", "number": share}
        shop.put("segments.alerts", [{**row, "sample_users": 100, "is_raised": False}], replace=[{"as_of": day}])
        breaks(shop, day, MEDIANS, D - timedelta(days=200))


HISTORY = [0.04, 0.05, 0.06] * 4


def test_the_alert_compares_the_week_with_the_twelve_before(tmp_path: Path) -> None:
    shop = shop_at(tmp_path / "shop")
    put_history(shop, HISTORY)
    two_days(shop, slid=9)
    found = insight(shop, "migration", D)
    (alert,) = found.alerts
    assert (alert["number"], alert["sample_users"], alert["is_raised"]) == (0.09, 100, True)
    assert alert["limit_number"] == pytest.approx(0.05 + 3 * (8 * 0.0001 / 11) ** 0.5)
    moves = {r["item"]: r["number"] for r in found.figures}
    assert moves == {
        "NEW>rare_low": 1,
        "frequent_high>frequent_high": 90,
        "frequent_high>rare_low": 9,
        "no_purchase>rare_low": 1,
        "rare_high>LOST": 1,
    }
    drift = {(r["series"], r["x"]): round(r["y"], 6) for r in found.curves}
    assert len(drift) == 3 * 13
    assert (drift["share", 0.0], drift["share", -7.0], drift["share", -84.0], drift["mean", -84.0]) == (
        0.09,
        0.04,
        0.06,
        0.05,
    )
    listed = [u for path in found.alert_users for u in pq.read_table(path, partitioning=None)["uid"].to_pylist()]
    assert listed == list(range(9))


def test_after_a_refit_the_alert_says_so_and_compares_only_what_came_after(tmp_path: Path) -> None:
    shop = shop_at(tmp_path / "shop")
    put_history(shop, HISTORY)
    two_days(shop, slid=30, medians={**MEDIANS, "quadrant_value": (12_000,)})
    found = insight(shop, "migration", D)
    (alert,) = found.alerts
    assert (alert["alert_reason"], alert["number"], alert["is_raised"]) == ("refitted", None, False)
    assert not found.figures and not found.alert_users
    # a week later both days are cut anew: the move counts, the twelve periods from before do not
    for day in (D - timedelta(days=7), D):
        breaks(shop, day, {**MEDIANS, "quadrant_value": (12_000,)}, D - timedelta(days=7))
    (alert,) = insight(shop, "migration", D).alerts
    assert (alert["alert_reason"], alert["number"], alert["limit_number"]) == ("few_periods", 0.3, None)


def test_without_a_snapshot_a_week_ago_there_is_nothing_to_compare(tmp_path: Path) -> None:
    shop = shop_at(tmp_path / "shop")
    put_profile(shop, D, {1: "rare_low"})
    (alert,) = insight(shop, "migration", D).alerts
    assert (alert["alert_reason"], alert["from_as_of"]) == ("no_earlier_day", None)
    assert not insight(shop, "migration", D - timedelta(days=1)).alerts


def test_the_alert_feeds_an_audience(tmp_path: Path) -> None:
    text = (CONF / "audiences" / "moving_to_rare_low.yaml").read_text(encoding="utf-8")
    shop = shop_at(tmp_path / "shop", moving_to_rare_low=text)
    put_profile(shop, D, dict.fromkeys((1, 2, 3, 9, 100004), "rare_low"))
    old = write_release(shop.lake, D, "run-old", {"profile.profile": shop.lake.version("profile.profile") or 0})
    rows = [{"uid": u, "from_segment": "rare_high", "to_segment": "rare_low"} for u in (2, 9, 100_004)]
    days = [{"as_of": D, "alert": "moving_to_rare_low", **r} for r in rows]
    other = {"as_of": D, "alert": "another", "uid": 3, "from_segment": "a", "to_segment": "b"}
    shop.put("segments.alert_users", [*days, other])
    write_release(shop.lake, D, "run-new", shop.lake.versions())
    found = preview(shop.project, "moving_to_rare_low")
    assert (found.users, found.members) == (2, 2)
    assert [s.true for s in found.steps if "alert" in s.en] == [3]
    reason = why(shop.project, "moving_to_rare_low", 1)
    assert not reason.is_in
    assert reason.decided == "include.all.0: listed by an alert: users who moved to rare, low value in the last period"
    assert why(shop.project, "moving_to_rare_low", 100_004).is_in
    with pytest.raises(NotThereError, match="older than alerts"):
        preview(shop.project, "moving_to_rare_low", which=old.number)


def test_an_unknown_alert_is_refused_with_the_nearest(tmp_path: Path) -> None:
    text = "name: {zh: 人, en: A}\ndescription: {zh: 人, en: A}\nowner: crm\ninclude: {alert: moving_to_rare_lo}\n"
    shop = shop_at(tmp_path / "shop", wrong=text)
    with pytest.raises(ConfigurationError, match=r"wrong.yaml:4: include.alert: .*did you mean 'moving_to_rare_low'"):
        preview(shop.project, "wrong")


# --- lifecycle ---

CUTS = {"purchase_day_cuts": (1, 2, 7), "dormant_after": (50, 40, 30), "churned_after": (90,)}


def put_buyers(shop: Shop, last_day: date) -> None:
    """40 users who bought on a day, 30 of them again after 1 .. 30 days, 10 of these a third time after 10 more."""
    rows = []
    first = last_day - timedelta(days=120)
    for uid in range(40):
        days = [first]
        if uid < 30:
            days.append(first + timedelta(days=uid + 1))
        if uid < 10:
            days.append(days[-1] + timedelta(days=10))
        rows += [act(uid, day, "pay", order_key=100 * uid + i + 1, amount_minor=100) for i, day in enumerate(days)]
    shop.activity(rows)
    shop.put(
        "identity.users", [{"uid": u, "bucket": 0, "user_id": f"m{u}", "person_kind": "member"} for u in range(40)]
    )


def test_curves_and_cuts_of_a_day(tmp_path: Path) -> None:
    shop = shop_at(tmp_path / "shop")
    put_buyers(shop, D)
    put_profile(shop, D, dict.fromkeys(range(40), "rare_low"))
    breaks(shop, D, CUTS, D)
    found = insight(shop, "lifecycle", D)
    cuts = {r["item"]: r["number"] for r in found.figures if r["figure"] == "cut"}
    assert cuts == {
        **{f"purchase_days/{i}": n for i, n in enumerate((1.0, 2.0, 7.0), 1)},
        **{f"dormant/{i}": n for i, n in enumerate((50.0, 40.0, 30.0, 30.0), 1)},
        **{f"churned/{i}": 90.0 for i in range(1, 5)},
    }
    points = {(r["curve"], r["series"], r["x"]): r for r in found.curves}
    assert [points["repurchase", "", n]["y"] for n in (1, 2)] == [0.75, 1 / 3]
    assert points["repurchase", "", 1]["sample_users"] == 40
    # class 1: at risk fall to 30 users on day 11, so that F(H) is read there
    assert points["purchase_gap", "1", 5]["y"] == pytest.approx(5 / 11)
    assert ("purchase_gap", "1", 12) not in points and points["purchase_gap", "1", 11]["y"] == 1
    assert points["recovery", "", 1]["y"] > 0
    assert {r["number"] for r in found.figures if r["figure"] == "curve_age_days"} == {0.0}


def test_a_kept_cut_has_the_sample_of_its_fit_and_a_recovery_without_a_knee_says_why(tmp_path: Path) -> None:
    shop = shop_at(tmp_path / "shop")
    put_buyers(shop, D)
    put_profile(shop, D, dict.fromkeys(range(40), "rare_low"))
    fitted = D - timedelta(days=60)
    rows = [
        {"as_of": D, "name": "churned_after", "position": i, "number": n, "spec": "s", "fitted_on": fitted}
        | {"basis": "curve", "sample_users": sample}
        for i, (n, sample) in enumerate(((90.0, 2_000), (60.0, 900)), 1)
    ]
    shop.put("profile.breaks", rows, replace=[{"as_of": D}])
    found = insight(shop, "lifecycle", D)
    samples = {r["item"]: r["sample_users"] for r in found.figures if r["figure"] == "cut"}
    assert samples == {"churned/1": 2_000, **{f"churned/{i}": 900 for i in (2, 3, 4)}}
    assert [(r["item"], r["sample_users"]) for r in found.figures if r["figure"] == "no_cut"] == [
        ("recovery/few_cases", 40)
    ]
    # on a day whose curves stand again the reason does, too
    publish(shop, "lifecycle", D, found)
    after = D + timedelta(days=1)
    put_profile(shop, after, dict.fromkeys(range(40), "rare_low"))
    shop.put("profile.breaks", [r | {"as_of": after} for r in rows], replace=[{"as_of": after}])
    again = insight(shop, "lifecycle", after)
    assert [r["item"] for r in again.figures if r["figure"] == "no_cut"] == ["recovery/few_cases"]


@pytest.mark.slow
def test_curves_are_drawn_when_a_cut_was_fitted_or_they_are_a_week_old(tmp_path: Path) -> None:
    shop = shop_at(tmp_path / "shop")
    first = D - timedelta(days=9)
    put_buyers(shop, first)
    ages, drawn = [], []
    for i in range(10):
        day = first + timedelta(days=i)
        put_profile(shop, day, dict.fromkeys(range(40), "rare_low"))
        breaks(shop, day, CUTS, day if i == 9 else first)
        engine = InThisProcess()
        found = insight(shop, "lifecycle", day, engine)
        publish(shop, "lifecycle", day, found)
        ages += [r["number"] for r in found.figures if r["figure"] == "curve_age_days"]
        drawn.append(engine.tasks)
        assert {r["curve"] for r in found.curves} == {"repurchase", "purchase_gap", "recovery"}
    assert ages == [0, 1, 2, 3, 4, 5, 6, 0, 1, 0]
    assert [bool(n) for n in drawn] == [a == 0 for a in ages]
    again = insight(shop, "lifecycle", D - timedelta(days=4))
    assert [r["number"] for r in again.figures if r["figure"] == "curve_age_days"] == [5]
