"""What everybody did by a day: tables ``acts`` (site, shares, coupons) and ``money`` (orders, paid lines, refunds).

One row a behaviour with the person's uid and its product's brand and categories as of the day. ``void`` and ``flagged``
say whether the order counts no more, or is held for brushing, by the day. Keys are enumerations in order of their text.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb

from benchmarks.specialist.persons import LOGS, Ids, strongest
from schemas.behaviours import BEHAVIOURS

KEYS = {
    "sku": "sku_id",
    "seller": "seller_id",
    "channel": "channel",
    "brand": "brand",
    "category": "category",
    "category_parent": "category_parent",
}
SOURCES = {
    "sku": ("browse", "shares", "order_lines", "refunds"),
    "seller": ("browse", "orders"),
    "channel": ("browse", "orders", "shares"),
}
WAYS = ("by_group", "by_share", "by_coupon", "by_promotion", "direct")
DETAILS = ("brand_search", "positive", "append", "neutral", "negative", *WAYS)


def build(con: duckdb.DuckDBPyConnection, as_of: date, flags: Path) -> None:
    """``flags`` is a Parquet file of the orders that are held: order_id, flagged_day."""
    con.execute(f"CREATE OR REPLACE MACRO as_of() AS DATE '{as_of}'")
    _latest(con)
    _keys(con)
    con.execute(f"CREATE TEMP TABLE held AS SELECT order_id FROM '{flags}' WHERE flagged_day <= as_of()")
    _orders(con)
    _acts(con)
    _money(con)


def _latest(con: duckdb.DuckDBPyConnection) -> None:
    """The last version of what has several."""
    for feed, key in (("orders", "order_id"), ("products", "sku_id")):
        until = "WHERE CAST(source_time AS DATE) <= as_of()" if feed == "products" else ""
        con.execute(f"""
            CREATE TEMP TABLE latest_{feed} AS SELECT * FROM {feed} {until}
            QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY source_time DESC, file DESC) = 1""")


def _keys(con: duckdb.DuckDBPyConnection) -> None:
    for key, column in KEYS.items():
        tables = SOURCES.get(key, ("latest_products",))
        values = " UNION ".join(f"SELECT {column} AS v FROM {t} WHERE {column} IS NOT NULL" for t in tables)
        con.execute(f"CREATE TYPE {key}_key AS ENUM (SELECT v FROM ({values}) ORDER BY v)")
    con.execute(f"CREATE TYPE behaviour_key AS ENUM ({', '.join(repr(b) for b in BEHAVIOURS)})")
    con.execute(f"CREATE TYPE detail_key AS ENUM ({', '.join(repr(d) for d in DETAILS)})")
    con.execute(f"""
        CREATE TEMP TABLE skus AS
        SELECT CAST(sku_id AS sku_key) AS sku, {", ".join(f"CAST({k} AS {k}_key) AS {k}" for k in ("brand", "category", "category_parent"))}
        FROM latest_products WHERE sku_id IN (SELECT unnest(enum_range(NULL::sku_key))::VARCHAR)""")


def _resolved(feed: str, ids: Ids, table: str | None = None) -> str:
    """The rows of a feed with the uid of the strongest id that they carry, as it was valid on their day."""
    return f"""(
        SELECT r.*, i.uid FROM (SELECT *, {strongest(ids.acted, ids.guest)} AS best FROM {table or feed}) r
        JOIN identifiers i ON i.id = r.best AND (i.from_day IS NULL OR CAST(r.{ids.at} AS DATE) >= i.from_day)
            AND (i.until_day IS NULL OR CAST(r.{ids.at} AS DATE) < i.until_day))"""


def _orders(con: duckdb.DuckDBPyConnection) -> None:
    """Every order with its person, money and the days from which it counts and counts no more."""
    con.execute(f"""
        CREATE TEMP TABLE orders_of AS
        WITH worth AS (
            SELECT order_id, sum(net_amount_minor) AS net, count(promotion_id) AS promoted FROM order_lines GROUP BY order_id
        ),
        back AS (
            SELECT order_id, refunded_at,
                sum(refund_amount_minor) OVER (PARTITION BY order_id ORDER BY refunded_at, refund_id ROWS UNBOUNDED PRECEDING) AS back
            FROM refunds WHERE order_id IS NOT NULL
        ), whole AS (
            SELECT order_id, min(refunded_at) AS whole_refund_at FROM back JOIN worth USING (order_id)
            WHERE back >= net GROUP BY order_id
        )
        SELECT o.order_id, hash(o.order_id) AS order_key, o.uid, o.ordered_at, o.paid_at, CAST(o.paid_at AS DATE) AS paid_day,
            CAST(o.seller_id AS seller_key) AS seller, CAST(o.channel AS channel_key) AS channel,
            o.promotion_id IS NOT NULL OR o.coupon_id IS NOT NULL AS on_promotion,
            CAST(CASE WHEN o.group_id IS NOT NULL THEN 'by_group' WHEN o.share_id IS NOT NULL THEN 'by_share'
                WHEN o.coupon_id IS NOT NULL THEN 'by_coupon'
                WHEN o.promotion_id IS NOT NULL OR v.promoted > 0 THEN 'by_promotion' ELSE 'direct' END AS detail_key) AS way,
            coalesce(least(CAST(o.cancelled_at AS DATE), CAST(w.whole_refund_at AS DATE),
                CASE WHEN coalesce(v.net, 0) <= 0 THEN CAST(o.paid_at AS DATE) END) <= as_of(), false) AS void,
            o.order_id IN (FROM held) AS flagged
        FROM {_resolved("orders", LOGS["orders"], "latest_orders")} o
        LEFT JOIN worth v USING (order_id) LEFT JOIN whole w USING (order_id)""")


def _acts(con: duckdb.DuckDBPyConnection) -> None:
    shares = _resolved("shares", LOGS["shares"])
    sharer = Ids("occurred_at", LOGS["shares"].others)
    con.execute(f"""
        CREATE TEMP TABLE shares_of AS
        SELECT s.*, p.uid AS peer FROM (SELECT *, {strongest(sharer.acted)} AS card_of FROM {shares}) s
        LEFT JOIN identifiers p ON p.id = s.card_of
            AND (p.from_day IS NULL OR CAST(s.occurred_at AS DATE) >= p.from_day)
            AND (p.until_day IS NULL OR CAST(s.occurred_at AS DATE) < p.until_day)""")
    con.execute(f"""
        CREATE TABLE acts AS
        WITH rows AS (
            SELECT uid, occurred_at AS moment, behaviour, sku_id, seller_id, channel,
                CAST(CASE WHEN behaviour = 'search' AND is_brand_search THEN 'brand_search'
                          WHEN behaviour = 'review' THEN review_kind END AS detail_key) AS detail,
                NULL::INTEGER AS peer, NULL::DATE AS valid_from, false AS void, false AS flagged
            FROM {_resolved("browse", LOGS["browse"])}
            UNION ALL
            SELECT uid, occurred_at, behaviour, sku_id, NULL, channel, NULL, nullif(peer, uid), NULL, false, false
            FROM shares_of WHERE behaviour <> 'order'
            UNION ALL
            SELECT s.peer, s.occurred_at, CASE s.behaviour WHEN 'share_open' THEN 'share_opened' WHEN 'join_group' THEN 'brought_join'
                    WHEN 'register' THEN 'brought_register' ELSE 'brought_order' END,
                s.sku_id, NULL, s.channel, NULL, s.uid, CASE WHEN s.behaviour = 'order' THEN o.paid_day END,
                s.behaviour = 'order' AND coalesce(o.void, false), s.behaviour = 'order' AND coalesce(o.flagged, false)
            FROM shares_of s LEFT JOIN orders_of o USING (order_id)
            WHERE s.peer <> s.uid AND s.behaviour <> 'share'
                AND (s.behaviour <> 'order' OR s.order_id IS NULL OR o.paid_day IS NOT NULL)
            UNION ALL
            SELECT uid, occurred_at, behaviour, NULL, NULL, NULL, NULL, NULL, NULL, false, coalesce(order_id IN (FROM held), false)
            FROM {_resolved("coupons", LOGS["coupons"])}
        )
        SELECT r.uid, r.moment, CAST(r.moment AS DATE) AS day, CAST(r.behaviour AS behaviour_key) AS behaviour,
            CAST(r.sku_id AS sku_key) AS sku, CAST(r.seller_id AS seller_key) AS seller, CAST(r.channel AS channel_key) AS channel,
            k.brand, k.category, k.category_parent, r.detail, r.peer, r.void, r.flagged
        FROM rows r LEFT JOIN skus k ON k.sku = CAST(r.sku_id AS sku_key)
        WHERE r.moment < as_of() + 1 AND (valid_from IS NULL OR valid_from <= as_of())""")


def _money(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"""
        CREATE TABLE money AS
        WITH rows AS (
            SELECT uid, ordered_at AS moment, CAST(ordered_at AS DATE) AS valid_from, 'order' AS behaviour, NULL::VARCHAR AS sku_id,
                seller, channel, order_key, 0::BIGINT AS quantity, 0::BIGINT AS amount, 0::BIGINT AS list_amount,
                on_promotion, way AS detail, void, flagged
            FROM orders_of
            UNION ALL
            SELECT o.uid, o.paid_at, o.paid_day, 'pay', l.sku_id, o.seller, o.channel, o.order_key, l.quantity, l.net_amount_minor,
                greatest(coalesce(l.list_amount_minor, l.net_amount_minor + coalesce(l.discount_amount_minor, 0)), l.net_amount_minor),
                o.on_promotion OR l.promotion_id IS NOT NULL OR coalesce(l.discount_amount_minor, 0) > 0, o.way, o.void, o.flagged
            FROM orders_of o JOIN order_lines l USING (order_id) WHERE o.paid_at IS NOT NULL
            UNION ALL
            SELECT o.uid, o.paid_at, greatest(o.paid_day, CAST(r.refunded_at AS DATE)), 'refund_of_order', r.sku_id, o.seller,
                o.channel, o.order_key, 0, r.refund_amount_minor, 0, o.on_promotion, NULL, o.void, o.flagged
            FROM orders_of o JOIN refunds r USING (order_id) WHERE o.paid_at IS NOT NULL
            UNION ALL
            SELECT coalesce(o.uid, m.uid), r.refunded_at, CAST(r.refunded_at AS DATE), 'refund', r.sku_id, NULL, NULL,
                hash(r.order_id), coalesce(r.quantity, 0), r.refund_amount_minor, 0, false, NULL, false,
                coalesce(r.order_id IN (FROM held), false)
            FROM refunds r LEFT JOIN orders_of o USING (order_id)
            LEFT JOIN {_resolved("refunds", LOGS["refunds"])} m ON m.refund_id = r.refund_id
            WHERE coalesce(o.uid, m.uid) IS NOT NULL
        )
        SELECT r.uid, r.moment, CAST(r.moment AS DATE) AS day, CAST(r.behaviour AS behaviour_key) AS behaviour,
            CAST(r.sku_id AS sku_key) AS sku, r.seller, r.channel,
            k.brand, k.category, k.category_parent, r.order_key, r.quantity, r.amount, r.list_amount, r.on_promotion, r.detail, r.void,
            r.flagged
        FROM rows r LEFT JOIN skus k ON k.sku = CAST(r.sku_id AS sku_key)
        WHERE r.moment < as_of() + 1 AND r.valid_from <= as_of()""")
