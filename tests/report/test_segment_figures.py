"""Topic segments against a second way of computing: plain Python over the rows that were put in."""

from __future__ import annotations

from statistics import mean
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.insights.segments import insight
from jobs.insights.step import TOPICS, InsightRun
from tests.report.made_shop import SCHEMES, D, MadeShop

Found = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def run(made: MadeShop) -> InsightRun:
    return InsightRun(made.project, cast("Any", SimpleNamespace()), D, "test")


@pytest.fixture(scope="module")
def found(run: InsightRun) -> Found:
    return {(str(r["figure"]), str(r["item"])): dict(r) for r in insight(run).figures}


def test_the_topic_runs_with_the_others() -> None:
    assert "segments" in TOPICS


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_figure_equals_plain_python(found: Found, made: MadeShop, scheme: str) -> None:
    whole = sum(p["net_amount_365d"] for p in made.people)
    for value in SCHEMES[scheme][0]:
        inside = [p for p in made.people if p[scheme] == value]
        buyers = [p for p in inside if p["purchase_days_365d"] > 0]
        item = f"{scheme}/{value}"
        assert found[("users", item)]["number"] == len(inside)
        assert found[("users_share", item)]["number"] == pytest.approx(len(inside) / len(made.people))
        amount = sum(p["net_amount_365d"] for p in inside)
        assert found[("net_amount_minor", item)]["number"] == amount
        assert found[("amount_share", item)]["number"] == pytest.approx(amount / whole)
        for figure, column in (
            ("mean_recency_days", "days_since_last_purchase"),
            ("mean_frequency_days", "purchase_days_365d"),
            ("mean_monetary_minor", "net_amount_365d"),
        ):
            row = found[(figure, item)]
            assert row["number"] == pytest.approx(mean(p[column] for p in buyers))
            assert row["sample_users"] == len(buyers)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_users_and_shares_of_a_segmentation_add_up(found: Found, made: MadeShop, scheme: str) -> None:
    def total(figure: str) -> float:
        return sum(r["number"] for (f, item), r in found.items() if f == figure and item.startswith(f"{scheme}/"))

    assert total("users") == len(made.people)
    assert total("users_share") == pytest.approx(1)
    assert total("amount_share") == pytest.approx(1)


def test_a_day_without_a_profile_gives_nothing(run: InsightRun) -> None:
    other = InsightRun(run.project, run.engine, D.replace(day=1), "test")
    assert insight(other).figures == []
