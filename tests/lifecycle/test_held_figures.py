"""Every figure knows which tags it is made of, so that one made from a held tag is marked."""

from __future__ import annotations

import importlib
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from features.aipl import StageRates
from jobs.insights import aipl, marks, step
from project.held import Marks
from tests import shipped

MONEY = {"days_since_last_purchase", "purchase_days_365d", "net_amount_365d"}
FIGURES = [
    ("aipl", "users", "interest", {"aipl_stage"}),
    ("aipl", "fast", "thriving", {"aipl_stage", "super_user", "interactions_180d"}),
    ("segments", "users_share", "lifecycle/new", {"lifecycle"}),
    ("segments", "amount_share", "lifecycle/new", {"lifecycle", *MONEY}),
    ("value", "super_users", "super", {"super_user"}),
    ("value", "gini", "buyers", {"net_amount_365d"}),
    ("fission", "distributors", "1", {"distributor_level"}),
    ("fission", "touches", "direct", set()),
    ("fission", "k_factor", "", set()),
    ("fission", "cycle_hours", "", set()),
    ("fission", "seed_users", "", set()),
    ("migration", "transition", "rare_low>rare_low", {"quadrant"}),
    ("lifecycle", "recovery", "", set()),
    ("brushing", "flagged_orders", "", set()),
]


@pytest.mark.parametrize(("topic", "figure", "item", "tags"), FIGURES)
def test_a_figure_names_the_tags_that_it_is_made_of(topic: str, figure: str, item: str, tags: set[str]) -> None:
    found = marks.tags_of_figure(shipped.catalogue(), {"topic": topic, "figure": figure, "item": item})
    assert set(found) == tags
    assert tags <= set(shipped.catalogue().tags)


def test_a_figure_made_from_a_held_tag_is_marked_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = shipped.catalogue()
    held = Marks({"last_purchase_day": date(2026, 3, 1)}, catalogue.held_by(["last_purchase_day"]))
    monkeypatch.setattr(step, "marks", lambda *_: held)
    run: Any = SimpleNamespace(lake=None, as_of=None, catalogue=catalogue)
    rows = [{"topic": t, "figure": f, "item": i} for t, f, i, _ in FIGURES]
    marked = {(r["topic"], r["figure"]) for r in step._marked(run, rows) if r["held_by"] is not None}
    assert ("segments", "amount_share") in marked and ("segments", "users_share") in marked
    assert not {("brushing", "flagged_orders"), ("lifecycle", "recovery"), ("value", "gini")} & marked


def test_a_figure_that_compares_days_is_marked_by_what_was_held_on_each_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, between, today = date(2026, 3, 1), date(2026, 3, 15), date(2026, 3, 31)
    catalogue = shipped.catalogue()
    on = {
        start: Marks({"aipl_stage": date(2026, 2, 27)}, catalogue.held_by(["aipl_stage"])),
        between: Marks({"quadrant": between}, catalogue.held_by(["quadrant"])),
        today: Marks({"super_user": today}, catalogue.held_by(["super_user"])),
    }
    monkeypatch.setattr(step, "marks", lambda lake, catalogue, day: on[day])
    run: Any = SimpleNamespace(lake=None, as_of=today, catalogue=catalogue)
    rates = [StageRates("interest", 10, 5, 6, 700), StageRates("none", 3, 1, 1, 50)]
    rows = [
        *(r | {"topic": "aipl"} for r in aipl._rate_figures(rates, {"interest": 4}, start, today)),
        {"topic": "aipl", "figure": "users", "item": "interest"},
        {"topic": "aipl", "figure": "fast", "item": "advancing", "profile_days": (start, today)},
        {"topic": "migration", "figure": "transition", "item": "a>b", "profile_days": (between, today)},
        {"topic": "migration", "figure": "transition", "item": "b>a", "profile_days": (start, today)},
    ]
    marked = {(r["figure"], r["item"]): r["held_by"] for r in step._marked(run, rows)}
    for figure in ("conversion", "orders_per_buyer", "order_value_minor", "stage_amount_minor"):
        assert marked[figure, "interest"] == marked[figure, "none"] == "aipl_stage"
    assert marked["asset_value_minor", "interest"] == marked["asset_value_minor", "total"] == "aipl_stage"
    assert marked["fast", "advancing"] == "aipl_stage,super_user"
    assert (marked["transition", "a>b"], marked["transition", "b>a"]) == ("quadrant", None)
    # today's users are counted by today's stages, which nothing holds any more
    assert marked["users", "interest"] is None


def test_of_two_days_on_which_a_tag_is_held_the_earlier_since_stands() -> None:
    one = Marks({"a": date(2026, 3, 5)}, {"a": ("a",), "c": ("a",)})
    other = Marks({"a": date(2026, 3, 1), "b": date(2026, 3, 2)}, {"a": ("a",), "b": ("b",), "c": ("b",)})
    for both in (one | other, other | one):
        assert both.since == {"a": date(2026, 3, 1), "b": date(2026, 3, 2)}
        assert both.of(["c"]) == both.since
    assert Marks() | one == one


def test_every_topic_is_there() -> None:
    assert all(importlib.import_module(f"jobs.insights.{t}").insight for t in step.TOPICS)
