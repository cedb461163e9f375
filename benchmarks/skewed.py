"""An even shop made uneven, row for row of the same size: one user with a tenth of all events, one day with half the orders.

Both take a simulated shop and give another; nothing of the first is changed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.faults import Feed
from simulator.season import DAY_MS
from simulator.shop import Shop

HUB_SHARE = 0.1
FESTIVAL_SHARE = 0.5
FESTIVAL = date(2025, 11, 11)
SEED = 3
EVENTS = ("browse", "shares", "orders", "order_lines", "coupons")
IDS = ("openid", "unionid", "device_id", "cookie_id")


def with_hub(shop: Shop) -> Shop:
    """A tenth of all events, taken from everybody's browsing, are one member's."""
    browse = shop.feeds["browse"]
    wanted = round(HUB_SHARE * sum(len(shop.feeds[feed]) for feed in EVENTS))
    chosen = np.zeros(len(browse), bool)
    chosen[np.random.default_rng(SEED).choice(len(browse), wanted, replace=False)] = True
    rows = browse.rows.combine_chunks()
    members = rows["member_id"].combine_chunks()
    hub = members.drop_null()[0].as_py()
    columns = {"member_id": hub} | dict.fromkeys(IDS)
    for name, value in columns.items():
        own = rows[name].combine_chunks().dictionary_decode()
        changed = pc.if_else(pa.array(chosen), pa.scalar(value, pa.string()), own)
        rows = rows.set_column(rows.column_names.index(name), name, changed.dictionary_encode())
    return replace(shop, feeds=shop.feeds | {"browse": replace(browse, rows=rows)})


def with_festival(shop: Shop, day: date = FESTIVAL) -> Shop:
    """Half of all orders are moved back to one day, with their payments, lines, refunds and arrival."""
    orders = shop.feeds["orders"]
    ids, first = np.unique(_texts(orders, "order_id"), return_index=True)
    number = (day - shop.season.first_day).days
    days = _day_numbers(orders, "ordered_at", shop)[first]
    later = np.flatnonzero(days > number)
    wanted = min(round(FESTIVAL_SHARE * len(ids)) - int((days == number).sum()), len(later))
    moved = np.random.default_rng(SEED).choice(later, wanted, replace=False)
    back = {ids[i]: int(days[i]) - number for i in moved}
    stamps = {
        "orders": ("ordered_at", "paid_at", "cancelled_at", "source_time"),
        "order_lines": ("ordered_at",),
        "refunds": ("refunded_at",),
    }
    changed = {feed: _moved(shop.feeds[feed], columns, back) for feed, columns in stamps.items()}
    return replace(shop, feeds=shop.feeds | changed)


def _texts(feed: Feed, column: str) -> np.ndarray:
    return np.array(feed.rows[column].combine_chunks().cast(pa.string()).to_pylist(), dtype=str)


def _day_numbers(feed: Feed, column: str, shop: Shop) -> np.ndarray:
    epoch = (shop.season.first_day - date(1970, 1, 1)).days
    return feed.rows[column].combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False) // DAY_MS - epoch


def _moved(feed: Feed, stamps: tuple[str, ...], back: dict[str, int]) -> Feed:
    """Rows of moved orders so many days earlier, again in order of arrival."""
    days = np.array([back.get(i, 0) for i in _texts(feed, "order_id")], np.int64)
    rows = feed.rows.combine_chunks()
    for name in stamps:
        earlier = pc.subtract(rows[name].combine_chunks().cast(pa.int64()), pa.array(days * DAY_MS))
        rows = rows.set_column(rows.column_names.index(name), name, earlier.cast(rows.schema.field(name).type))
    arrived = np.maximum(feed.arrived - days, 0)
    order = np.argsort(arrived, kind="stable")
    return Feed(feed.name, rows.take(pa.array(order)), arrived[order], feed.fault[order])
