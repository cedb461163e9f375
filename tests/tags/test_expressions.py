"""Tag expressions: what is allowed, what is refused and how, and what DuckDB makes of what is allowed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.expressions import compiled, parse, stored
from features.rfm import EIGHT, segment_of
from features.sql_parts import ExpressionError, Known, Scope

SCOPE = Scope(
    {
        "as_of": Known("date", '"as_of"'),
        "orders": Known("int64", '"orders"', "orders", min=0),
        "days": Known("int64", '"days"', "days"),
        "net": Known("int64", '"net"', "minor"),
        "share": Known("float64", '"share"', "share"),
        "level": Known("int32", '"level"'),
        "city": Known("string", '"city"'),
        "stage": Known("string", '"stage"', values=("new", "old", "unknown")),
        "is_member": Known("bool", '"is_member"'),
        "last_day": Known("date", '"last_day"'),
    },
    breaks=frozenset({"cuts"}),
    statistics=frozenset({"average", "mean_net", "silence"}),
    units={"mean_net": "minor", "silence": "days"},
)
NUMBERS = {"cuts": (1.0, 2.5, 2.5, 10.0), "average": (2.5,), "silence": (30.0, 60.0, 20.0)}
NOTHING = dict.fromkeys(SCOPE.columns)


def value(text: str, numbers: Any = None, **row: Any) -> Any:
    """The expression's value on one row; columns not given are unknown."""
    expression = parse(text, SCOPE)
    kinds = {"string": "VARCHAR", "bool": "BOOLEAN", "date": "DATE", "float64": "DOUBLE", "int64": "BIGINT"}
    listed = ", ".join(f"CAST(${n} AS {kinds.get(k.type, 'INTEGER')}) AS {k.sql}" for n, k in SCOPE.columns.items())
    sql = compiled(expression, SCOPE, NUMBERS if numbers is None else numbers)
    with duckdb.connect() as con:
        return con.execute(f"SELECT {sql} FROM (SELECT {listed})", {**NOTHING, **row}).fetchall()[0][0]


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("orders >= 2 and is_member", {"orders": 2, "is_member": True}, True),
        ("orders >= 2 and is_member", {"orders": 1}, False),
        ("orders >= 2 and is_member", {"orders": 2}, None),
        ("orders >= 2 or is_member", {"is_member": True}, True),
        ("not is_member", {}, None),
        ("city in ('北京', '上海')", {"city": "北京"}, True),
        ("city not in ('北京')", {"city": "北京"}, False),
        ("orders between 1 and 3", {"orders": 3}, True),
        ("orders is null", {}, True),
        ("is_member is not true", {}, True),
        ("case when orders > 1 then 'a' when orders > 0 then 'b' else 'c' end", {"orders": 1}, "b"),
        ("case when orders > 1 then 'a' end", {}, None),
        ("coalesce(orders, 0)", {}, 0),
        ("greatest(orders, level)", {"orders": 1, "level": 4}, 4),
        ("least(orders, level)", {"level": 4}, 4),
        ("net / orders", {"net": 5, "orders": 2}, 2.5),
        ("net / orders", {"net": 5, "orders": 0}, None),
        ("ln(orders)", {"orders": 0}, None),
        ("floor(share * 10)", {"share": 0.29}, 2),
        ("round(share, 1)", {"share": 0.25}, 0.3),
        ("abs(net)", {"net": -7}, 7),
        ("nullif(orders, 0)", {"orders": 0}, None),
        ("as_of - last_day", {"as_of": dt.date(2026, 3, 1), "last_day": dt.date(2026, 2, 27)}, 2),
        ("days_between(last_day, as_of)", {"as_of": dt.date(2026, 3, 1), "last_day": dt.date(2026, 2, 27)}, 2),
        ("add_days(last_day, 2) = as_of", {"as_of": dt.date(2026, 3, 1), "last_day": dt.date(2026, 2, 27)}, True),
        ("last_day - 1 = date '2026-02-26'", {"last_day": dt.date(2026, 2, 27)}, True),
        ("years_between(last_day, as_of)", {"as_of": dt.date(2026, 2, 28), "last_day": dt.date(2000, 2, 29)}, 25),
        ("years_between(last_day, as_of)", {"as_of": dt.date(2026, 3, 1), "last_day": dt.date(2000, 2, 29)}, 26),
        ("year(last_day) * 100 + month(last_day)", {"last_day": dt.date(2026, 2, 27)}, 202602),
        ("breaks_below(orders, 'cuts')", {"orders": 1}, 0),
        ("breaks_below(orders, 'cuts')", {"orders": 3}, 3),
        ("breaks_below(share, 'cuts')", {"share": 2.5}, 1),
        ("breaks_below(orders, 'cuts')", {}, None),
        ("orders > statistic('average')", {"orders": 3}, True),
        ("concat('r', orders)", {"orders": 3}, "r3"),
        ("concat('r', orders)", {}, None),
        ("rfm_eleven(orders, level, 5)", {"orders": 5, "level": 5}, "champions"),
        ("rfm_eleven(orders, level, 5)", {"orders": 5}, None),
        ("rfm_eight(orders > 1, is_member, true)", {"orders": 2, "is_member": False}, EIGHT[(True, False, True)]),
        ("rfm_eight(orders > 1, is_member, true)", {"orders": 2}, None),
    ],
)
def test_an_expression_gives_what_sql_says(text: str, row: dict[str, Any], expected: Any) -> None:
    assert value(text, **row) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ordrs > 1", "unknown column 'ordrs'; did you mean 'orders'?"),
        ("coalesc(orders, 0)", "function 'coalesc' is not allowed; did you mean 'coalesce'?"),
        ("stage = 'nwe'", "'nwe' is not a value of 'stage'; did you mean 'new'?"),
        ("stage in ('new', 'od')", "'od' is not a value of 'stage'; did you mean 'old'?"),
        ("breaks_below(orders, 'cut')", "breaks_below: unknown break 'cut'; did you mean 'cuts'?"),
        ("statistic('cuts')", "statistic: unknown break 'cuts'; known are average"),
        ("orders + net", "'orders + net' mixes units: minor, orders"),
        ("orders > net", "'orders > net' mixes units: minor, orders"),
        ("city > 3", "'city > 3' mixes types: int32, string"),
        ("last_day > '2026-03-01'", "mixes types: date, string; write a day as date '2026-03-01'"),
        ("orders and is_member", "'orders' is int64; a condition is expected"),
        ("orders = null", "'orders = NULL' is always unknown; write 'is null' or 'is not null'"),
        ("city + 1", "'city + 1': string + int32 has no meaning"),
        ("last_day + last_day", "'last_day + last_day': date + date has no meaning"),
        ("case when is_member then 'a' else 1 end", "case mixes types: int32, string"),
        ("date '2026-02-30' = last_day", "'2026-02-30' is not a day; write date '2026-03-01'"),
        ("orders >", "not a valid SQL expression: "),
        ("orders >= ,", "SQL expression: something is missing at character 11, near ',', after 'orders >='"),
        ("city = 'x", "is a quote or a comment opened and never closed?"),
        ("", "one expression is expected, 0 given"),
        ("99999999999999999999 > orders", "99999999999999999999 is too large for int64"),
        ("round(share, orders)", "round takes a number of digits between 0 and 12"),
        ("breaks_below(orders)", "breaks_below takes 2 arguments, 1 given"),
        ("breaks_below(orders, city)", "breaks_below takes the name of a break in quotes"),
        ("orders in (level)", "'level' in a list after 'in'; a constant is expected"),
    ],
)
def test_a_mistake_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as e:
        parse(text, SCOPE)
    assert message in str(e.value)


@pytest.mark.parametrize(
    "text",
    [
        "1; drop table users",
        "orders > 1; select 1",
        "(select max(uid) from users) > 1",
        "exists(select 1)",
        "orders in (select 1)",
        "orders > any(select 1)",
        "read_csv('/etc/passwd')",
        "read_text('/etc/passwd')",
        "getenv('HOME')",
        "current_setting('home_directory')",
        "sum(orders)",
        "count(*)",
        "row_number() over ()",
        "sum(orders) over (partition by city)",
        "users.orders > 1",
        "main.users.orders > 1",
        "orders::varchar",
        "cast(orders as varchar)",
        "try_cast(city as int)",
        "city like '%x%'",
        "city ~ 'x'",
        "regexp_matches(city, 'x')",
        "$1 = orders",
        "? = orders",
        "columns('.*')",
        "*",
        "list_transform([1], x -> x)",
        "[1, 2][1]",
        "{'a': 1}",
        "interval 1 day",
        "now()",
        "current_date",
        "current_timestamp",
        "random()",
        "today()",
        "orders collate nocase",
        "city similar to 'x'",
        "case orders when 1 then 2 end",
        "floor(orders, 2)",
        "copy (select 1) to '/tmp/x'",
        "attach '/tmp/x.db'",
        "pragma version",
        "set threads = 1",
        "install httpfs",
        "unnest([1])",
        "struct_extract(city, 'x')",
        "orders && 1",
        "orders % 2",
        "x'41' = city",
        "e'\\x41' = getvariable('a')",
    ],
)
def test_nothing_outside_the_allow_list_gets_through(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text, SCOPE)


@given(st.text(max_size=60))
def test_a_text_literal_is_only_ever_a_value(text: str) -> None:
    literal = "'" + text.replace("'", "''") + "'"
    try:
        expression = parse(f"city = {literal}", SCOPE)
    except ExpressionError:
        return  # a null character, for one, cannot be written
    sql = compiled(expression, SCOPE, {})
    assert sql == f'("city" = {literal})'


@given(st.text(max_size=80))
def test_any_text_is_either_understood_or_refused_in_words(text: str) -> None:
    try:
        parse(text, SCOPE)
    except ExpressionError as e:
        assert str(e)


def test_deep_nesting_is_refused_and_long_conditions_are_not() -> None:
    with pytest.raises(ExpressionError):
        parse("(" * 500 + "orders" + ")" * 500 + " > 1", SCOPE)
    assert parse(" or ".join(f"orders = {i}" for i in range(150)), SCOPE).type == "bool"


def test_what_an_expression_needs_is_listed() -> None:
    e = parse("breaks_below(orders, 'cuts') + level > statistic('average') or is_member", SCOPE)
    assert e.columns == {"orders", "level", "is_member"}
    assert e.frozen == {"cuts", "average"}
    assert e.type == "bool"


def test_units_follow_the_arithmetic() -> None:
    assert parse("net - net", SCOPE).unit == "minor"
    assert parse("net * 2", SCOPE).unit is None
    assert parse("as_of - last_day", SCOPE).unit == "days"
    assert parse("coalesce(net, 0)", SCOPE).unit == "minor"


def test_without_breaks_a_score_is_unknown() -> None:
    assert value("breaks_below(orders, 'cuts')", numbers={}, orders=3) is None
    assert value("statistic('average') > orders", numbers={"average": ()}, orders=3) is None


def test_floats_that_are_not_finite_are_stored_as_unknown() -> None:
    with duckdb.connect() as con:
        found = con.execute(
            f"SELECT {stored('x', 'float64', 2)} FROM (VALUES (1.005::DOUBLE), ('inf'::DOUBLE), ('nan'::DOUBLE)) t(x)"
        ).fetchall()
    assert [f[0] for f in found][1:] == [None, None]


def test_the_segment_of_scores_in_sql_is_that_of_the_code_list() -> None:
    scope = Scope({n: Known("int64", n) for n in "rfm"})
    sql = compiled(parse("rfm_eleven(r, f, m)", scope), scope, {})
    grid = "range(1, 6) a(r), range(1, 6) b(f), range(1, 6) c(m)"
    with duckdb.connect() as con:
        rows = con.execute(f"SELECT r, f, m, {sql} FROM {grid}").fetchall()
    assert len(rows) == 125
    assert all(found == segment_of(r, f, m) for r, f, m, found in rows)


@pytest.mark.parametrize(
    ("x", "expected"), [(0, 0.0), (1, 0.125), (2, 0.25), (2.5, 0.5), (9, 0.75), (10, 0.875), (11, 1.0), (None, None)]
)
def test_a_percentile_rank_counts_half_of_the_points_that_are_equal(x: float | None, expected: float | None) -> None:
    assert value("percentile_rank(share, 'cuts')", share=x) == expected


def test_a_percentile_rank_without_points_is_unknown() -> None:
    assert value("percentile_rank(share, 'cuts')", numbers={}, share=1) is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(-4, 4))
def test_a_percentile_rank_is_that_of_counting(points: list[int], x: int) -> None:
    points = sorted(points)
    expected = (sum(p < x for p in points) + sum(p <= x for p in points)) / (2 * len(points))
    assert value("percentile_rank(share, 'cuts')", numbers={"cuts": points}, share=x) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("i", "expected"), [(1, 30.0), (2, 60.0), (3, 20.0), (9, 20.0), (0, None), (-1, None), (None, None)]
)
def test_a_frozen_number_is_taken_by_its_place_and_past_the_last_the_last(i: int | None, expected: Any) -> None:
    assert value("number_at('silence', level)", level=i) == expected


def test_no_frozen_numbers_give_no_number() -> None:
    assert value("number_at('silence', 1)", numbers={}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("days + net > 5", "mixes units: days, minor"),
        ("days > net", "mixes units: days, minor"),
        ("days = nullif(net, 0)", "mixes units: days, minor"),
        ("nullif(net, days)", "nullif mixes units: days, minor"),
        ("case when is_member then days else net end", "case mixes units: days, minor"),
        ("days between 1 and net", "mixes units: days, minor"),
        ("days > statistic('mean_net')", "mixes units: days, minor"),
        ("net > number_at('silence', 1)", "mixes units: days, minor"),
        ("number_at('silence', share)", "takes a whole number as position, 'share' is float64"),
        ("number_at('silense', 1)", "unknown break 'silense'; did you mean 'silence'?"),
        ("percentile_rank(city, 'cuts')", "percentile_rank takes numbers, string given"),
        ("percentile_rank(days, 'average')", "unknown break 'average'; known are cuts"),
    ],
)
def test_units_and_kinds_of_frozen_numbers_are_checked(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as e:
        parse(text, SCOPE)
    assert message in str(e.value)


@pytest.mark.parametrize("text", ["days > 30", "net + 100 > 5000", "days in (1, 2)", "net > statistic('mean_net')"])
def test_literals_fit_every_unit(text: str) -> None:
    parse(text, SCOPE)
