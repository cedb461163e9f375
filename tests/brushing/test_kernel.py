"""Facts with `flagged: exclude`, `include` and `only`, on hand-made rows and against the SQL oracle."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest

from features.facts import Fact
from tests.kernel import shop

BEFORE, ON = date(2026, 3, 4), date(2026, 3, 5)
ROWS = [
    shop.row(0, "pay", "2026-03-01 10:00", order_key=1, amount_minor=100),
    shop.row(0, "pay", "2026-03-02 10:00", order_key=2, amount_minor=900, flagged_day="2026-03-05"),
    shop.row(0, "refund_of_order", "2026-03-02 10:00", order_key=2, amount_minor=200, flagged_day="2026-03-05"),
    shop.row(
        0, "pay", "2026-03-03 10:00", order_key=3, amount_minor=50, flagged_day="2026-03-03", void_day="2026-03-04"
    ),
    shop.row(1, "pay", "2026-03-02 11:00", order_key=4, amount_minor=70),
]


def fact(measure: str, flagged: str, view: str = "behaviour") -> Fact:
    agg = "count" if measure == "orders" else "sum"
    return Fact.model_validate(
        {
            "id": f"{measure}_{flagged}_{view}",
            "from": ["pay"],
            "measure": measure,
            "agg": agg,
            "flagged": flagged,
            "view": view,
        }
    )


def found(as_of: date, flagged: str, view: str = "behaviour") -> dict[str, Any]:
    facts = [fact("orders", flagged, view), fact("net_amount", flagged, view)]
    values = shop.values([shop.table(ROWS)], facts, as_of, users=3)
    return {f.measure: [values[f.column][u] for u in range(3)] for f in facts}


@pytest.mark.parametrize(
    ("as_of", "flagged", "orders", "amount"),
    [
        (BEFORE, "exclude", [2, 1, 0], [800, 70, 0]),
        (BEFORE, "include", [2, 1, 0], [800, 70, 0]),
        (BEFORE, "only", [0, 0, 0], [0, 0, 0]),
        (ON, "exclude", [1, 1, 0], [100, 70, 0]),
        (ON, "include", [2, 1, 0], [800, 70, 0]),
        (ON, "only", [1, 0, 0], [700, 0, 0]),
    ],
)
def test_a_held_order_leaves_on_the_day_of_its_flag_with_its_refunds(
    as_of: date, flagged: str, orders: list[int], amount: list[int]
) -> None:
    assert found(as_of, flagged) == {"orders": orders, "net_amount": amount}


def test_a_held_order_that_is_void_is_still_there_in_the_cash_view() -> None:
    assert found(ON, "only", "cash")["orders"] == [2, 0, 0]
    assert found(date(2026, 3, 3), "only", "cash")["orders"] == [1, 0, 0]


def test_files_without_any_flag_have_nothing_to_exclude_and_nothing_alone() -> None:
    rows = [shop.row(0, "pay", "2026-03-01 10:00", order_key=1, amount_minor=100)]
    facts = [fact("orders", f) for f in ("exclude", "include", "only")]
    values = shop.values([shop.table(rows)], facts, ON, users=1)
    assert [values[f.column][0] for f in facts] == [1, 1, 0]


def test_kernel_and_oracle_agree_on_random_flags_and_both_parts_make_up_the_whole() -> None:
    rng = random.Random(9)
    days = [f"2026-03-{d:02d}" for d in range(1, 9)]
    rows = [
        shop.row(
            rng.randrange(3),
            rng.choice(["pay", "refund_of_order", "refund"]),
            f"{rng.choice(days)} 10:00",
            order_key=rng.randrange(1, 40),
            amount_minor=rng.randrange(1, 500),
            flagged_day=rng.choice([None, None, *days]),
            void_day=rng.choice([None, None, *days]),
        )
        for _ in range(300)
    ]
    options = [(f, v) for f in ("exclude", "include", "only") for v in ("behaviour", "cash")]
    facts = [fact(m, f, v) for m in ("orders", "net_amount") for f, v in options]
    con = shop.connect(shop.table(rows))
    for as_of in (BEFORE, ON, date(2026, 3, 9)):
        values = shop.values([shop.table(rows)], facts, as_of, users=3)
        assert shop.differences(con, values, facts, as_of) == []
        for view in ("behaviour", "cash"):
            clean, held, whole = (values[f"net_amount_{f}_{view}"] for f in ("exclude", "only", "include"))
            assert {u: clean[u] + held[u] for u in clean} == whole


def test_facts_are_excluding_by_default_and_keep_their_names() -> None:
    plain = Fact.model_validate({"from": ["pay"], "measure": "orders", "agg": "count", "window": 90})
    said = plain.model_copy(update={"flagged": "exclude"})
    other = Fact.model_validate(
        {"from": ["pay"], "measure": "orders", "agg": "count", "window": 90, "flagged": "include"}
    )
    assert plain.key == said.key
    assert other.canonical_id != plain.canonical_id
