"""Every figure knows which tags it is made of, so that one made from a held tag is marked."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from features.aipl import AiplSettings
from jobs.insights import marks, step
from project.held import Marks
from tests import shipped


class Run:
    """What naming the tags of a figure needs of a run."""

    def method(self, name: str, kind: type[Any]) -> Any:
        return kind()


FIGURES = [
    ("aipl", "users", "interest", {"aipl_stage"}),
    ("aipl", "fast", "thriving", {"aipl_stage", "super_user", "interactions_180d"}),
    ("segments", "users_share", "lifecycle/new", {"lifecycle"}),
    ("segments", "amount_share", "lifecycle/new", {"lifecycle", *marks.MONEY}),
    ("value", "super_users", "super", {"super_user"}),
    ("value", "gini", "buyers", {"net_amount_365d"}),
    ("migration", "transition", "rare_low>rare_low", {"quadrant"}),
    ("lifecycle", "recovery", "", set()),
    ("brushing", "flagged_orders", "", set()),
]


@pytest.mark.parametrize(("topic", "figure", "item", "tags"), FIGURES)
def test_a_figure_names_the_tags_that_it_is_made_of(topic: str, figure: str, item: str, tags: set[str]) -> None:
    run: Any = Run()
    found = marks.tags_of(run, {"topic": topic, "figure": figure, "item": item})
    assert set(found) == tags
    assert tags <= set(shipped.catalogue().tags)
    assert AiplSettings().super_scheme == "super_user"


def test_a_figure_made_from_a_held_tag_is_marked_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import date

    catalogue = shipped.catalogue()
    held = Marks({"last_purchase_day": date(2026, 3, 1)}, catalogue.held_by(["last_purchase_day"]))
    monkeypatch.setattr(step, "marks", lambda *_: held)
    run: Any = Run()
    run.lake = run.as_of = None
    run.catalogue = catalogue
    rows = [{"topic": t, "figure": f, "item": i} for t, f, i, _ in FIGURES]
    marked = {(r["topic"], r["figure"]) for r in step._marked(run, rows) if r["held_by"] is not None}
    assert ("segments", "amount_share") in marked and ("segments", "users_share") in marked
    assert not {("brushing", "flagged_orders"), ("lifecycle", "recovery"), ("value", "gini")} & marked


def test_every_topic_is_there() -> None:
    assert all(importlib.import_module(f"jobs.insights.{t}").insight for t in step.TOPICS)
