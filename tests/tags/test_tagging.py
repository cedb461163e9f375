"""Tags of users from facts and attributes: every user gets exactly one value of every segmentation, whatever the facts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.breaks import Counted, counted, mean, quantiles
from features.catalogue import Catalogue
from features.frozen_numbers import Break
from features.rfm import EIGHT, segment_of
from features.tagging import (
    Recipe,
    apply_recipe,
    expression_sql,
    kept_tags,
    make_recipe,
    numpy_columns,
    profile_columns,
    values_of,
)
from jobs.profile.tasks import _score
from models.clusters import fit
from schemas.arrow import ARROW
from tests import shipped

AS_OF = dt.date(2026, 3, 31)
CATALOGUE = shipped.catalogue()


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": "1"}) as opened:
        yield opened


def base(users: list[dict[str, Any]], catalogue: Catalogue = CATALOGUE) -> pa.Table:
    """Users with the attributes and facts that are given; the others are absent as the kernel has it."""
    columns: dict[str, pa.Array] = {
        "uid": pa.array(range(len(users)), pa.int64()),
        "user_id": pa.array([f"u{i}" for i in range(len(users))]),
        "is_member": pa.array([bool(u.get("is_member")) for u in users]),
        "as_of": pa.array([AS_OF] * len(users), pa.date32()),
    }
    for name, (kind, _) in catalogue.attributes.items():
        columns[f"attribute.{name}"] = pa.array([u.get(name) for u in users], ARROW[kind])  # type: ignore[index]
    for fact in catalogue.kernel_facts:
        kind = ARROW[fact.value_type]  # type: ignore[index]
        columns[f"fact.{fact.id}"] = pa.array([u.get(fact.id, fact.absent) for u in users], kind)
    for name, tag in catalogue.tags.items():
        if tag.empty == "keep_last":
            columns[f"previous.{name}"] = pa.array([u.get(f"previous.{name}") for u in users], ARROW[tag.type])
    return pa.table(columns)


def numbers_of(con: duckdb.DuckDBPyConnection, table: pa.Table) -> dict[str, tuple[float, ...]]:
    """Breaks as a run freezes them, round by round."""
    found = {name: spec.default or () for name, spec in CATALOGUE.estimates.items()} | CATALOGUE.fixed
    waiting = [name for name in CATALOGUE.breaks if name not in found]
    for number in sorted({CATALOGUE.rounds[("break", name)] for name in waiting}):
        here = [name for name in waiting if CATALOGUE.rounds[("break", name)] == number]
        needed = CATALOGUE.closure([("break", name) for name in here])
        plan = make_recipe(CATALOGUE, AS_OF, found, {}, [n for kind, n in needed if kind == "tag"])
        done = apply_recipe(con, table, plan, _score)
        for name in here:
            b = CATALOGUE.breaks[name]
            assert b.of is not None
            where = None if b.where is None else expression_sql(CATALOGUE, b.where, found)
            of = expression_sql(CATALOGUE, b.of, found)
            values = counted(numpy_columns(values_of(con, done, [of], where))[:, 0])
            found[name] = _frozen(b.spec, values)
    return found


def _frozen(spec: Break, values: Counted) -> tuple[float, ...]:
    if spec.statistic == "mean":
        return mean(values)
    if spec.statistic in ("min", "max"):
        return tuple(float(v) for v in values[0][[0 if spec.statistic == "min" else -1]]) if len(values[0]) else ()
    return quantiles(values, spec.quantiles or (0.5,))


def tags_of(con: duckdb.DuckDBPyConnection, *users: dict[str, Any], numbers: Any = None) -> list[dict[str, Any]]:
    plan = make_recipe(CATALOGUE, AS_OF, {**CATALOGUE.fixed, **(numbers or {})}, {})
    found: list[dict[str, Any]] = apply_recipe(con, base(list(users)), plan, _score, profile_columns(plan)).to_pylist()
    return found


def bought(days_ago: int, days: int = 1, net: int = 10_000, **more: Any) -> dict[str, Any]:
    """Facts of a buyer whose purchase days all lie in every window."""
    last = AS_OF - dt.timedelta(days=days_ago)
    facts = {
        f"purchase_days_{w}": days if days_ago < n else 0 for w, n in (("365d", 365), ("540d", 540), ("730d", 730))
    }
    return {"last_purchase_day": last, "purchase_days_ever": days, "net_amount_365d": net, **facts, **more}


def test_lifecycle_stages_follow_the_definition_first_match_wins(con: duckdb.DuckDBPyConnection) -> None:
    returned = AS_OF - dt.timedelta(days=29)
    cases = [
        ({}, "prospect"),
        (bought(180), "churned"),
        (bought(179), "dormant"),
        (bought(90), "dormant"),
        (bought(10, days=4, returned_after_churn=returned), "recovered"),
        (bought(10, days=4, returned_after_churn=returned - dt.timedelta(days=1)), "mature"),
        (bought(89), "new"),
        (bought(0, days=2), "growing"),
        (bought(0, days=3), "mature"),
        (bought(0, days=7), "mature"),
        (bought(0, days=8), "loyal"),
    ]
    cuts = {name: spec.default or () for name, spec in CATALOGUE.estimates.items()}
    found = tags_of(con, *[facts for facts, _ in cases], numbers=cuts)
    assert [u["lifecycle"] for u in found] == [stage for _, stage in cases]


def test_aipl_gives_the_highest_stage_reached(con: duckdb.DuckDBPyConnection) -> None:
    cases = [
        ({}, "none"),
        ({"touches_15d": 1}, "awareness"),
        ({"touches_15d": 1, "view_days_15d": 1}, "awareness"),
        ({"touches_15d": 2, "view_days_15d": 2}, "interest"),
        ({"brand_searches_15d": 1}, "interest"),
        ({"interests_15d": 1}, "interest"),
        ({"is_member": True, "registered_day": AS_OF - dt.timedelta(days=179)}, "interest"),
        ({"is_member": True, "registered_day": AS_OF - dt.timedelta(days=180)}, "none"),
        ({"followed_day": AS_OF}, "interest"),
        (bought(700), "purchase"),
        (bought(3), "purchase"),
        (bought(3, good_reviews_540d=1), "loyalty"),
        (bought(3, buyers_brought_540d=1), "loyalty"),
        (bought(3, days=2), "loyalty"),
    ]
    found = tags_of(con, *[facts for facts, _ in cases])
    assert [u["aipl_stage"] for u in found] == [stage for _, stage in cases]


def test_pyramid_super_users_and_kinds(con: duckdb.DuckDBPyConnection) -> None:
    found = tags_of(
        con,
        {"is_member": True, "person_kind": "member"},
        bought(1, net=499_999, person_kind="guest"),
        bought(1, days=2, net=500_000),
        bought(1, days=2, buyers_brought_ever=1),
    )
    assert [u["user_pyramid"] for u in found] == ["follower", "first_purchase", "repeat", "spokesperson"]
    assert [u["super_user"] for u in found] == ["ordinary", "ordinary", "super", "ordinary"]
    assert [u["user_kind"] for u in found] == ["member", "guest", "anonymous", "anonymous"]


def test_a_user_without_a_purchase_has_no_scores_and_is_never_lost(con: duckdb.DuckDBPyConnection) -> None:
    (found,) = tags_of(con, bought(400), numbers={"rfm_recency": (1.0, 2.0, 3.0, 4.0)})
    assert (found["rfm_recency"], found["rfm_frequency"], found["rfm_monetary"]) == (None, None, None)
    assert (found["rfm_segment"], found["rfm_value_segment"]) == ("no_purchase", "no_purchase")
    assert found["days_since_last_purchase"] == 400


def test_unknown_texts_are_said_and_unknown_numbers_are_null(con: duckdb.DuckDBPyConnection) -> None:
    (found,) = tags_of(con, {"gender": "x", "city": "  "})
    assert (found["gender"], found["register_city"], found["preferred_brand"]) == ("unknown",) * 3
    assert (found["birth_year"], found["order_value_365d"], found["orders_30d"]) == (None, None, 0)
    assert found["is_follower"] is False


def test_a_kept_value_stays_when_nothing_new_is_known(con: duckdb.DuckDBPyConnection) -> None:
    found = tags_of(con, {"previous.points": 7}, {"previous.points": 7, "points": 9}, {})
    assert [u["points"] for u in found] == [7, 9, None]


def test_frozen_breaks_score_equal_values_alike(con: duckdb.DuckDBPyConnection) -> None:
    users = [bought(d, days=n, net=m) for d, n, m in [(0, 1, 5), (9, 1, 5), (9, 2, 50), (40, 9, 500), (80, 1, 5)]]
    numbers = numbers_of(con, base(users))
    assert numbers["rfm_frequency"] == (1.0, 1.0, 1.4, pytest.approx(3.4))
    found = tags_of(con, *users, numbers=numbers)
    assert [u["rfm_frequency"] for u in found] == [1, 1, 4, 5, 1]
    assert found[1]["rfm_recency"] == found[2]["rfm_recency"]
    for u in found:
        assert u["rfm_segment"] == segment_of(u["rfm_recency"], u["rfm_frequency"], u["rfm_monetary"])


def random_users(seed: int, n: int) -> list[dict[str, Any]]:
    """Users with any facts at all, whether or not they can occur together."""
    rng = np.random.default_rng(seed)
    users = []
    for _ in range(n):
        user: dict[str, Any] = {}
        for fact in CATALOGUE.kernel_facts:
            kind = fact.value_type
            if rng.random() < 0.3:
                continue
            if kind == "date":
                user[fact.id] = AS_OF - dt.timedelta(
                    days=int(rng.choice([0, 1, 29, 30, 89, 90, 179, 180, 364, 365, 900]))
                )
            elif kind == "string":
                user[fact.id] = str(rng.choice(["a", "b"]))
            elif kind == "float64":
                user[fact.id] = float(rng.normal(0, 50))
            else:
                user[fact.id] = int(rng.choice([0, 0, 1, 2, 3, 7, 8, 499_999, 500_000]))
        for name, (kind, _) in CATALOGUE.attributes.items():
            if rng.random() < 0.4:
                continue
            options: dict[str, list[Any]] = {
                "string": ["female", "x", "", "guest", "unknown"],
                "bool": [True, False],
                "date": [AS_OF, AS_OF - dt.timedelta(days=29), dt.date(1970, 1, 1)],
            }
            user[name] = options.get(kind, [0, 1, -5])[int(rng.integers(len(options.get(kind, [0, 1, -5]))))]
        users.append(user)
    return users


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10**6))
def test_every_user_has_exactly_one_declared_value_of_every_segmentation(seed: int) -> None:
    users = random_users(seed, 80)
    with duckdb.connect(config={"threads": "1"}) as con:
        numbers = numbers_of(con, base(users))
        found = tags_of(con, *users, numbers=numbers)
    assert [u["uid"] for u in found] == list(range(len(users)))
    for name, tag in CATALOGUE.tags.items():
        if tag.type == "string":
            assert all(u[name] for u in found), name
        if tag.finite is not None:
            assert {u[name] for u in found} <= set(tag.finite), name
    for u in found:
        segments_agree_with_scores(u, numbers)


def segments_agree_with_scores(u: dict[str, Any], numbers: dict[str, tuple[float, ...]]) -> None:
    scores = (u["rfm_recency"], u["rfm_frequency"], u["rfm_monetary"])
    assert u["rfm_segment"] == ("no_purchase" if None in scores else segment_of(*scores))
    if u["purchase_days_365d"] == 0:
        assert scores == (None, None, None)
        assert u["rfm_value_segment"] == u["quadrant"] == "no_purchase"
    elif u["days_since_last_purchase"] is not None:
        high = (
            u["days_since_last_purchase"] < numbers["rfm_recency_mean"][0],
            u["purchase_days_365d"] > numbers["rfm_frequency_mean"][0],
            u["net_amount_365d"] > numbers["rfm_monetary_mean"][0],
        )
        assert u["rfm_value_segment"] == EIGHT[high]


def test_a_model_labels_those_inside_and_names_the_others(con: duckdb.DuckDBPyConnection) -> None:
    rng = np.random.default_rng(0)
    users = [bought(int(rng.integers(0, 90)), days=1 + i % 9, net=10 ** (2 + i % 5)) for i in range(200)] + [{}, {}]
    model = CATALOGUE.models["spending_clusters"]
    plan = make_recipe(CATALOGUE, AS_OF, {}, {}, ["net_amount_365d", "purchase_days_365d", "days_since_last_purchase"])
    done = apply_recipe(con, base(users), plan, _score)
    inputs = [expression_sql(CATALOGUE, e, {}) for e in model.inputs[:3]]
    values = numpy_columns(values_of(con, done, inputs, expression_sql(CATALOGUE, model.where, {})))
    values = np.column_stack([values, np.zeros(len(values))])
    card = fit(values, model.spec.inputs, version="v", k_range=(3, 4), bootstraps=2).to_json()
    plan = make_recipe(CATALOGUE, AS_OF, {}, {"spending_clusters": card})
    found = apply_recipe(con, base(users), plan, _score, profile_columns(plan)).to_pylist()
    labels = [u["spending_cluster"] for u in found]
    assert set(labels[:200]) == {f"cluster_{i}" for i in range(1, card["k"] + 1)}
    assert labels[200:] == ["no_purchase", "no_purchase"]
    spend = {
        label: np.median([u["net_amount_365d"] for u in found if u["spending_cluster"] == label])
        for label in set(labels)
    }
    ordered = [spend[f"cluster_{i}"] for i in range(1, card["k"] + 1)]
    assert ordered == sorted(ordered)


def with_columns(table: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        prefix, tag = name.split("__")
        table = table.append_column(f"{prefix}.{tag}", pa.array(values, ARROW[CATALOGUE.tags[tag].type]))
    return table


def test_a_held_tag_keeps_its_last_values_and_what_builds_on_it_sees_them(con: duckdb.DuckDBPyConnection) -> None:
    held = ("super_user", "days_since_last_purchase", "spending_cluster")
    table = with_columns(
        base([bought(1, net=900_000), bought(5, net=10)]),
        previous__super_user=["ordinary", None],
        previous__days_since_last_purchase=[400, None],
        previous__spending_cluster=["cluster_2", None],
    )
    plan = make_recipe(CATALOGUE, AS_OF, {}, {}, held=held)
    found = apply_recipe(con, table, plan, _score, profile_columns(plan)).to_pylist()
    assert [u["super_user"] for u in found] == ["ordinary", "ordinary"]
    assert [u["days_since_last_purchase"] for u in found] == [400, None]
    assert [u["spending_cluster"] for u in found] == ["cluster_2", "unknown"]
    assert {n for n, _ in kept_tags(CATALOGUE, held)} >= set(held)
    assert not {n for n, _ in kept_tags(CATALOGUE)} & set(held)


def test_what_somebody_said_wins_and_the_computed_value_stands_beside_it(con: duckdb.DuckDBPyConnection) -> None:
    said = ("gender", "orders_30d", "spending_cluster", "super_user")
    table = with_columns(
        base([{"gender": "female", "orders_30d": 3}, {"gender": "female"}]),
        override__gender=["male", None],
        override__orders_30d=[7, None],
        override__spending_cluster=["cluster_3", None],
        override__super_user=["super", None],
        previous__super_user=[None, "super"],
    )
    plan = make_recipe(CATALOGUE, AS_OF, {}, {}, held=["super_user"], overridden=said)
    assert plan.overridden == tuple(n for n in CATALOGUE.tags if n in said)
    keep = [*profile_columns(plan), *(f"computed.{n}" for n in plan.overridden)]
    for names in (keep, None):
        found = apply_recipe(con, table, plan, _score, names).to_pylist()
        assert [(u["gender"], u["computed.gender"]) for u in found] == [("male", "female"), ("female", "female")]
        assert [(u["orders_30d"], u["computed.orders_30d"]) for u in found] == [(7, 3), (0, 0)]
        assert [(u["spending_cluster"], u["computed.spending_cluster"]) for u in found] == [
            ("cluster_3", "no_purchase"),
            ("no_purchase", "no_purchase"),
        ]
        assert [(u["super_user"], u["computed.super_user"]) for u in found] == [
            ("super", "ordinary"),
            ("super", "super"),
        ]


def test_without_a_model_buyers_are_unknown(con: duckdb.DuckDBPyConnection) -> None:
    assert [u["spending_cluster"] for u in tags_of(con, bought(1), {})] == ["unknown", "no_purchase"]


def test_a_plan_survives_json(con: duckdb.DuckDBPyConnection) -> None:
    import json

    plan = make_recipe(CATALOGUE, AS_OF, {"rfm_recency": (1.0,)}, {}, overridden=["gender", "spending_cluster"])
    assert Recipe.from_json(json.loads(json.dumps(plan.to_json()))) == plan
