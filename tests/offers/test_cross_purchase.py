"""Categories bought together: hand-made baskets, then the same by SQL."""

from __future__ import annotations

import random

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features import cross_purchase
from features.cross_purchase import Rules, baskets, most_bought, next_items, pair_counts, rules


def of_users(bought: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(u, c) for u, items in enumerate(bought) for c in sorted(items)]
    return np.array([u for u, _ in pairs], np.int64), np.array([c for _, c in pairs], np.int64)


def rules_of(bought: list[set[int]], items: int, least: int = 1) -> Rules:
    uid, item = of_users(bought)
    return rules(pair_counts(uid, item, items), np.bincount(item, minlength=items), len(bought), least, 1000)


def test_a_basket_has_a_category_once_and_no_unknown_one() -> None:
    uid, category = baskets(np.array([7, 7, 3, 7, 3]), np.array([2, 2, 1, 0, 2]))
    assert list(zip(uid.tolist(), category.tolist(), strict=True)) == [(3, 1), (3, 2), (7, 2)]


def test_support_confidence_and_lift_by_hand() -> None:
    found = rules_of([{0, 1}, {0, 1}, {0}, {1}, {2}, {2}, {2}, {2}], 3)
    assert (found.left.tolist(), found.right.tolist()) == ([0, 1], [1, 0])
    assert found.support.tolist() == [0.25, 0.25]
    assert found.confidence == pytest.approx([2 / 3, 2 / 3])
    assert found.lift == pytest.approx([(2 / 8) / (3 / 8 * 3 / 8)] * 2)


def test_pairs_with_too_few_joint_baskets_are_no_rule() -> None:
    assert len(rules_of([{0, 1}] * 29, 2, least=30)) == 0
    assert len(rules_of([{0, 1}] * 30, 2, least=30)) == 2


def test_of_more_rules_than_are_kept_those_with_most_joint_baskets_stay() -> None:
    uid, item = of_users([{0, 1}] * 3 + [{1, 2}] * 5 + [{0, 2}] * 4)
    found = rules(pair_counts(uid, item, 3), np.bincount(item), 12, 1, 2)
    assert sorted(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(1, 2), (2, 1)]


def test_only_the_categories_with_the_most_baskets_are_paired() -> None:
    assert most_bought(np.array([0, 5, 9, 5, 0, 1]), 2).tolist() == [1, 2]
    assert most_bought(np.array([0, 5, 0]), 2).tolist() == [1]


def test_the_next_category_is_the_strongest_rule_that_is_not_completed() -> None:
    bought = [{0, 1}] * 6 + [{0, 2}] * 3 + [{3}] * 9
    found = rules_of(bought, 4)
    strong = found.where(found.lift > 1)
    uid, item = of_users([{0}, {0, 1}, {1}, {3}, {0, 1, 2}])
    users, right = next_items(uid, item, strong)
    # 0 -> 1 is stronger than 0 -> 2; who has 0 and 1 is told 2; 3 stands alone; who has all needs nothing
    assert dict(zip(users.tolist(), right.tolist(), strict=True)) == {0: 1, 1: 2, 2: 0}


def random_baskets(seed: int, users: int = 300, items: int = 25) -> list[set[int]]:
    draw = random.Random(seed)
    return [{min(int(draw.expovariate(0.2)), items - 1) for _ in range(draw.randint(1, 12))} for _ in range(users)]


def test_counts_and_recommendations_are_those_of_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the pairs of few users fill a step."""
    monkeypatch.setattr(cross_purchase, "PAIRS_AT_ONCE", 100)
    bought = random_baskets(3)
    uid, item = of_users(bought)
    found = rules_of(bought, 25, least=5)
    con = duckdb.connect()
    con.register("bought", pa.table({"uid": uid, "item": item}))
    con.execute(
        """
        create table rules as
        with n as (select item, count(*) as n from bought group by 1),
        joint as (select a.item as l, b.item as r, count(*) as j from bought a join bought b using (uid)
                  where a.item <> b.item group by all having j >= 5),
        everybody as (select count(distinct uid) as baskets from bought)
        select l, r, nl.n as ln, nr.n as rn, j, j / nl.n as confidence, j / nl.n * baskets / nr.n as lift
        from joint join n nl on nl.item = l join n nr on nr.item = r cross join everybody
        """
    )
    columns = (found.left, found.right, found.left_baskets, found.right_baskets, found.joint_baskets)
    mine = sorted(zip(*(c.tolist() for c in columns), strict=True))
    assert mine == con.execute("select l, r, ln, rn, j from rules order by all").fetchall()
    users, right = next_items(uid, item, found.where(found.lift > 1))
    yours = con.execute(
        """
        select uid, r from rules join bought on item = l anti join bought b on b.uid = bought.uid and b.item = r
        where lift > 1 qualify row_number() over (partition by bought.uid order by confidence * lift desc, l, r) = 1
        order by 1
        """
    ).fetchall()
    assert list(zip(users.tolist(), right.tolist(), strict=True)) == yours
    assert len(yours) > 100
