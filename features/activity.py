"""Silver logs as ``activity``: one row per behaviour, integer-coded, with the days between which it counts.

Every function takes the latest version of silver rows with the acting person's ``uid`` attached and returns rows in
the columns of ``activity.activity`` (definitions.md sections 0 and 14). Rows of nobody (no id at all) are left out:
they stay in silver. A period is the business month of the silver row that a row comes from, so that a slice can be
rebuilt from that month of silver alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

from features.kernel.rows import USERS_PER_BUCKET
from features.links import business_day, number_of
from features.order_ways import Way, way_code
from schemas.behaviours import BEHAVIOURS, DETAILS
from schemas.contracts import Contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CODED: Mapping[str, str] = {"sku": "sku_id", "seller": "seller_id", "channel": "channel"}
"""Kinds of codes and the column that holds their values, in every feed that has it."""

COLUMNS: tuple[tuple[str, str], ...] = (
    ("bucket", "int"),
    ("period", "int"),
    ("uid", "bigint"),
    ("occurred_at", "timestamp"),
    ("day", "date"),
    ("behaviour_code", "int"),
    ("sku_code", "int"),
    ("seller_code", "int"),
    ("channel_code", "int"),
    ("order_key", "bigint"),
    ("quantity", "bigint"),
    ("list_amount_minor", "bigint"),
    ("amount_minor", "bigint"),
    ("on_promotion", "boolean"),
    ("detail_code", "int"),
    ("peer_uid", "bigint"),
    ("valid_from_day", "date"),
    ("void_day", "date"),
    ("void_known_day", "date"),
    ("flagged_day", "date"),
    ("known_day", "date"),
)


def bucket_of(uid: Column) -> Column:
    return F.floor(uid / F.lit(USERS_PER_BUCKET)).cast("int")


def learned(versions: DataFrame) -> DataFrame:
    """Of every version of the orders when each order, its payment and its cancellation were first delivered."""

    def first(condition: Column) -> Column:
        return F.min(F.when(condition, F.col("_ingested_at")))

    return versions.groupBy("order_id").agg(
        F.min("_ingested_at").alias("ordered_known_at"),
        first(F.col("paid_at").isNotNull()).alias("paid_known_at"),
        first(F.col("cancelled_at").isNotNull()).alias("cancelled_known_at"),
    )


def order_facts(
    orders: DataFrame,
    lines: DataFrame,
    refunds: DataFrame,
    known: DataFrame,
    flags: DataFrame,
    zone: str,
    ways: Sequence[Way],
) -> DataFrame:
    """Per order: when it was paid, from which day it counts no more, and from which it is held for brushing.

    An order is void from the day on which it was cancelled, or on which its refunds reached its net amount, or, when
    its lines are worth nothing, from the start; ``void_known_day`` is when the last of what made it so was delivered.
    ``known`` are the stamps of ``learned``, ``flags`` order_id and flagged_day of held orders. Of the ``ways`` in which it
    can have come about, the first that it shows is its own.
    """
    promoted = F.sum(F.when(F.col("promotion_id").isNotNull(), 1).otherwise(0))
    worth = lines.groupBy("order_id").agg(
        F.sum("net_amount_minor").alias("order_net_minor"), promoted.alias("promoted_lines")
    )
    back = refunds.filter("order_id is not null").select(
        "order_id", "refunded_at", "refund_id", "refund_amount_minor", "_ingested_at"
    )
    running = (
        Window.partitionBy("order_id")
        .orderBy("refunded_at", "refund_id")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    whole = (
        back.withColumn("back_minor", F.sum("refund_amount_minor").over(running))
        .withColumn("back_known_at", F.max("_ingested_at").over(running))
        .join(worth.drop("promoted_lines"), "order_id")
        .filter("back_minor >= order_net_minor")
        .groupBy("order_id")
        .agg(F.min("refunded_at").alias("whole_refund_at"), F.min("back_known_at").alias("whole_refund_known_at"))
    )
    joined = orders.drop("_ingested_at").join(known, "order_id", "left")
    for more in (worth, whole, flags):
        joined = joined.join(more, "order_id", "left")

    def day(stamp: str) -> Column:
        return business_day(F.col(stamp), zone)

    worthless = F.when(F.coalesce(F.col("order_net_minor"), F.lit(0)) <= 0, day("paid_at"))
    ends = (
        (day("cancelled_at"), day("cancelled_known_at")),
        (day("whole_refund_at"), day("whole_refund_known_at")),
        (worthless, day("paid_known_at")),
    )
    void_day = F.least(*(ended for ended, _ in ends))
    return joined.select(
        "order_id",
        "uid",
        "event_month",
        "ordered_at",
        "paid_at",
        "seller_id",
        "channel",
        (F.col("promotion_id").isNotNull() | F.col("coupon_id").isNotNull()).alias("order_on_promotion"),
        way_code(ways).alias("way_code"),
        day("paid_at").alias("paid_day"),
        void_day.alias("void_day"),
        F.least(*(F.when(ended == void_day, known_on) for ended, known_on in ends)).alias("void_known_day"),
        "flagged_day",
        day("ordered_known_at").alias("ordered_known_day"),
        day("paid_known_at").alias("paid_known_day"),
    )


def placed(facts: DataFrame, zone: str) -> DataFrame:
    """One ``order`` row per order, paid or not, at the time it was placed."""
    return _rows(
        facts,
        code=F.lit(BEHAVIOURS["order"]),
        at="ordered_at",
        zone=zone,
        order_key=key_of("order_id"),
        on_promotion=F.col("order_on_promotion"),
        detail=F.col("way_code"),
        void_day=F.col("void_day"),
        void_known_day=F.col("void_known_day"),
        flagged_day=F.col("flagged_day"),
        known_day=F.col("ordered_known_day"),
    )


def paid_lines(facts: DataFrame, lines: DataFrame, zone: str) -> DataFrame:
    """One ``pay`` row per line of a paid order, at the time of payment, with the line's net and list money."""
    columns = lines.select(
        "order_id",
        "sku_id",
        "quantity",
        "net_amount_minor",
        F.col("promotion_id").alias("line_promotion_id"),
        F.coalesce(F.col("discount_amount_minor"), F.lit(0)).alias("line_discount"),
        F.coalesce(
            F.col("list_amount_minor"),
            F.col("net_amount_minor") + F.coalesce(F.col("discount_amount_minor"), F.lit(0)),
        ).alias("line_list"),
    )
    joined = facts.filter("paid_at is not null").join(columns, "order_id")
    return _rows(
        joined,
        code=F.lit(BEHAVIOURS["pay"]),
        at="paid_at",
        zone=zone,
        sku=F.col("sku_id"),
        order_key=key_of("order_id"),
        quantity=F.col("quantity"),
        list_amount=F.greatest(F.col("line_list"), F.col("net_amount_minor")),
        amount=F.col("net_amount_minor"),
        on_promotion=F.col("order_on_promotion")
        | F.col("line_promotion_id").isNotNull()
        | (F.col("line_discount") > 0),
        detail=F.col("way_code"),
        void_day=F.col("void_day"),
        void_known_day=F.col("void_known_day"),
        flagged_day=F.col("flagged_day"),
        known_day=F.col("paid_known_day"),
    )


def refunded(refunds: DataFrame, flags: DataFrame, zone: str) -> DataFrame:
    """One ``refund`` row per refund on the day the money went back (cash view)."""
    return _rows(
        refunds.join(flags, "order_id", "left")
        .withColumn("seller_id", F.lit(None).cast("string"))
        .withColumn("channel", F.lit(None).cast("string")),
        code=F.lit(BEHAVIOURS["refund"]),
        at="refunded_at",
        zone=zone,
        sku=F.col("sku_id"),
        order_key=key_of("order_id"),
        quantity=F.col("quantity"),
        amount=F.col("refund_amount_minor"),
        flagged_day=F.col("flagged_day"),
        known_day=business_day(F.col("_ingested_at"), zone),
    )


def refunds_of_orders(facts: DataFrame, refunds: DataFrame, zone: str) -> DataFrame:
    """The same money on the day of its order (behaviour view); it counts from the day of the refund on.

    It is known once the refund and the payment are: money back without what was paid would make a net amount negative.
    """
    columns = refunds.filter("order_id is not null").select(
        "order_id",
        "sku_id",
        "refund_amount_minor",
        business_day(F.col("refunded_at"), zone).alias("refund_day"),
        business_day(F.col("_ingested_at"), zone).alias("refund_known_day"),
    )
    joined = facts.filter("paid_at is not null").join(columns, "order_id")
    return _rows(
        joined,
        code=F.lit(BEHAVIOURS["refund_of_order"]),
        at="paid_at",
        zone=zone,
        sku=F.col("sku_id"),
        order_key=key_of("order_id"),
        amount=F.col("refund_amount_minor"),
        on_promotion=F.col("order_on_promotion"),
        valid_from_day=F.greatest(F.col("paid_day"), F.col("refund_day")),
        void_day=F.col("void_day"),
        void_known_day=F.col("void_known_day"),
        flagged_day=F.col("flagged_day"),
        known_day=F.greatest("refund_known_day", "paid_known_day"),
    )


def declared(rows: DataFrame, c: Contract, flags: DataFrame, zone: str) -> DataFrame:
    """Rows of a feed whose contract alone says what they become, with ``uid`` (and ``peer_uid`` where it has peers)."""
    b = c.becomes
    assert b is not None and not b.by_rule

    def of(column: str | None) -> Column | None:
        return None if column is None else F.coalesce(F.col(column), F.lit(0))

    if b.order is not None:
        rows = rows.join(flags.withColumnRenamed("order_id", b.order), b.order, "left")
    for column in CODED.values():
        if column not in c.column_names:
            rows = rows.withColumn(column, F.lit(None).cast("string"))
    return _rows(
        rows,
        code=F.lit(BEHAVIOURS[c.behaviours[0]]) if b.column is None else _code(F.col(b.column), c.behaviours),
        at=c.event_time[0],
        zone=zone,
        sku=F.col("sku_id"),
        order_key=None if b.order is None else key_of(b.order),
        quantity=of(b.quantity),
        list_amount=of(b.list_amount),
        amount=of(b.amount),
        detail=_detail(c) if b.details else None,
        peer=F.coalesce(F.col("peer_uid"), F.lit(-1)) if c.peers else None,
        flagged_day=None if b.order is None else F.col("flagged_day"),
        known_day=business_day(F.col("_ingested_at"), zone),
    )


def _detail(c: Contract) -> Column:
    """The code of what more is known of a row of a feed, 0 for nothing."""
    b = c.becomes
    assert b is not None
    found = F.when(F.lit(False), F.lit(0))
    for d in b.details:
        is_of = F.lit(d.of == b.behaviour) if b.column is None else F.col(b.column) == d.of
        if d.named is not None:
            found = found.when(is_of & F.coalesce(F.col(d.column), F.lit(False)), F.lit(DETAILS[d.named]))
            continue
        for value in c.column(d.column).values:
            found = found.when(is_of & (F.col(d.column) == value), F.lit(DETAILS[value]))
    return found.otherwise(F.lit(0))


def shared(shares: DataFrame, zone: str) -> DataFrame:
    """Shares, and what people did through one, by the person who acted.

    An order through a share is the buyer's order already, so it gives no row here.
    """
    return _rows(
        shares.filter("behaviour <> 'order'").withColumn("seller_id", F.lit(None).cast("string")),
        code=_code(F.col("behaviour"), SHARED),
        at="occurred_at",
        zone=zone,
        sku=F.col("sku_id"),
        peer=F.coalesce(F.col("peer_uid"), F.lit(-1)),
        known_day=business_day(F.col("_ingested_at"), zone),
    )


SHARED = ("share", "share_open", "join_group", "register")
CREDITED: Mapping[str, str] = {
    "share_open": "share_opened",
    "join_group": "brought_join",
    "register": "brought_register",
    "order": "brought_order",
}


def credited(shares: DataFrame, order_days: DataFrame, zone: str) -> DataFrame:
    """The same events credited to the sharer; ``peer_uid`` is the person who acted. Self-invites are left out.

    An order through a share counts from the day it is paid until it is void; one that is not known as paid does not.
    """
    days = order_days.select(
        "order_id",
        "paid_day",
        F.col("void_day").alias("order_void_day"),
        F.col("void_known_day").alias("order_void_known_day"),
        F.col("flagged_day").alias("order_flagged_day"),
        F.col("paid_known_day").alias("order_known_day"),
    )
    credited_to = shares.filter("peer_uid is not null and uid is not null and peer_uid <> uid and behaviour <> 'share'")
    joined = credited_to.join(days, "order_id", "left").filter(
        "behaviour <> 'order' or order_id is null or paid_day is not null"
    )
    code = F.lit(0)
    for acted, mirrored in CREDITED.items():
        code = F.when(F.col("behaviour") == acted, F.lit(BEHAVIOURS[mirrored])).otherwise(code)
    swapped = (
        joined.withColumn("actor_uid", F.col("uid"))
        .withColumn("uid", F.col("peer_uid"))
        .withColumn("seller_id", F.lit(None).cast("string"))
    )
    is_order = F.col("behaviour") == "order"
    event_day = business_day(F.col("occurred_at"), zone)
    return _rows(
        swapped,
        code=code,
        at="occurred_at",
        zone=zone,
        sku=F.col("sku_id"),
        order_key=F.when(is_order, key_of("order_id")).otherwise(F.lit(0)),
        peer=F.col("actor_uid"),
        valid_from_day=F.when(is_order, F.greatest(event_day, F.col("paid_day"))).otherwise(event_day),
        void_day=F.when(is_order, F.col("order_void_day")),
        void_known_day=F.when(is_order, F.col("order_void_known_day")),
        flagged_day=F.when(is_order, F.col("order_flagged_day")),
        known_day=F.greatest(business_day(F.col("_ingested_at"), zone), F.when(is_order, F.col("order_known_day"))),
    )


def with_codes(rows: DataFrame, codes: DataFrame) -> DataFrame:
    """Rows with sku, seller and channel as the numbers of ``activity.codes`` (0 without one), in table columns."""
    out = rows
    for kind in CODED:
        of_kind = codes.filter(F.col("code_kind") == kind).select(
            F.col("code").alias(f"{kind}_code"), F.col("code_value").alias(f"{kind}_value")
        )
        out = out.join(of_kind, f"{kind}_value", "left").withColumn(
            f"{kind}_code", F.coalesce(F.col(f"{kind}_code"), F.lit(0))
        )
    return out.select(*(F.col(name).cast(kind).alias(name) for name, kind in COLUMNS))


def new_codes(values: DataFrame, codes: DataFrame) -> DataFrame:
    """Numbers for values (code_kind, code_value) that have none: after the greatest given, in order of the value."""
    known = codes.select("code_kind", "code_value", F.col("code").alias("given"))
    unknown = (
        values.filter("code_value is not null")
        .distinct()
        .join(known, ["code_kind", "code_value"], "left")
        .filter("given is null")
        .select("code_kind", "code_value")
    )
    last = codes.groupBy("code_kind").agg(F.max("code").alias("last_code"))
    order = Window.partitionBy("code_kind").orderBy("code_value")
    return (
        unknown.withColumn("n", F.row_number().over(order))
        .join(last, "code_kind", "left")
        .select(
            "code_kind",
            (F.col("n") + F.coalesce(F.col("last_code"), F.lit(0))).cast("int").alias("code"),
            "code_value",
        )
    )


def key_of(column: str) -> Column:
    """An order's id as the number that rows have of it; 0 without one."""
    return F.when(F.col(column).isNull(), F.lit(0).cast("bigint")).otherwise(number_of(column))


def _rows(
    df: DataFrame,
    *,
    code: Column,
    at: str,
    zone: str,
    known_day: Column,
    sku: Column | None = None,
    order_key: Column | None = None,
    quantity: Column | None = None,
    list_amount: Column | None = None,
    amount: Column | None = None,
    on_promotion: Column | None = None,
    detail: Column | None = None,
    peer: Column | None = None,
    valid_from_day: Column | None = None,
    void_day: Column | None = None,
    void_known_day: Column | None = None,
    flagged_day: Column | None = None,
) -> DataFrame:
    """Rows of the behaviours of ``code``, with sku, seller and channel still as text (``with_codes`` numbers them)."""
    day = business_day(F.col(at), zone)
    zero = F.lit(0).cast("bigint")
    return df.filter("uid is not null").select(
        bucket_of(F.col("uid")).alias("bucket"),
        F.col("event_month").alias("period"),
        F.col("uid").cast("bigint").alias("uid"),
        F.col(at).alias("occurred_at"),
        day.alias("day"),
        code.cast("int").alias("behaviour_code"),
        (sku if sku is not None else F.lit(None)).cast("string").alias("sku_value"),
        F.col("seller_id").alias("seller_value"),
        F.col("channel").alias("channel_value"),
        (order_key if order_key is not None else zero).cast("bigint").alias("order_key"),
        F.greatest(F.coalesce(quantity, zero) if quantity is not None else zero, zero).cast("bigint").alias("quantity"),
        (list_amount if list_amount is not None else zero).cast("bigint").alias("list_amount_minor"),
        (amount if amount is not None else zero).cast("bigint").alias("amount_minor"),
        (on_promotion if on_promotion is not None else F.lit(False)).cast("boolean").alias("on_promotion"),
        (detail if detail is not None else F.lit(0)).cast("int").alias("detail_code"),
        (peer if peer is not None else F.lit(-1)).cast("bigint").alias("peer_uid"),
        F.greatest(day, valid_from_day if valid_from_day is not None else day).alias("valid_from_day"),
        (void_day if void_day is not None else F.lit(None)).cast("date").alias("void_day"),
        (void_known_day if void_known_day is not None else F.lit(None)).cast("date").alias("void_known_day"),
        (flagged_day if flagged_day is not None else F.lit(None)).cast("date").alias("flagged_day"),
        known_day.alias("known_day"),
    )


def _code(said: Column, behaviours: Sequence[str]) -> Column:
    out = F.lit(0)
    for name in behaviours:
        out = F.when(said == name, F.lit(BEHAVIOURS[name])).otherwise(out)
    return out


def union_all(frames: Sequence[DataFrame]) -> DataFrame:
    """Frames of equal columns, one after the other."""
    out = frames[0]
    for f in frames[1:]:
        out = out.unionByName(f)
    return out
