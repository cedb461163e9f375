"""Facts straight from the silver logs: which rows count is said from definitions.md section 0, with no ``activity``.

A valid order on day D is paid by D, not cancelled by D and worth more than nothing after the refunds made by D. Needs a
connection with the tables ``silver.<feed>`` and ``identity.identifiers``; ``prepare`` makes the rest once.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb

from features.facts import Fact
from schemas.behaviours import BEHAVIOURS, BROWSE, DETAILS
from schemas.contracts import contract
from tests.kernel.oracle import answer, sql_day, sql_list

STAMPS = {
    "orders": "ordered_at",
    "refunds": "refunded_at",
    "browse": "occurred_at",
    "shares": "occurred_at",
    "coupons": "occurred_at",
}
PRIORITY = ("member", "phone", "unionid", "openid", "email", "device", "cookie", "guest")
SUPPORTED = (*BROWSE, "pay", "order", "refund", "share", "coupon_get", "coupon_use")


def prepare(con: duckdb.DuckDBPyConnection, zone: str) -> None:
    """The latest version of every silver row, and the same with the person who acted, as tables."""
    for feed in ("orders", "order_lines", "refunds", "browse", "shares", "coupons"):
        con.execute(f"CREATE TABLE latest_{feed} AS SELECT * FROM silver.{feed} QUALIFY {_newest(feed)}")
    for feed, stamp in STAMPS.items():
        con.execute(f"CREATE TABLE of_persons_{feed} AS {_of_persons(feed, stamp, zone)}")


def silver_oracle(con: duckdb.DuckDBPyConnection, fact: Fact, as_of: date, *, zone: str) -> dict[int, Any]:
    """Value by uid for users with at least one counted row, as ``oracle`` gives it; keys as texts."""
    unknown = set(fact.behaviours) - set(SUPPORTED)
    assert not unknown, f"not written yet: {unknown}"
    wanted = set(fact.behaviours)
    parts = []
    if wanted & set(BROWSE):
        parts.append(_events("browse", wanted & set(BROWSE)))
    if "share" in wanted:
        parts.append(_events("shares", {"share"}))
    if wanted & {"coupon_get", "coupon_use"}:
        parts.append(_events("coupons", wanted & {"coupon_get", "coupon_use"}))
    if "pay" in wanted:
        parts.append(_lines(fact.view, as_of, zone))
    if "order" in wanted:
        parts.append(_placed(fact.view, as_of, zone))
    net = fact.measure == "net_amount"
    if "refund" in wanted or (net and fact.view == "cash"):
        parts.append(_refunds(zone))
    if net and fact.view == "behaviour":
        parts.append(_refunds_of_orders(as_of, zone))
    sql = f"""
        WITH products AS (
            SELECT * FROM silver.products
            WHERE CAST(timezone('{zone}', coalesce(source_time, _ingested_at)) AS DATE) <= {sql_day(as_of)}
            QUALIFY {_newest("products")}
        ),
        happened AS ({" UNION ALL BY NAME ".join(parts)}),
        counted AS (
            SELECT h.* EXCLUDE (sku_id), h.sku_id AS sku, nullif(p.brand, '') AS brand,
                   nullif(p.category, '') AS category, nullif(p.category_parent, '') AS category_parent,
                   CAST(date_part('hour', timezone('{zone}', instant)) AS INTEGER) AS hour
            FROM happened h LEFT JOIN products p ON p.sku_id = h.sku_id
            WHERE {" AND ".join(_conditions(fact, as_of))}
        )
        {answer(fact, as_of)}"""
    return {uid: value for uid, value in con.execute(sql).fetchall() if value is not None}


def _newest(feed: str) -> str:
    key = ", ".join(contract(f"silver.{feed}").key)
    order = "source_time DESC NULLS LAST, _ingested_at DESC, _file DESC, _row DESC"
    return f"row_number() OVER (PARTITION BY {key} ORDER BY {order}) = 1"


def _local_day(stamp: str, zone: str) -> str:
    return f"CAST(timezone('{zone}', {stamp}) AS DATE)"


def _of_persons(feed: str, stamp: str, zone: str) -> str:
    """The latest rows of a feed with the uid of the strongest id they carry, as it was valid on the event's day."""
    c = contract(f"silver.{feed}")
    columns = dict(c.persons) | ({"guest": c.guests} if c.guests else {})
    kinds = [k for k in PRIORITY if k in columns]
    kind = " ".join(f"WHEN {columns[k]} IS NOT NULL THEN '{k}'" for k in kinds)
    value = ", ".join(columns[k] for k in kinds)
    day = _local_day(f"r.{stamp}", zone)
    return f"""
        SELECT r.*, i.uid, {day} AS local_day FROM (
            SELECT *, CASE {kind} END AS the_kind, coalesce({value}) AS the_value FROM latest_{feed}
        ) r JOIN identity.identifiers i ON i.id_kind = r.the_kind AND i.id_value = r.the_value
            AND (i.from_day IS NULL OR i.from_day <= {day}) AND (i.until_day IS NULL OR i.until_day > {day})"""


def _columns(**given: str) -> str:
    plain = {
        "order_key": "NULL::VARCHAR",
        "sku_id": "NULL::VARCHAR",
        "seller": "NULL::VARCHAR",
        "channel": "NULL::VARCHAR",
        "peer": "NULL::BIGINT",
        "quantity": "0::BIGINT",
        "amount_minor": "0::BIGINT",
        "list_amount_minor": "0::BIGINT",
        "on_promotion": "false",
        "detail": "0",
    }
    return ", ".join(f"{what} AS {name}" for name, what in (plain | given).items())


def _events(feed: str, behaviours: set[str]) -> str:
    code = " ".join(f"WHEN '{b}' THEN {BEHAVIOURS[b]}" for b in sorted(behaviours))
    given = {"uid": "uid", "instant": "occurred_at", "day": "local_day", "behaviour_code": f"CASE behaviour {code} END"}
    given["sku_id"] = "sku_id"
    if feed == "browse":
        kinds = " ".join(f"WHEN '{k}' THEN {DETAILS[k]}" for k in ("positive", "append", "neutral", "negative"))
        given |= {
            "seller": "seller_id",
            "channel": "channel",
            "detail": "CASE WHEN behaviour = 'search' AND is_brand_search THEN 1"
            f" WHEN behaviour = 'review' THEN coalesce(CASE review_kind {kinds} END, 0) ELSE 0 END",
        }
    if feed == "coupons":
        given |= {"order_key": "order_id", "list_amount_minor": "coalesce(face_value_minor, 0)"}
    if feed == "shares":
        given["channel"] = "channel"
    return f"SELECT {_columns(**given)} FROM of_persons_{feed} WHERE behaviour IN {sql_list(sorted(behaviours))}"


def _way() -> str:
    """The code of how an order came about, in the precedence that is the default."""
    signs = {
        "by_group": "o.group_id IS NOT NULL",
        "by_share": "o.share_id IS NOT NULL",
        "by_coupon": "o.coupon_id IS NOT NULL",
        "by_promotion": "o.promotion_id IS NOT NULL OR EXISTS"
        " (FROM latest_order_lines p WHERE p.order_id = o.order_id AND p.promotion_id IS NOT NULL)",
    }
    told = " ".join(f"WHEN {sign} THEN {DETAILS[way]}" for way, sign in signs.items())
    return f"CASE {told} ELSE {DETAILS['direct']} END"


def _worth(as_of: date, zone: str) -> str:
    """Per order: what its lines cost, and what came back by the day."""
    return f"""(
        SELECT o.order_id,
            coalesce((SELECT sum(net_amount_minor) FROM latest_order_lines l WHERE l.order_id = o.order_id), 0)
                AS paid_minor,
            coalesce((SELECT sum(refund_amount_minor) FROM latest_refunds r WHERE r.order_id = o.order_id
                      AND {_local_day("r.refunded_at", zone)} <= {sql_day(as_of)}), 0) AS back_minor
        FROM latest_orders o
    )"""


def _standing(as_of: date, zone: str) -> str:
    """Not cancelled by the day."""
    return f"(o.cancelled_at IS NULL OR {_local_day('o.cancelled_at', zone)} > {sql_day(as_of)})"


def _valid(view: str, as_of: date, zone: str) -> str:
    return "true" if view == "cash" else f"{_standing(as_of, zone)} AND w.paid_minor - w.back_minor > 0"


def _lines(view: str, as_of: date, zone: str) -> str:
    listed = "greatest(coalesce(l.list_amount_minor, l.net_amount_minor + coalesce(l.discount_amount_minor, 0)), l.net_amount_minor)"
    promoted = "o.promotion_id IS NOT NULL OR o.coupon_id IS NOT NULL OR l.promotion_id IS NOT NULL"
    given = {
        "uid": "o.uid",
        "instant": "o.paid_at",
        "day": _local_day("o.paid_at", zone),
        "behaviour_code": str(BEHAVIOURS["pay"]),
        "order_key": "o.order_id",
        "sku_id": "l.sku_id",
        "seller": "o.seller_id",
        "channel": "o.channel",
        "quantity": "l.quantity",
        "amount_minor": "l.net_amount_minor",
        "list_amount_minor": listed,
        "detail": _way(),
        "on_promotion": f"{promoted} OR coalesce(l.discount_amount_minor, 0) > 0",
    }
    return f"""
        SELECT {_columns(**given)} FROM of_persons_orders o
        JOIN latest_order_lines l ON l.order_id = o.order_id
        JOIN {_worth(as_of, zone)} w ON w.order_id = o.order_id
        WHERE o.paid_at IS NOT NULL AND {_valid(view, as_of, zone)}"""


def _placed(view: str, as_of: date, zone: str) -> str:
    """Orders placed; one that was never paid is void only by being cancelled."""
    given = {
        "uid": "o.uid",
        "instant": "o.ordered_at",
        "day": "o.local_day",
        "behaviour_code": str(BEHAVIOURS["order"]),
        "order_key": "o.order_id",
        "seller": "o.seller_id",
        "channel": "o.channel",
        "on_promotion": "o.promotion_id IS NOT NULL OR o.coupon_id IS NOT NULL",
        "detail": _way(),
    }
    paid = f"(o.paid_at IS NOT NULL AND {_local_day('o.paid_at', zone)} <= {sql_day(as_of)})"
    valid = (
        "true" if view == "cash" else f"{_standing(as_of, zone)} AND (NOT {paid} OR w.paid_minor - w.back_minor > 0)"
    )
    return f"""
        SELECT {_columns(**given)} FROM of_persons_orders o
        JOIN {_worth(as_of, zone)} w ON w.order_id = o.order_id WHERE {valid}"""


def _refunds(zone: str) -> str:
    """Money back on the day it went back, to the person of the order or else of the refund's own ids."""
    given = {
        "uid": "coalesce(o.uid, r.uid)",
        "instant": "f.refunded_at",
        "day": _local_day("f.refunded_at", zone),
        "behaviour_code": str(BEHAVIOURS["refund"]),
        "order_key": "f.order_id",
        "sku_id": "f.sku_id",
        "quantity": "coalesce(f.quantity, 0)",
        "amount_minor": "f.refund_amount_minor",
    }
    return f"""
        SELECT {_columns(**given)} FROM latest_refunds f
        LEFT JOIN of_persons_orders o ON o.order_id = f.order_id
        LEFT JOIN of_persons_refunds r ON r.refund_id = f.refund_id
        WHERE coalesce(o.uid, r.uid) IS NOT NULL"""


def _refunds_of_orders(as_of: date, zone: str) -> str:
    given = {
        "uid": "o.uid",
        "instant": "o.paid_at",
        "day": _local_day("o.paid_at", zone),
        "behaviour_code": str(BEHAVIOURS["refund_of_order"]),
        "order_key": "o.order_id",
        "sku_id": "f.sku_id",
        "seller": "o.seller_id",
        "channel": "o.channel",
        "amount_minor": "f.refund_amount_minor",
        "on_promotion": "o.promotion_id IS NOT NULL OR o.coupon_id IS NOT NULL",
    }
    return f"""
        SELECT {_columns(**given)} FROM latest_refunds f
        JOIN of_persons_orders o ON o.order_id = f.order_id
        JOIN {_worth(as_of, zone)} w ON w.order_id = o.order_id
        WHERE o.paid_at IS NOT NULL AND {_valid("behaviour", as_of, zone)}
          AND {_local_day("f.refunded_at", zone)} <= {sql_day(as_of)}"""


def _conditions(fact: Fact, as_of: date) -> list[str]:
    found = [f"h.day <= {sql_day(as_of)}"]
    if fact.window is not None:
        found.append(f"h.day > {sql_day(as_of)} - {fact.window}")
    columns = {"sku": "h.sku_id", "seller": "h.seller", "channel": "h.channel"}
    columns |= {name: f"p.{name}" for name in ("brand", "category", "category_parent")}
    for name, wanted in fact.where.conditions().items():
        if name in columns:
            found.append(f"{columns[name]} IN {sql_list(wanted)}")
        elif name == "on_promotion":
            found.append(f"h.on_promotion = {wanted}")
        elif name == "detail":
            found.append(f"h.detail IN {sql_list(DETAILS[d] for d in wanted)}")
        else:
            found.append(f"h.peer IS {'NOT ' if wanted else ''}NULL")
    return found
