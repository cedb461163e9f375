"""Estimated breaks as a run of the profile asks for them, over activity in a lake."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from features.frozen_numbers import Break
from features.gaps import LifecycleSettings
from jobs.estimates import estimated
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
    assert found["dormant_after"] == (16.0, 8.0, *[90.0] * 6)
    assert found["churned_after"] == (18.0, 9.0, *[180.0] * 6)


def test_too_little_evidence_gives_no_number(shop: Shop, tmp_path: Path) -> None:
    run = run_of(shop, tmp_path)
    assert estimated(run, {"cuts": CHURNED.model_copy(update={"min_cases": 201})}) == {}
    assert estimated(run, {"purchase_day_cuts": KNEES.model_copy(update={"min_cases": 201})}) == {}
    assert estimated(run_of(shop, tmp_path, as_of=D - timedelta(days=120)), {"churned_after": CHURNED}) == {}
    before = datetime(2025, 1, 1, tzinfo=UTC)
    assert estimated(run_of(shop, tmp_path, known_at=before), {"churned_after": CHURNED}) == {}
    assert estimated(run, {}) == {}


def test_classes_that_were_kept_part_the_silence_cuts(shop: Shop, tmp_path: Path) -> None:
    spec = CHURNED.model_copy(update={"min_cases": 50})
    found = estimated(run_of(shop, tmp_path), {"churned_after": spec}, {"purchase_day_cuts": (1.0, 3.0)})
    assert found == {"churned_after": (18.0, 9.0, 9.0, 180.0)}


def test_churn_can_be_cut_at_the_knee_of_recovery(shop: Shop, tmp_path: Path) -> None:
    spec = Break(estimate="recovery_knee", default=(180,), keep=True)
    (number,) = estimated(run_of(shop, tmp_path), {"churned_after": spec})["churned_after"]
    # the last comes back after 20 days
    assert 15 <= number <= 21
