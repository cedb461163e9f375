"""What topic promotion says of a day's profile."""

from __future__ import annotations

from pathlib import Path

from jobs.insights import promotion
from tests.value.profile_lake import run_of


def test_every_class_has_its_users_and_the_means_of_who_has_the_term(tmp_path: Path) -> None:
    users = [
        {"promotion_class": "fanatic", "promotion_order_ratio": 2.0, "promotion_score": 0.9},
        {
            "promotion_class": "fanatic",
            "promotion_order_ratio": 1.5,
            "discount_depth_ratio": 1.2,
            "promotion_score": 0.8,
        },
        {"promotion_class": "cold", "promotion_order_ratio": 0.0, "promotion_score": 0.1},
        {"promotion_class": "insufficient"},
    ]
    found = promotion.insight(run_of(tmp_path / "p", users))
    said = {(r["figure"], r["item"]): (r["number"], r["sample_users"]) for r in found.figures}
    assert said["users", "fanatic"] == (2, 4)
    assert said["users", "neutral"] == (0, 4)
    assert said["promotion_order_ratio", "fanatic"] == (1.75, 2)
    assert said["discount_depth_ratio", "fanatic"] == (1.2, 1)
    assert said["discount_depth_ratio", "cold"] == (None, 0)
    assert said["score", "cold"] == (0.1, 1)
    assert len(said) == 5 * 5


def test_a_day_without_a_profile_says_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path / "p", [{}])
    run.lake.path("profile.profile").rename(tmp_path / "gone")
    assert promotion.insight(run).figures == []
