"""Promotion sensitivity: hand-made orders, then the same by SQL."""

from __future__ import annotations

import math
import random
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features.promotion import Parts, Terms, cells, cells_together, order_parts, terms

COLUMNS = ("uid", "day", "order", "category", "on_promotion", "list_minor", "paid_minor")
Line = tuple[int, int, int, int, bool, int, int]


def parts_of(lines: list[Line]) -> Parts:
    columns = [np.array(column) for column in zip(*lines, strict=True)] or [np.empty(0, np.int64)] * 7
    return order_parts(*columns)


def of_user(lines: list[Line], uid: int) -> dict[str, Any]:
    parts = parts_of(lines)
    found = terms(parts, cells(parts))
    at = found.uid.tolist().index(uid)
    return {name: getattr(found, name)[at].item() for name in ("orders", "order_ratio", "depth_ratio", "amount_ratio")}


def line(uid: int, *, day: int = 1, order: int | None = None, category: int = 1, off: int = 0) -> Line:
    """One line of list price 100 with so much off; on promotion where anything is."""
    return (uid, day, order if order is not None else uid * 1000 + day, category, off > 0, 100, 100 - off)


def test_a_sale_festival_makes_nobody_sensitive() -> None:
    lines = [line(uid, day=11, off=30) for uid in range(5)]
    for uid in range(5):
        assert of_user(lines, uid) == {"orders": 1, "order_ratio": 1.0, "depth_ratio": 1.0, "amount_ratio": 1.0}


def test_who_buys_at_the_festival_alone_is_no_keener_than_who_buys_in_a_quiet_week() -> None:
    """Offers are taken by four of five at the festival and by one of five otherwise; both behave as the others do."""
    festival = [line(uid, day=11, off=30 if uid % 5 else 0) for uid in range(100, 200)]
    quiet = [line(uid, day=20, off=0 if uid % 5 else 30) for uid in range(200, 300)]
    lines = [*festival, *quiet]
    lines += [line(1, day=11, order=o, off=30 if o % 5 else 0) for o in range(10)]
    lines += [line(2, day=20, order=o, off=0 if o % 5 else 30) for o in range(10, 20)]
    assert of_user(lines, 1)["order_ratio"] == of_user(lines, 2)["order_ratio"] == 1.0
    assert of_user(lines, 1)["amount_ratio"] == of_user(lines, 2)["amount_ratio"] == 1.0


def test_who_takes_the_offer_that_half_of_the_others_take_is_twice_as_everybody() -> None:
    lines = [line(1, off=20), line(2, off=20), line(3), line(4, off=20), line(5)]
    assert of_user(lines, 1)["order_ratio"] == 2.0
    assert of_user(lines, 1)["amount_ratio"] == 2.0
    assert of_user(lines, 3)["order_ratio"] == 0.0


def test_the_own_orders_are_left_out_of_what_is_compared_with() -> None:
    """Of the others of the cell nobody had an offer, so nothing is known to have been on offer."""
    found = of_user([line(1, off=50, order=1), line(1, off=50, order=2), line(2)], 1)
    assert found["orders"] == 2
    assert all(math.isnan(found[name]) for name in ("order_ratio", "depth_ratio", "amount_ratio"))


def test_an_order_that_nobody_else_can_be_compared_with_says_nothing() -> None:
    lines = [line(1, day=1, off=10), line(2, day=1, off=10), line(1, day=2, off=90), line(1, day=1, category=2, off=90)]
    assert of_user(lines, 1) == {"orders": 1, "order_ratio": 1.0, "depth_ratio": 1.0, "amount_ratio": 1.0}


def test_depth_looks_at_discounted_orders_alone() -> None:
    lines = [line(1, off=40), line(1, order=7), line(2, off=10), line(3, off=30), line(4)]
    assert of_user(lines, 1)["depth_ratio"] == 2.0  # .40 / mean(.10, .30)
    assert math.isnan(of_user(lines, 4)["depth_ratio"])
    assert of_user(lines, 4)["order_ratio"] == 0.0


def test_an_order_counts_by_its_lines_within_each_category() -> None:
    lines = [
        (1, 1, 9, 1, True, 100, 80),
        (1, 1, 9, 1, False, 100, 100),
        (1, 1, 9, 2, False, 300, 300),
        line(2, category=1, off=10),
        line(3, category=2, off=10),
    ]
    parts = parts_of(lines)
    assert parts.category.tolist() == [1, 2, 1, 2]
    assert parts.promoted.tolist() == [1, 0, 1, 1]
    assert parts.list_minor.tolist() == [200, 300, 100, 100]
    found = of_user(lines, 1)
    assert found["orders"] == 1
    assert found["order_ratio"] == 0.5  # 1 part of 2, the others always
    assert found["depth_ratio"] == 1.0  # 20 of 200 against 10 of 100
    assert found["amount_ratio"] == 0.4  # 20 against 10 % of 500


def test_without_a_list_price_no_discount_is_known() -> None:
    """The activity has the paid amount as list amount; one above the list price is no discount below 0 either."""
    parts = parts_of([(1, 1, 1, 1, False, 100, 100), (2, 1, 2, 1, False, 100, 130)])
    assert parts.discount_minor.tolist() == [0, 0]
    assert parts.depth.tolist() == [0, 0]


def test_nobody_has_no_terms() -> None:
    parts = parts_of([])
    assert len(terms(parts, cells(parts)).uid) == 0


def random_lines(n: int, seed: int) -> list[Line]:
    draw = random.Random(seed)
    lines = []
    for order in range(n):
        uid, day = draw.randint(0, 40), draw.randint(1, 6)
        for _ in range(draw.randint(1, 4)):
            price = draw.choice([99, 1000, 25_000])
            off = draw.choice([0, 0, price // 10, price // 3])
            lines.append((uid, day, order, draw.randint(0, 5), off > 0 or draw.random() < 0.1, price, price - off))
    return lines


def as_rows(found: Terms) -> list[tuple[Any, ...]]:
    columns = (found.uid, found.orders, found.order_ratio, found.depth_ratio, found.amount_ratio)
    return [
        tuple(None if math.isnan(v) else v for v in row) for row in zip(*(c.tolist() for c in columns), strict=True)
    ]


BY_SQL = """
with parts as (
    select uid, day, "order", category, max(on_promotion::int) as promoted, sum(list_minor) as whole,
           sum(greatest(list_minor - paid_minor, 0)) as off
    from lines group by all),
shown as (
    select *, count(*) over cell - count(*) over own as n, sum(promoted) over cell - sum(promoted) over own as p,
           count(*) filter (off > 0) over cell - count(*) filter (off > 0) over own as discounted,
           sum(off / whole) over cell - sum(off / whole) over own as depth,
           sum(whole) over cell - sum(whole) over own as others_whole,
           sum(off) over cell - sum(off) over own as others_off
    from parts window cell as (partition by category, day), own as (partition by category, day, uid))
select uid, count(distinct "order") filter (n > 0) as orders,
       sum(promoted) filter (n > 0) / nullif(sum(p / n) filter (n > 0), 0),
       sum(off / whole) filter (off > 0 and discounted > 0)
           / nullif(sum(depth / discounted) filter (off > 0 and discounted > 0), 0),
       sum(off) filter (others_whole > 0) / nullif(sum(whole * others_off / others_whole) filter (others_whole > 0), 0)
from shown group by uid order by uid
"""


@pytest.mark.parametrize("seed", range(3))
def test_the_terms_are_those_of_sql(seed: int) -> None:
    lines = random_lines(400, seed)
    parts = parts_of(lines)
    mine = as_rows(terms(parts, cells(parts)))
    con = duckdb.connect()
    con.register("lines", pa.table(dict(zip(COLUMNS, map(list, zip(*lines, strict=True)), strict=True))))
    yours = con.execute(BY_SQL).fetchall()
    assert [row[:2] for row in mine] == [row[:2] for row in yours]
    for a, b in zip(mine, yours, strict=True):
        assert a[2:] == pytest.approx(b[2:], rel=1e-4, abs=1e-5)


def test_neither_the_order_of_rows_nor_the_grouping_of_users_matters() -> None:
    lines = random_lines(300, 5)
    whole = parts_of(lines)
    expected = as_rows(terms(whole, cells(whole)))
    shuffled = lines.copy()
    random.Random(1).shuffle(shuffled)
    groups = [parts_of([x for x in shuffled if x[0] % 3 == g]) for g in range(3)]
    everybody = cells_together([cells(g) for g in reversed(groups)])
    assert sorted(row for g in groups for row in as_rows(terms(g, everybody))) == expected
