"""What may be declared as a fact, and what is refused with what would do."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from features.facts import Fact, needs
from schemas.behaviours import BEHAVIOURS
from schemas.contracts import contract
from schemas.measures import KEY_COLUMNS, MEASURES, TEXT_KEYS, Where


def fact(**declared: Any) -> Fact:
    return Fact.model_validate({"from": ["pay"], "measure": "orders", "agg": "count", **declared})


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"agg": "sum"}, "measure 'orders' has no agg 'sum'; it has count"),
        ({"measure": "amount", "agg": "count"}, "measure 'amount' has no agg 'count'; it has sum, min, max, mean"),
        ({"measure": "order"}, "unknown measure 'order'; did you mean 'orders'?"),
        ({"from": ["veiw"]}, "unknown behaviour 'veiw'; did you mean 'view'?"),
        ({"from": []}, "at least 1 item"),
        ({"window": 0}, "greater than or equal to 1"),
        ({"measure": "visits"}, "visits are made of browse behaviours; pay is none of"),
        ({"measure": "net_amount", "agg": "sum", "from": ["view"]}, "'net_amount' is defined of pay alone"),
        ({"measure": "day", "agg": "returned"}, "agg 'returned' needs min_gap"),
        ({"min_gap": 7}, "'min_gap' belongs to measure 'day', agg returned"),
        ({"half_life_days": 7}, "'half_life_days' belongs to agg preferred; agg 'count' does not read it"),
        ({"min_share": 0.2}, "'min_share' belongs to agg mode"),
        ({"measure": "brand", "agg": "preferred", "weights": {"view": 2}}, "weights name 'view', which is not in from"),
        ({"measure": "brand", "agg": "preferred", "weights": {"pay": -1}}, "weights are from 0 to 1000"),
        ({"where": {"brand": []}}, "matches nobody"),
        ({"where": {"brand": [""]}}, "matches nobody"),
        ({"where": {"detail": ["good"]}}, "unknown detail 'good'"),
        ({"where": {"colour": ["red"]}}, "Extra inputs are not permitted"),
        ({"windows": 7}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_do(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        fact(**declared)


def test_every_measure_reads_columns_of_activity() -> None:
    known = set(contract("activity.activity").column_names)
    for measure, spec in MEASURES.items():
        assert set(spec.columns) <= known, measure
        assert spec.aggs and spec.meaning


def test_every_condition_can_be_read() -> None:
    known = set(contract("activity.activity").column_names)
    everything = {
        "brand": "a",
        "category": "a",
        "category_parent": "a",
        "in_category": "a",
        "sku": "a",
        "seller": "a",
        "channel": "a",
        "on_promotion": True,
        "detail": "positive",
        "peer": True,
    }
    assert set(everything) == set(Where.model_fields)
    found = needs([fact(where=everything)])
    assert set(found.columns) <= known
    assert found.products
    assert set(found.code_kinds) == set(TEXT_KEYS)


def test_known_day_is_read_only_where_it_is_asked_what_was_known() -> None:
    assert "known_day" not in needs([fact()]).columns
    assert "known_day" in needs([fact()], known_at=True).columns


def test_equal_facts_have_one_canonical_id_whatever_they_are_called_and_however_written() -> None:
    one = fact(id="a", where={"brand": ["B", "A"]}, **{"from": ["view", "cart"]})
    other = fact(id="b", where={"brand": ["A", "B", "A"]}, view="behaviour", **{"from": ["cart", "view", "view"]})
    assert one.key == other.key
    assert one.canonical_id == other.canonical_id
    assert (one.column, other.column) == ("a", "b")
    assert fact().column == fact().canonical_id
    assert re.fullmatch(r"[a-z0-9_]+", one.canonical_id)


@pytest.mark.parametrize(
    "changed",
    [
        {"window": 7},
        {"view": "cash"},
        {"from": ["order"]},
        {"where": {"brand": ["A"]}},
        {"where": {"on_promotion": False}},
        {"measure": "rows"},
    ],
)
def test_facts_that_differ_in_content_differ_in_id(changed: dict[str, Any]) -> None:
    assert fact(**changed).canonical_id != fact().canonical_id


def test_a_default_written_out_is_the_same_fact() -> None:
    declared = {"measure": "brand", "agg": "preferred", "from": ["view", "pay"]}
    assert fact(**declared).key == fact(**declared, half_life_days=30, weights={"pay": 5}, min_events=1).key
    assert fact(**declared).key != fact(**declared, weights={"pay": 4}).key


def test_a_fact_survives_json() -> None:
    declared = fact(id="x", window=7, where={"brand": ["资生堂"], "peer": False})
    again = Fact.model_validate_json(declared.model_dump_json(by_alias=True, exclude_none=True))
    assert again == declared


def test_counts_are_whole_numbers_and_zero_and_the_rest_is_null_without_rows() -> None:
    for measure, spec in MEASURES.items():
        for agg in spec.aggs:
            further = {"returned": {"min_gap": 7}, "reached": {"counts": (1, 2)}}.get(agg, {})
            declared = fact(measure=measure, agg=agg, **{"from": ["view"]} if measure == "visits" else {}, **further)
            counted = agg in ("count", "distinct", "sum")
            assert declared.absent == (0 if counted else None)
            if counted:
                assert declared.arrow_type == pa.int64()
            if measure in KEY_COLUMNS and agg in ("first", "last", "mode", "preferred"):
                assert declared.arrow_type == (pa.int64() if measure == "peer" else pa.string())
            if measure == "day":
                assert declared.arrow_type == pa.date32()


def test_net_amount_reads_the_refunds_of_its_view() -> None:
    declared = {"measure": "net_amount", "agg": "sum"}
    assert fact(**declared).reads == ("pay", "refund_of_order")
    assert fact(**declared, view="cash").reads == ("pay", "refund")
    assert fact().reads == ("pay",)
    assert set(fact(**declared).reads) <= set(BEHAVIOURS)
