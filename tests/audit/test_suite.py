"""A contract as expectations."""

from __future__ import annotations

from datetime import date

import pytest

from schemas.contracts import Check, Column, Contract, contract, contracts, fields
from schemas.suite import Expectation, History, suite, unique_key


def of_type(expectations: list[Expectation], kind: str) -> list[Expectation]:
    return [e for e in expectations if e.type == kind]


@pytest.mark.parametrize("table", sorted(contracts()))
def test_every_table_has_a_suite_that_judges_columns_of_its_contract_only(table: str) -> None:
    c = contract(table)
    for e in suite(c, days=[date(2026, 3, 1)], before=History(5000)):
        assert e.says
        assert set(e.columns) <= set(c.column_names)


def test_every_required_column_must_be_present() -> None:
    c = contract("silver.order_lines")
    judged = {e.kwargs["column"] for e in of_type(suite(c), "expect_column_values_to_not_be_null")}
    assert judged == {col.name for col in c.columns if col.required}


def test_silver_keeps_versions_so_its_key_is_unique_with_the_content_only() -> None:
    assert unique_key(contract("silver.order_lines")) == ("order_id", "line_id", "row_hash")
    assert unique_key(contract("profile.profile")) == ("as_of", "uid")


def test_a_table_without_a_key_is_not_judged_for_repeated_keys() -> None:
    assert not of_type(suite(contract("activity.activity")), "unexpected_rows_expectation")


def test_a_warning_stays_a_warning() -> None:
    (gender,) = [e for e in suite(contract("silver.members")) if e.columns == ("gender",)]
    assert gender.level == "warn"
    assert gender.kwargs["value_set"] == ["female", "male", "unknown"]


def test_bounds_have_the_type_of_their_column() -> None:
    (birth,) = [e for e in suite(contract("silver.members")) if e.columns == ("birth_date",)]
    assert birth.kwargs == {"column": "birth_date", "min_value": date(1900, 1, 1)}
    (quantity,) = of_type(suite(contract("silver.order_lines")), "expect_column_values_to_be_between")[:1]
    assert isinstance(quantity.kwargs["min_value"], int)


def test_only_a_table_cut_by_day_is_held_to_the_day() -> None:
    day = date(2026, 3, 1)
    for table, cut in (("profile.profile", True), ("profile.tag_changes", True), ("profile.models", False)):
        assert cut == any(e.kwargs.get("value_set") == [day] for e in suite(contract(table), days=[day])), table


def test_rows_are_held_against_those_before_where_there_are_enough_to_say_anything() -> None:
    c = contract("profile.profile")
    (counted,) = of_type(suite(c, before=History(4_000, date(2026, 3, 1))), "expect_table_row_count_to_be_between")
    assert (counted.kwargs, counted.level) == ({"min_value": 2_000, "max_value": 8_000}, "warn")
    assert counted.says == "there are at least 2,000 and at most 8,000 rows, as there were 4,000 on 2026-03-01"
    assert not of_type(suite(c, before=History(999)), "expect_table_row_count_to_be_between")
    assert not of_type(suite(contract("profile.breaks"), before=History(4_000)), "expect_table_row_count_to_be_between")


def test_a_table_open_to_the_catalogue_may_have_further_columns() -> None:
    (columns,) = of_type(suite(contract("profile.profile")), "expect_table_columns_to_match_set")
    assert columns.kwargs["exact_match"] is False


def test_an_upper_and_a_lower_bound_are_one_expectation() -> None:
    quantity = Column(field=fields()["quantity"], min=1, max=99, level="warn")
    made = suite(Contract(layer="profile", table="t", description={}, grain="", columns=(quantity,)))
    (between,) = of_type(made, "expect_column_values_to_be_between")
    assert between.kwargs == {"column": "quantity", "min_value": 1, "max_value": 99}
    assert between.says == "quantity is at least 1 and at most 99"


def test_a_sum_is_checked_row_by_row() -> None:
    check = Check(name="nothing_lost", level="fail", left="rows_read", equals=("rows_silver", "rows_duplicate"))
    columns = tuple(Column(field=fields()[n]) for n in ("rows_read", "rows_silver", "rows_duplicate"))
    made = suite(Contract(layer="ops", table="t", description={}, grain="", columns=columns, checks=(check,)))
    (rows,) = of_type(made, "unexpected_rows_expectation")
    assert "WHERE rows_read <> rows_silver + rows_duplicate" in rows.kwargs["unexpected_rows_query"]
