"""Airflow DAGs: files of the inbox into silver, feed by feed, every morning."""

from __future__ import annotations

from shop import BROWSE, ORDERS, REFERENCE, SHARES, early_every_day, verb

with early_every_day(
    "ingest_orders",
    """### Orders
    Takes new files of orders, order lines, refunds and coupons. Files that were taken before are skipped, so a second
    run of a day adds nothing. Exit code 4: a file was refused, the others were taken; `huaxiang status` says which.
    """,
    at="05:00",
    tags=["ingest"],
):
    verb("ingest_orders", "ingest orders order_lines refunds coupons", outlets=[ORDERS])

with early_every_day(
    "ingest_browse",
    """### Browse
    Takes new files of on-site behaviour: the largest feed.
    """,
    at="05:00",
    tags=["ingest"],
):
    verb("ingest_browse", "ingest browse", outlets=[BROWSE])

with early_every_day(
    "ingest_shares",
    """### Shares
    Takes new files of shares and of what came of them: opens, joins, registrations, orders.
    """,
    at="05:00",
    tags=["ingest"],
):
    verb("ingest_shares", "ingest shares", outlets=[SHARES])

with early_every_day(
    "ingest_reference",
    """### Reference
    Takes new files of members and products, of questionnaires, and of tags set by hand. Every version of a record is kept.
    """,
    at="04:30",
    tags=["ingest"],
):
    verb("ingest_reference", "ingest members products surveys manual_tags", outlets=[REFERENCE])
