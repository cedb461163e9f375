"""Small random shops for the identity tests, and their rows as silver frames."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from lake.lake import Lake
from schemas.contracts import contract
from tests.identity.oracle import Row
from tests.silver import write_silver

ZONE = "Asia/Shanghai"
FIRST = date(2026, 3, 1)
FEEDS = ("members", "orders", "refunds", "browse", "shares", "coupons")

_COLUMN = {
    "member": "member_id", "phone": "phone", "unionid": "unionid", "openid": "openid",
    "email": "email", "device": "device_id", "cookie": "cookie_id",
}  # fmt: skip


@st.composite
def row(draw: st.DrawFn, names: int = 3) -> Row:
    """A row of any feed with ids from a small pool, so that ids meet often."""
    feed = draw(st.sampled_from(FEEDS))
    kinds = contract(f"silver.{feed}").persons
    number = st.integers(1, names).map(str)
    sparse = draw(st.sets(st.sampled_from(sorted(kinds)), max_size=3))
    ids = {k: k[0] + draw(number) for k in sorted(sparse)}
    day = FIRST + timedelta(days=draw(st.integers(0, 5)))
    if feed == "members":
        ids["member"] = "m" + draw(number)
        return Row(
            day,
            ids,
            feed,
            merged_into=draw(st.none() | st.none() | number.map("m".__add__)),
            inviter=draw(st.none() | number.map("m".__add__)),
            phone_verified=draw(st.booleans()),
        )
    if feed == "orders":
        return Row(day, ids, feed, order_id="o" + draw(number))
    if feed == "shares":
        return Row(day, ids, feed, sharer=draw(st.none() | number.map("m".__add__)))
    return Row(day, ids, feed)


world = st.lists(row(), min_size=1, max_size=10)
worlds = st.lists(world, min_size=20, max_size=40)
"""Many shops in one example: they share no ids, so one run of the engine judges all of them."""


def apart(shops: list[list[Row]]) -> list[Row]:
    """The rows of many shops as one, every id prefixed with its shop."""

    def own(n: int, value: str | None) -> str | None:
        return None if value is None else f"{n:03}.{value}"

    return [
        Row(
            r.day,
            {k: f"{n:03}.{v}" for k, v in r.ids.items()},
            r.feed,
            own(n, r.merged_into),
            own(n, r.inviter),
            r.phone_verified,
            own(n, r.sharer),
            own(n, r.order_id),
        )
        for n, shop in enumerate(shops)
        for r in shop
    ]


def stamp(day: date, hour: int = 1) -> datetime:
    """A moment of the business day; 01:00 local lies on the day before in UTC."""
    return datetime.combine(day, time(hour), ZoneInfo(ZONE)).astimezone(UTC)


def deliver(lake: Lake, rows: list[Row], batch: str = "b1") -> None:
    """Rows as new files of the silver tables, one file a feed and month."""
    for feed in FEEDS:
        found = [values(r) for r in rows if r.feed == feed]
        if found:
            write_silver(lake, feed, found, batch=batch)


def values(r: Row) -> dict[str, Any]:
    """The columns of a silver row that the oracle's row stands for."""
    at = stamp(r.day)
    times = {
        "members": {"source_time": at, "registered_at": at},
        "orders": {"ordered_at": at},
        "refunds": {"refunded_at": at},
    }.get(r.feed, {"occurred_at": at})
    said = {
        "merged_into_member_id": r.merged_into,
        "inviter_member_id": r.inviter,
        "phone_verified": r.phone_verified,
        "sharer_member_id": r.sharer,
        "order_id": r.order_id,
    }
    known = contract(f"silver.{r.feed}").column_names
    return times | {_COLUMN[k]: v for k, v in r.ids.items()} | {k: v for k, v in said.items() if k in known}
