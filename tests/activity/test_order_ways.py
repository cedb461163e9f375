"""How orders came about, as ``activity`` says it: the precedence, what comes later, and a precedence that changed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from features.order_ways import DIRECT, SIGNS, WaySettings
from schemas.behaviours import DETAILS
from tests.activity.shop import Shop, assert_as_rebuilt, line, order
from tests.silver import at

NAMES = {code: name for name, code in DETAILS.items()}


def ways(shop: Shop, behaviour: str = "pay") -> list[str]:
    """The way of every order, in order of time."""
    return [NAMES[r["detail_code"]] for r in shop.rows(behaviour)]


def test_an_order_has_the_first_way_that_it_shows_and_what_comes_later_is_seen(shop: Shop) -> None:
    shown = [
        {"group_id": "g1", "share_id": "h1", "coupon_id": "c1"},
        {"share_id": "h1", "promotion_id": "p1"},
        {"coupon_id": "c1", "promotion_id": "p1"},
        {"promotion_id": "p1"},
        {},
    ]
    for n, fields in enumerate(shown):
        moment = at(f"2026-03-0{n + 1} 10:00")
        shop.write("orders", order(f"o{n}", ordered_at=moment, paid_at=moment, **fields))
        shop.write("order_lines", line(f"o{n}", ordered_at=moment))
    shop.run()
    assert ways(shop) == ways(shop, "order") == [*SIGNS, DIRECT]

    # a line that arrives later has a promotion, and a later version of an order has no group
    moment = at("2026-03-05 10:00")
    shop.write("order_lines", line("o4", "2", ordered_at=moment, promotion_id="p2"), ingested="2026-04-01 06:00")
    again = {"ordered_at": at("2026-03-01 10:00"), "paid_at": at("2026-03-01 10:00")}
    shop.write("orders", order("o0", **again, source_time=at("2026-03-31 10:00")), ingested="2026-04-01 06:00")
    shop.run("2026-04-01")
    assert ways(shop, "order") == [DIRECT, "by_share", "by_coupon", "by_promotion", "by_promotion"]
    assert_as_rebuilt(shop)

    shop.settings["ways"] = {"precedence": ["by_promotion", "by_coupon"]}
    shop.run("2026-04-01")
    assert ways(shop, "order") == [DIRECT, "by_promotion", "by_promotion", "by_promotion", "by_promotion"]
    assert shop.run("2026-04-01").slices_rebuilt == 0


def test_a_precedence_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValidationError, match="'by_group' stands twice"):
        WaySettings(precedence=("by_group", "by_share", "by_group"))
    with pytest.raises(ValidationError, match="by_luck"):
        WaySettings.model_validate({"precedence": ["by_luck"]})
    assert {*SIGNS, DIRECT} < set(DETAILS)
