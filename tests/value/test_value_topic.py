"""What topic value says of a day's profile."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.insights import value
from jobs.insights.step import Insight, Row
from tests.offers.lake_shop import Line
from tests.value.profile_lake import LAST, run_of

USERS = [
    {"net_amount_365d": 100, "super_user": "ordinary", "user_pyramid": "first_purchase"},
    {"net_amount_365d": 300, "super_user": "ordinary", "user_pyramid": "repeat"},
    {"net_amount_365d": 500_000, "super_user": "super", "user_pyramid": "repeat"},
    {"net_amount_365d": 0, "super_user": "ordinary", "user_pyramid": "follower"},
    {"net_amount_365d": None, "super_user": "ordinary", "user_pyramid": "follower", "is_member": False},
]


def numbers(rows: list[Row], figure: str) -> dict[str, Any]:
    return {str(r["item"]): r["number"] for r in rows if r["figure"] == figure}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Insight:
    bought = [Line(u, LAST - timedelta(days=u % 3), u * 10 + s, s) for u in range(5) for s in (1, 2)]
    run = run_of(tmp_path_factory.mktemp("v") / "p", USERS, bought, cross_purchase={"min_joint_baskets": 5})
    return value.insight(run)


def test_gini_is_said_of_buyers_members_and_everybody(found: Insight) -> None:
    gini = numbers(found.figures, "gini")
    total = 500_400
    assert gini["buyers"] == pytest.approx((-2 * 100 + 0 * 300 + 2 * 500_000) / (3 * total))
    assert gini["members"] == pytest.approx((-1 * 100 + 1 * 300 + 3 * 500_000) / (4 * total))
    assert gini["everybody"] == pytest.approx((2 * 300 + 4 * 500_000) / (5 * total))
    samples = {r["item"]: r["sample_users"] for r in found.figures if r["figure"] == "gini"}
    assert samples == {"buyers": 3, "members": 4, "everybody": 5}


def test_top_shares_have_the_names_of_the_configured_shares(found: Insight) -> None:
    top = numbers(found.figures, "top_share")
    assert set(top) == {
        f"{base}/{share}" for base in ("buyers", "members", "everybody") for share in ("1%", "10%", "20%")
    }
    assert top["everybody/20%"] == pytest.approx(500_000 / 500_400)


def test_the_lorenz_curve_of_every_base_has_101_points(found: Insight) -> None:
    for base in ("buyers", "members", "everybody"):
        points = [(c["x"], c["y"]) for c in found.curves if c["series"] == base]
        assert (len(points), points[0], points[-1]) == (101, (0, 0), (1, 1))


def test_every_level_is_counted_also_the_empty_one(found: Insight) -> None:
    assert numbers(found.figures, "pyramid_users") == {
        "spokesperson": 0,
        "repeat": 2,
        "first_purchase": 1,
        "follower": 2,
    }
    assert numbers(found.figures, "super_users") == {"super": 1, "ordinary": 4}


def test_categories_bought_together_are_the_rules_of_the_day(found: Insight) -> None:
    assert {(r["left_item"], r["right_item"], r["joint_baskets"], r["lift"]) for r in found.associations} == {
        ("c1", "c2", 5, 1.0),
        ("c2", "c1", 5, 1.0),
    }


def test_a_day_on_which_nobody_spent_has_no_curve(tmp_path: Path) -> None:
    found = value.insight(run_of(tmp_path / "p", [{"net_amount_365d": 0}]))
    assert found.curves == []
    assert numbers(found.figures, "gini") == {}
