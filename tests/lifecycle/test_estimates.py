"""Estimated breaks as a run of the profile asks for them, over activity in a lake."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from features.frozen_numbers import Break
from features.gaps import LifecycleSettings
from jobs.profile.estimates import estimated, horizon_warnings
from models.lifecycle import Cut
from schemas.errors import ConfigurationError
from tests.audiences.lake_shop import Shop, act
from tests.lifecycle.lake import InThisProcess, shipped, shop_at

D = date(2026, 3, 31)
CHURNED = shipped().estimates["churned_after"]
DORMANT = shipped().estimates["dormant_after"]
KNEES = shipped().estimates["purchase_day_cuts"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """300 users bought 200 days ago: 200 of them again after 1 to 20 days, 100 of these a third time after 5 to 9 more."""
    made = shop_at(tmp_path_factory.mktemp("estimates") / "shop")
    first = D - timedelta(days=200)
    rows = []
    for uid in range(300):
        days = [first]
        if uid < 200:
            days.append(first + timedelta(days=1 + uid % 20))
        if uid < 100:
            days.append(days[-1] + timedelta(days=5 + uid % 5))
        rows += [act(uid, day, "pay", order_key=10 * uid + i + 1, amount_minor=100) for i, day in enumerate(days)]
    # user 300 was merged into user 0: the rows count there
    rows.append(act(300, first, "pay", order_key=9_999, amount_minor=100))
    made.activity(rows)
    users = [{"uid": u, "bucket": 0, "user_id": f"m{u}", "person_kind": "member"} for u in range(301)]
    users[300] |= {"merged_into_uid": 0, "retired_day": D}
    made.put("identity.users", users)
    return made


def numbers(cuts: tuple[Cut, ...]) -> tuple[float, ...]:
    return tuple(c.number for c in cuts)


def run_of(shop: Shop, folder: Path, **changed: Any) -> Any:
    run = {
        "lake": shop.lake,
        "as_of": D,
        "known_at": None,
        "map": InThisProcess().map,
        "scratch": folder,
        "catalogue": shipped(),
        "lifecycle": LifecycleSettings(),
    }
    return SimpleNamespace(**run | changed)


def test_a_class_has_its_own_cut_and_a_class_without_gaps_the_default(shop: Shop, tmp_path: Path) -> None:
    found = estimated(run_of(shop, tmp_path), {"dormant_after": DORMANT, "churned_after": CHURNED})
    # 10 of the 200 come back on each of the days 1 to 20, 20 of the 100 on each of 5 to 9; nobody after three days
    assert numbers(found["dormant_after"]) == (16.0, 8.0, *[90.0] * 6)
    assert numbers(found["churned_after"]) == (18.0, 9.0, *[180.0] * 6)
    assert [c.basis for c in found["churned_after"]] == ["curve", "curve", *["default_few_cases"] * 6]
    assert [c.sample for c in found["churned_after"][:3]] == [200, 100, 0]


def test_too_little_evidence_gives_the_default_and_says_why(shop: Shop, tmp_path: Path) -> None:
    run = run_of(shop, tmp_path)

    def bases(run: Any, spec: Break) -> set[str]:
        return {c.basis for c in estimated(run, {"cuts": spec})["cuts"]}

    assert bases(run, CHURNED.model_copy(update={"min_cases": 201})) == {"default_few_cases"}
    assert bases(run, KNEES.model_copy(update={"min_cases": 201})) == {"default_few_cases"}
    early = run_of(shop, tmp_path, as_of=D - timedelta(days=120))
    assert "default_short_history" in bases(early, CHURNED)
    assert not {"curve", "at_horizon", "at_end"} & bases(early, CHURNED)
    before = datetime(2025, 1, 1, tzinfo=UTC)
    assert bases(run_of(shop, tmp_path, known_at=before), CHURNED) == {"default_few_cases"}
    assert estimated(run, {}) == {}


def test_classes_that_were_kept_part_the_silence_cuts(shop: Shop, tmp_path: Path) -> None:
    spec = CHURNED.model_copy(update={"min_cases": 50})
    found = estimated(run_of(shop, tmp_path), {"churned_after": spec}, {"purchase_day_cuts": (1.0, 3.0)})
    assert numbers(found["churned_after"]) == (18.0, 9.0, 9.0, 180.0)


def test_churn_can_be_cut_at_the_knee_of_recovery(shop: Shop, tmp_path: Path) -> None:
    spec = Break(estimate="recovery_knee", default=(180,), keep=True)
    (cut,) = estimated(run_of(shop, tmp_path), {"churned_after": spec})["churned_after"]
    # the last comes back after 20 days
    assert 20 <= cut.number <= 22
    assert (cut.basis, cut.sample) == ("curve", 300)


def test_a_churn_that_needs_a_knee_where_there_is_none_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """The recovery of this shop falls evenly."""
    shop = shop_at(tmp_path / "shop")
    first = D - timedelta(days=100)
    silent = [round(1_000 * 0.2 / (0.2 + 0.8 * n / 99)) for n in range(100)]
    rows = []
    for uid in range(1_000):
        days = [first]
        back = next((n for n, left in enumerate(silent) if uid >= left), None)
        if back is not None:
            days.append(first + timedelta(days=back))
        rows += [act(uid, day, "pay", order_key=10 * uid + i + 1, amount_minor=100) for i, day in enumerate(days)]
    shop.activity(rows)
    shop.put(
        "identity.users", [{"uid": u, "bucket": 0, "user_id": f"m{u}", "person_kind": "member"} for u in range(1_000)]
    )
    spec = Break(estimate="recovery_knee", default=(180,), keep=True)
    with pytest.raises(ConfigurationError) as refused:
        estimated(run_of(shop, tmp_path), {"churned_after": spec})
    said = str(refused.value)
    assert (
        "lifecycle.yaml:" in said and "on 2026-03-31 the curve has none: " in said and "as two lines that meet" in said
    )
    assert "churn_by: gap" in said and "churned_after: {estimate: silence_cut, share: 0.9" in said


def test_a_cut_that_the_horizon_decided_is_a_warning_with_the_horizon_to_try() -> None:
    cuts = [Cut(58, "at_horizon", 900, 0.42, 730), Cut(60, "at_horizon", 200, 0.3, 540), Cut(20, "curve", 300)]
    (said,) = horizon_warnings({"churned_after": cuts}, {"churned_after": CHURNED}, D)
    assert said == (
        "churned_after: the horizon of 365 days decided 58 to 60 days; up to 42% of the returns that can be seen come later. "
        "Try horizon_days: 730 and `huaxiang run --as-of 2026-03-31 --refit churned_after`"
    )
    (said,) = horizon_warnings({"churned_after": [Cut(96, "at_end", 900)]}, {"churned_after": CHURNED}, D)
    assert "the end of the history decided 96 days" in said
    assert not horizon_warnings({"churned_after": cuts[2:]}, {"churned_after": CHURNED}, D)
    (said,) = horizon_warnings({}, {"churned_after": CHURNED}, D)
    assert "fitted by an older version" in said and "--refit churned_after" in said
