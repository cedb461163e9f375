"""An audience that is empty, or far from the size that it had, does not leave unsaid."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.size_alerts import SizeLimits, size_alerts
from jobs.audiences.export import export
from project.audience_tables import deliveries
from schemas.errors import AlertedError
from tests.audiences.lake_shop import D, Shop, people
from tests.audiences.test_audience_verbs import as_json, typed

LIMITS = SizeLimits()


def kinds(*sizes: int, **limits: Any) -> list[str]:
    return [a.kind for a in size_alerts(sizes, SizeLimits(**limits))]


def test_an_empty_audience_is_one_whatever_the_limits() -> None:
    assert kinds(0) == kinds(5000, 0) == kinds(0, shrunk_to=None, grown_to=None, times_usual=None) == ["empty"]


def test_a_size_is_held_against_the_build_before() -> None:
    assert kinds(1000, 499) == ["shrunk"] and kinds(1000, 500) == []
    assert kinds(1000, 3001) == ["grown"] and kinds(1000, 3000) == []
    assert kinds(7) == kinds(7, 90) == kinds(99, 1) == []
    assert kinds(99, 100, grown_to=1.001) == ["grown"]


def test_a_move_is_held_against_the_moves_of_this_audience() -> None:
    steady, lively = [1000, 1010] * 6, [1000, 1300] * 6
    assert kinds(*steady, 1600) == ["unusual"] and kinds(*steady, 1400) == []
    assert kinds(*lively, 1600) == []
    assert kinds(*steady[:8], 1600) == []


@given(sizes=st.lists(st.integers(1, 10**9), min_size=1, max_size=30), factor=st.integers(1, 1000))
def test_a_shop_that_is_larger_by_any_factor_has_the_same_alerts(sizes: list[int], factor: int) -> None:
    large = SizeLimits(least_users=1)
    few, many = (
        [a.kind for a in size_alerts([n * f for n in sizes], large) if a.kind != "unusual"] for f in (1, factor)
    )
    assert few == many


def test_nothing_is_delivered_and_the_message_says_why(shop: Shop) -> None:
    shop.release(
        D + timedelta(days=1), people(**{f"u{u}": {"register_city": "上海"} for u in (1, 2, 3, 5, 6, 100_001)})
    )
    with pytest.raises(AlertedError, match=r"'beijing' was not delivered: nobody is in it\. --force"):
        export(shop.project, "beijing", requested_by="li")
    assert deliveries(shop.lake) == []
    forced = export(shop.project, "beijing", requested_by="li", force=True)
    assert json.loads(Path(forced.manifest).read_text("utf-8"))["notes"][0] == "delivered by force: nobody is in it"


def test_one_that_is_stopped_stops_no_other(shop: Shop) -> None:
    shop.define("nobody", (shop.folder / "audiences" / "beijing.yaml").read_text("utf-8").replace("北京}", "南极}"))
    delivered, stopped = as_json(shop, "audience", "export", code=5)
    assert delivered["audience"] == "beijing" and delivered["rows"] == 3
    assert (stopped["audience"], stopped["exit_code"]) == ("nobody", 5) and "nobody is in it" in stopped["stopped"]
    assert "was not delivered: nobody is in it" in typed(shop, "audience", "export", code=5)
    assert as_json(shop, "audience", "export", "nobody", code=5)["error"] == "AlertedError"


def test_limits_are_the_shops_own(shop: Shop) -> None:
    export(shop.project, "beijing", requested_by="li")
    shop.release(D + timedelta(days=1), people(u1={"register_city": "上海"}, u2={"register_city": "上海"}))
    path = shop.folder / "huaxiang.yaml"
    path.write_text(path.read_text("utf-8") + "audience_sizes: {least_users: 1}\n", encoding="utf-8")
    with pytest.raises(AlertedError, match="1 users after 3, less than 50% of them"):
        export(shop.project, "beijing", requested_by="li")
