"""What every fact is, said a second time: plain SQL over the rows of ``activity``, written from definitions.md.

Nothing here comes from the kernel. One statement per fact, each row judged by itself; slow on purpose.
Needs relations ``activity`` (the table's columns), ``products`` (sku_code and the texts brand, category,
category_parent) and ``codes`` (code_kind, code, code_value).
"""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb

from features.facts import Fact
from schemas.behaviours import BEHAVIOURS, DETAILS

TEXTS = ("brand", "category", "category_parent")
CODED = {"sku": "sku_code", "seller": "seller_code", "channel": "channel_code"}
VALUES = {
    "quantity": "quantity",
    "amount": "amount_minor",
    "list_amount": "list_amount_minor",
    "discount": "list_amount_minor - amount_minor",
}


def oracle(
    con: duckdb.DuckDBPyConnection, fact: Fact, as_of: date, *, known_at_day: date | None = None, zone: str = "UTC"
) -> dict[int, Any]:
    """Value by uid for users with at least one counted row; all others have the fact's absent value.

    Texts come as texts. A value of None is left out.
    """
    counted = f"""
        SELECT a.uid, a."occurred_at" AS instant, a.day, nullif(a.order_key, 0) AS order_key, a.amount_minor, a.list_amount_minor, a.quantity, a.behaviour_code,
               nullif(p.brand, '') AS brand, nullif(p.category, '') AS category,
               nullif(p.category_parent, '') AS category_parent,
               nullif(a.sku_code, 0) AS sku, nullif(a.seller_code, 0) AS seller, nullif(a.channel_code, 0) AS channel,
               CASE WHEN a.peer_uid >= 0 AND a.peer_uid <> a.uid THEN a.peer_uid END AS peer,
               CAST(date_part('hour', timezone('{zone}', a."occurred_at")) AS INTEGER) AS hour
        FROM activity a
        LEFT JOIN products p ON p.sku_code = a.sku_code
        WHERE {" AND ".join(_conditions(fact, as_of, known_at_day))}
    """
    sql = f"WITH counted AS ({counted}) {answer(fact, as_of)}"
    found = {uid: value for uid, value in con.execute(sql).fetchall() if value is not None}
    if fact.measure in CODED and fact.agg != "distinct":
        texts = dict(con.execute("SELECT code, code_value FROM codes WHERE code_kind = ?", [fact.measure]).fetchall())
        return {uid: texts[code] for uid, code in found.items()}
    return found


def sql_day(value: date) -> str:
    return f"DATE '{value.isoformat()}'"


def sql_list(values: Any) -> str:
    return "(" + ", ".join("'" + v.replace("'", "''") + "'" if isinstance(v, str) else str(v) for v in values) + ")"


def _conditions(fact: Fact, as_of: date, known_at_day: date | None) -> list[str]:
    behaviours = list(fact.behaviours)
    if fact.measure == "net_amount":
        behaviours.append("refund" if fact.view == "cash" else "refund_of_order")
    found = [
        f"a.behaviour_code IN {sql_list(BEHAVIOURS[b] for b in behaviours)}",
        f"a.day <= {sql_day(as_of)}",
        f"a.valid_from_day <= {sql_day(as_of)}",
    ]
    flagged = f"coalesce(a.flagged_day <= {sql_day(as_of)}, false)"
    found += {"exclude": [f"NOT {flagged}"], "only": [flagged], "include": []}[fact.flagged]
    if fact.view == "behaviour":
        learned = "" if known_at_day is None else f" OR a.void_known_day > {sql_day(known_at_day)}"
        found.append(f"(a.void_day IS NULL OR a.void_day > {sql_day(as_of)}{learned})")
    if known_at_day is not None:
        found.append(f"a.known_day <= {sql_day(known_at_day)}")
    if fact.window is not None:
        found.append(f"a.day > {sql_day(as_of)} - {fact.window}")
    if fact.ago:
        found.append(f"date_diff('day', a.day, {sql_day(as_of)}) >= {fact.ago}")
    where = fact.where
    for name in TEXTS:
        if (wanted := getattr(where, name)) is not None:
            found.append(f"p.{name} IN {sql_list(wanted)}")
    for name, column in CODED.items():
        if (wanted := getattr(where, name)) is not None:
            known = f"SELECT code FROM codes WHERE code_kind = '{name}' AND code_value IN {sql_list(wanted)}"
            found.append(f"a.{column} IN ({known})")
    if where.in_category is not None:
        found.append(
            f"(p.category IN {sql_list(where.in_category)} OR p.category_parent IN {sql_list(where.in_category)})"
        )
    if where.on_promotion is not None:
        found.append(f"a.on_promotion = {where.on_promotion}")
    if where.detail is not None:
        found.append(f"a.detail_code IN {sql_list(DETAILS[d] for d in where.detail)}")
    if where.peer is not None:
        found.append(f"(a.peer_uid >= 0 AND a.peer_uid <> a.uid) = {where.peer}")
    return found


def answer(fact: Fact, as_of: date) -> str:
    """The fact over a relation ``counted`` of the rows that count: uid, value."""
    measure, agg = fact.measure, fact.agg
    if measure == "rows":
        return "SELECT uid, count(*) FROM counted GROUP BY uid"
    if measure == "orders":
        return "SELECT uid, count(DISTINCT order_key) FROM counted GROUP BY uid"
    if measure == "days":
        return "SELECT uid, count(DISTINCT day) FROM counted GROUP BY uid"
    if measure == "visits":
        return """
            SELECT uid, count(*) FROM (
                SELECT uid, instant - lag(instant) OVER (PARTITION BY uid, day ORDER BY instant) AS gap FROM counted
            ) WHERE gap IS NULL OR gap > INTERVAL 30 MINUTE GROUP BY uid"""
    if measure == "net_amount":
        paid = f"CASE WHEN behaviour_code = {BEHAVIOURS['pay']} THEN amount_minor ELSE -amount_minor END"
        return f"SELECT uid, CAST(sum({paid}) AS BIGINT) FROM counted GROUP BY uid"
    if measure in VALUES:
        value = VALUES[measure]
        how = {
            "sum": f"CAST(sum({value}) AS BIGINT)",
            "min": f"min({value})",
            "max": f"max({value})",
            "mean": f"CAST(sum({value}) AS DOUBLE) / count(*)",
        }
        return f"SELECT uid, {how[agg]} FROM counted GROUP BY uid"
    if measure == "day" and agg in ("first", "last"):
        return f"SELECT uid, {'min' if agg == 'first' else 'max'}(day) FROM counted GROUP BY uid"
    if measure in ("day", "gap_days"):
        days = """
            SELECT uid, day, day - lag(day) OVER (PARTITION BY uid ORDER BY day) AS gap,
                   row_number() OVER (PARTITION BY uid ORDER BY day) AS nth, count(*) OVER (PARTITION BY uid) AS days
            FROM (SELECT DISTINCT uid, day FROM counted)"""
        if agg == "returned":
            gaps = fact.min_gaps or (fact.min_gap,)
            least = " ".join(f"WHEN nth = {n + 1} THEN {gap}" for n, gap in enumerate(gaps, 1))
            return f"SELECT uid, max(day) FROM ({days}) WHERE gap >= CASE {least} ELSE {gaps[-1]} END GROUP BY uid"
        if agg == "reached":
            starts = ", ".join(str(c + 1) for c in (0, *(fact.counts or ())))
            return f"SELECT uid, max(day) FROM ({days}) WHERE nth IN ({starts}) AND nth <= days GROUP BY uid"
        how = {
            "mean": "CAST(sum(gap) AS DOUBLE) / count(gap)",
            "max": "CAST(max(gap) AS BIGINT)",
            "last": "CAST(arg_max(gap, day) AS BIGINT)",
        }
        return f"SELECT uid, {how[agg]} FROM ({days}) WHERE gap IS NOT NULL GROUP BY uid"
    if agg == "distinct":
        return f"SELECT uid, count(DISTINCT {measure}) FROM counted GROUP BY uid"
    if agg in ("first", "last"):
        order = "instant ASC" if agg == "first" else "instant DESC"
        return _top(
            f"SELECT uid, {measure} AS value, instant FROM counted WHERE {measure} IS NOT NULL", f"{order}, value"
        )
    if agg == "mode":
        share = "" if fact.min_share is None else f"WHERE CAST(n AS DOUBLE) / total >= {fact.min_share!r}"
        grouped = f"""
            SELECT uid, {measure} AS value, count(*) AS n, max(instant) AS latest, sum(count(*)) OVER (PARTITION BY uid) AS total
            FROM counted WHERE {measure} IS NOT NULL GROUP BY uid, {measure}"""
        return _top(grouped, "n DESC, latest DESC, value", share)
    assert agg == "preferred"
    weight = " ".join(f"WHEN {BEHAVIOURS[b]} THEN {_weight(fact, b)!r}" for b in fact.behaviours)
    half_life = fact.half_life_days or 30.0
    worth = (
        f"CAST(round_even(CASE behaviour_code {weight} END * pow(0.5, ({sql_day(as_of)} - day) / {half_life!r}::DOUBLE)"
        " * 4294967296.0, 0) AS BIGINT)"
    )
    grouped = f"""
        SELECT uid, {measure} AS value, sum({worth}) AS weight, max(instant) AS latest
        FROM counted WHERE {measure} IS NOT NULL GROUP BY uid, {measure} HAVING count(*) >= {fact.min_events or 1}"""
    return _top(grouped, "weight DESC, latest DESC, value")


def _weight(fact: Fact, behaviour: str) -> float:
    named = {"view": 1.0, "search": 1.0, "favourite": 3.0, "cart": 4.0, "share": 4.0, "pay": 5.0}
    return float((fact.weights or {}).get(behaviour, named.get(behaviour, 1.0)))


def _top(rows: str, order: str, condition: str = "") -> str:
    return f"""
        SELECT uid, value FROM (
            SELECT *, row_number() OVER (PARTITION BY uid ORDER BY {order}) AS place FROM ({rows})
        ) {condition or "WHERE true"} AND place = 1"""
