"""The comparison that the parity tests rest on must itself see every kind of difference."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.parity.compare import assert_equal, differences

TABLE = pa.table({"uid": [1, 2, 3], "orders": [0, 5, None], "spend": [1.0, 2.5, None]})


def test_equal_tables_in_another_order_are_equal() -> None:
    assert_equal(TABLE, TABLE.take([2, 0, 1]), ["uid"])


def test_a_differing_cell_is_named_with_its_key_column_and_both_values() -> None:
    other = TABLE.set_column(1, "orders", pa.array([0, 6, None]))
    assert differences(TABLE, other, ["uid"], ("sail", "spark")) == ["[uid=2] orders: sail 5, spark 6"]


def test_null_is_not_zero() -> None:
    other = TABLE.set_column(1, "orders", pa.array([0, 5, 0]))
    assert differences(TABLE, other, ["uid"]) == ["[uid=3] orders: left None, right 0"]


def test_a_row_that_one_side_lacks_is_named() -> None:
    assert differences(TABLE, TABLE.slice(1), ["uid"]) == ["[uid=1] 1 rows in left, 0 in right"]


def test_a_row_that_stands_twice_is_seen() -> None:
    twice = pa.concat_tables([TABLE, TABLE.slice(0, 1)])
    assert differences(TABLE, twice, ["uid"]) == ["[uid=1] 1 rows in left, 2 in right"]


def test_another_type_is_a_difference_even_where_values_look_equal() -> None:
    other = TABLE.set_column(1, "orders", TABLE["orders"].cast(pa.int32()))
    assert differences(TABLE, other, ["uid"]) == ["column orders: left int64, right int32"]


def test_the_message_says_how_many_differences_there_are() -> None:
    with pytest.raises(AssertionError, match="3 differences between left and right"):
        assert_equal(TABLE, TABLE.set_column(1, "orders", pa.array([9, 9, 9])), ["uid"])
