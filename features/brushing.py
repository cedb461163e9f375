"""Brushing (刷单): signals of an order, its score from 0 to 1, and the reasons (definitions.md section 9).

Every signal of an order rests on rows up to the end of the business day on which it was paid, so that day is the day of
its flag and an older ``as_of`` never sees what came later. A signal whose data a source does not have is not there: it
fires for nobody. Frames in and out; ``keep`` is handed frames that are read several times.

Orders are rows of ``activity.paid_orders`` whose person is known, with ``day_number``, their paid day counted from 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from features.brushing_settings import (
    WEEK,
    BrushingSettings,
    OneSeller,
    QuickPay,
    Reciprocal,
    SharedKey,
)
from features.links import Keep

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.window import WindowSpec

NORMAL_FROM_MAD = 1.4826
"""The standard deviation of a normal distribution is so many times its median absolute deviation."""


KEYS = {"shared_device": "device_hash", "shared_address": "address_hash", "shared_ip": "ip_hash"}
ITEMS = ("sku_id", "category")
"""What has a usual price; the first that has one counts."""
SCALE = 10_000
"""Weights are summed in parts of this, so that the sum does not depend on how an engine adds floats."""


def held(
    orders: DataFrame,
    lines: Callable[[], DataFrame],
    sellers: DataFrame,
    volumes: DataFrame,
    settings: BrushingSettings,
    keep: Keep,
    least: float,
) -> DataFrame:
    """Orders with a signal and a score of ``least`` or more, with a column per signal that is on, ``score`` and ``reasons``.

    ``reasons`` are codes of ``SIGNALS``, by comma. ``lines`` gives order_id, sku_id, category,
    quantity, net_amount_minor, and is asked only where a price can decide.
    ``sellers``: order_id, seller_uid of sellers who are persons. ``volumes``: day_number, visit_rows of the site's log,
    one row a day; empty where there is no such feed.
    """
    on = settings.weights()
    if not on:
        return orders.limit(0).select("*", _score(on).alias("score"), _reasons(on).alias("reasons"))
    found = {name: fired for name, fired in _fired(orders, sellers, volumes, settings, keep).items() if name in on}
    fired = keep(_told(found, orders), "fired")
    if (rule := settings.price_outlier).weight:
        asked = orders.select("order_id")
        if rule.weight < least:
            asked = _signals(fired, on).filter(_parts(on) >= round((least - rule.weight) * SCALE)).select("order_id")
        asked = keep(asked, "asked")
        if not asked.isEmpty():
            odd = odd_prices(asked, orders, lines(), settings, keep)
            fired = fired.unionByName(odd.select("order_id", F.lit("price_outlier").alias("signal")))
    shown = _signals(fired, on).select("*", _score(on).alias("score"), _reasons(on).alias("reasons"))
    return orders.join(keep(shown.filter(F.col("score") >= least), "shown"), "order_id")


def _told(found: Mapping[str, DataFrame], orders: DataFrame) -> DataFrame:
    """A row an order and signal: a signal is seen by few, so each is found on the columns that it needs."""
    none = orders.limit(0).select("order_id", F.lit("").alias("signal"))
    told = [frame.select("order_id", F.lit(name).alias("signal")) for name, frame in found.items()]
    return reduce(lambda a, b: a.unionByName(b), told, none)


def _signals(fired: DataFrame, on: Mapping[str, float]) -> DataFrame:
    """Orders with a signal, and a column a signal that is on."""
    return fired.groupBy("order_id").agg(*(F.max(F.col("signal") == name).alias(name) for name in on))


def _fired(
    orders: DataFrame, sellers: DataFrame, volumes: DataFrame, settings: BrushingSettings, keep: Keep
) -> dict[str, DataFrame]:
    """By signal, a row an order for which it fires: order_id. Prices, which read lines, are left to the caller."""
    found = _shared_keys(orders, settings, keep)
    found["quick_pay"] = orders.filter(_quick_pay(settings.quick_pay))
    if settings.one_seller.weight or settings.reciprocal.weight:
        totals = _totals(orders, settings, keep)
        found["one_seller"] = totals.filter(_one_seller(settings.one_seller))
        of_pairs = totals.filter(_reciprocal(settings.reciprocal)).select("order_id")
        found["reciprocal"] = of_pairs.unionByName(_mutual(orders, sellers, settings.history_days, keep))
    if settings.no_browse.weight:
        found["no_browse"] = _without_visit(orders, volumes, settings)
    return found


def _parts(weights: Mapping[str, float]) -> Column:
    parts = [F.when(F.col(n), F.lit(round(w * SCALE))).otherwise(F.lit(0)) for n, w in weights.items()]
    return reduce(lambda a, b: a + b, parts, F.lit(0))


def _score(weights: Mapping[str, float]) -> Column:
    return F.least(_parts(weights), F.lit(SCALE)).cast("double") / F.lit(float(SCALE))


def _reasons(weights: Mapping[str, float]) -> Column:
    return F.concat_ws(",", *(F.when(F.col(n), F.lit(n)) for n in weights))


def trailing(days: int, *keys: str) -> WindowSpec:
    """The ``days`` up to a row's day, all rows of that day included."""
    return Window.partitionBy(*keys).orderBy("day_number").rangeBetween(1 - days, 0)


# --- bursts ---


def _shared_keys(orders: DataFrame, settings: BrushingSettings, keep: Keep) -> dict[str, DataFrame]:
    """By signal that is on, orders with enough different buyers on their key within the days: order_id."""
    rules = {name: rule for name in KEYS if (rule := getattr(settings, name)).weight}
    if not rules:
        return {}
    crowded = keep(reduce(lambda a, b: a.unionByName(b), (_crowded(orders, n, r) for n, r in rules.items())), "crowded")
    found = {}
    for name in rules:
        keyed = orders.select("order_id", F.col(KEYS[name]).alias("shared"), "day_number")
        of_signal = crowded.filter(F.col("signal") == name).select("shared", "day_number")
        found[name] = keyed.join(of_signal, ["shared", "day_number"], "left_semi")
    return found


def _crowded(orders: DataFrame, name: str, rule: SharedKey) -> DataFrame:
    """Keys and days with enough different buyers: signal, shared, day_number."""
    key = F.col(KEYS[name])
    used = orders.filter(key.isNotNull()).select(key.alias("shared"), "uid", "day_number").distinct()
    if rule.days > 1:
        later = F.explode(F.expr(f"sequence(0, {rule.days - 1})"))
        used = used.withColumn("later", later).withColumn("day_number", F.col("day_number") + F.col("later"))
    buyers = used.groupBy("shared", "day_number").agg(F.count_distinct("uid").alias("buyers"))
    enough = buyers.filter(F.col("buyers") >= rule.buyers)
    return enough.select(F.lit(name).alias("signal"), "shared", "day_number")


# --- sellers ---


def _totals(orders: DataFrame, settings: BrushingSettings, keep: Keep) -> DataFrame:
    """Orders whose seller is named, with those of the buyer, of the pair, of the seller and of the whole shop in the history.

    Only orders that their buyer's and their pair's numbers alone do not clear.
    """
    days, one, both = settings.history_days, settings.one_seller, settings.reciprocal
    named = orders.filter("seller_id is not null").select("order_id", "uid", "seller_id", "day_number")
    # Who bought often enough from one seller within two neighbouring spans of the window's length: few, found by one sum.
    span = F.floor(F.col("day_number") / days)
    of_span = named.groupBy("uid", "seller_id", span.alias("span")).agg(F.count(F.lit(1)).alias("orders"))
    late = of_span.withColumn("span", F.col("span") + 1)
    often = (
        of_span.unionByName(late)
        .groupBy("uid", "seller_id", "span")
        .agg(F.sum("orders").alias("orders"))
        .filter(F.col("orders") >= min(one.orders, both.orders))
    )
    counted = (
        named.join(keep(often.select("uid").distinct(), "often"), "uid", "left_semi")
        .withColumn("buyer_orders", F.count(F.lit(1)).over(trailing(days, "uid")))
        .withColumn("pair_orders", F.count(F.lit(1)).over(trailing(days, "uid", "seller_id")))
    )
    suspects = keep(counted.filter(_all_of_one(one) | _mostly_of_one(both)), "suspects")
    shop = named.groupBy("day_number").agg(F.count(F.lit(1)).alias("orders_of_day"))
    of_shop = shop.withColumn("whole", F.lit(1)).select(
        "day_number", F.sum("orders_of_day").over(trailing(days, "whole")).alias("shop_orders")
    )
    seller = (
        named.join(suspects.select("seller_id").distinct(), "seller_id", "left_semi")
        .groupBy("seller_id", "day_number")
        .agg(F.count(F.lit(1)).alias("orders_of_day"))
    )
    of_seller = seller.select(
        "seller_id", "day_number", F.sum("orders_of_day").over(trailing(days, "seller_id")).alias("seller_orders")
    )
    return keep(suspects.join(of_seller, ["seller_id", "day_number"]).join(of_shop, ["day_number"]), "totals")


def _all_of_one(rule: OneSeller) -> Column:
    return (F.col("buyer_orders") >= rule.orders) & (F.col("pair_orders") == F.col("buyer_orders"))


def _mostly_of_one(rule: Reciprocal) -> Column:
    return (F.col("pair_orders") >= rule.orders) & (
        F.col("pair_orders") >= F.col("buyer_orders") * F.lit(rule.of_buyer)
    )


def _one_seller(rule: OneSeller) -> Column:
    return _all_of_one(rule) & (F.col("seller_orders") <= F.col("shop_orders") * F.lit(rule.largest_share))


def _reciprocal(rule: Reciprocal) -> Column:
    """Of the pair; of the two who bought from each other ``_mutual`` knows."""
    return (
        _mostly_of_one(rule)
        & (F.col("pair_orders") >= F.col("seller_orders") * F.lit(rule.of_seller))
        # a shop with one seller only would see its best customers here
        & (F.col("seller_orders") < F.col("shop_orders"))
    )


def _mutual(orders: DataFrame, sellers: DataFrame, days: int, keep: Keep) -> DataFrame:
    """Orders whose seller is a person who bought from the buyer in the history: order_id."""
    sold = orders.select("order_id", "uid", "day_number").join(sellers, "order_id").filter("seller_uid <> uid")
    one = keep(sold, "sold_by_persons")
    other = one.select(
        F.col("seller_uid").alias("uid"), F.col("uid").alias("seller_uid"), F.col("day_number").alias("other_day")
    ).distinct()
    near = (F.col("other_day") <= F.col("day_number")) & (F.col("other_day") > F.col("day_number") - days)
    both = one.join(other, ["uid", "seller_uid"]).filter(near)
    return both.select("order_id").distinct()


# --- visits ---


def visited(orders: DataFrame, visits: DataFrame, days: int) -> DataFrame:
    """Orders whose person came by in the ``days`` up to the payment: order_id, once each.

    ``orders``: order_id, uid, paid_at, day_number. ``visits``: uid, visit_day (as ``day_number``), first_at.
    """
    before = (
        (F.col("visit_day") <= F.col("day_number"))
        & (F.col("visit_day") > F.col("day_number") - days)
        & (F.col("first_at") <= F.col("paid_at"))
    )
    asked = orders.select("order_id", "uid", "paid_at", "day_number")
    return asked.join(visits, "uid").filter(before).select("order_id").distinct()


def _without_visit(orders: DataFrame, volumes: DataFrame, settings: BrushingSettings) -> DataFrame:
    """Orders of named persons paid without a visit before, where most of the channel's had one and the day's log is whole: order_id."""
    days, rule = settings.history_days, settings.no_browse
    known = orders.filter("names_person").select(
        "order_id", "day_number", "is_visited", F.coalesce("channel", F.lit("")).alias("by_channel")
    )
    of_day = known.groupBy("by_channel", "day_number").agg(
        F.count(F.lit(1)).alias("orders_of_day"),
        F.sum(F.when(F.col("is_visited"), 1).otherwise(0)).alias("visited_of_day"),
    )
    by_channel = trailing(days, "by_channel")
    channels = of_day.select(
        "by_channel",
        "day_number",
        F.sum("orders_of_day").over(by_channel).alias("channel_orders"),
        F.sum("visited_of_day").over(by_channel).alias("channel_visited"),
    )
    whole = trailing(days, "whole")
    usual = volumes.withColumn("whole", F.lit(1)).select(
        "day_number",
        "visit_rows",
        F.sum("visit_rows").over(whole).alias("rows_of_history"),
        F.count(F.lit(1)).over(whole).alias("days_of_history"),
    )
    logged = F.col("visit_rows") * F.col("days_of_history") >= F.col("rows_of_history") * F.lit(rule.volume)
    covered = F.col("channel_visited") >= F.col("channel_orders") * F.lit(rule.coverage)
    unseen = known.filter("not is_visited").join(channels, ["by_channel", "day_number"]).join(usual, "day_number")
    return unseen.filter(covered & logged).select("order_id")


def _quick_pay(rule: QuickPay) -> Column:
    waited = F.unix_micros("paid_at") - F.unix_micros("ordered_at")
    return F.coalesce((waited > 0) & (waited <= rule.seconds * 1_000_000), F.lit(False))


# --- prices ---


def odd_prices(
    asked: DataFrame, orders: DataFrame, lines: DataFrame, settings: BrushingSettings, keep: Keep
) -> DataFrame:
    """Of the orders ``asked`` for (order_id) those with most of their money in lines far from the usual price: order_id."""
    rule, weeks = settings.price_outlier, settings.history_days // WEEK
    priced = (
        lines.filter("quantity > 0 and net_amount_minor > 0")
        .join(orders.select("order_id", "day_number"), "order_id")
        .select(
            "order_id",
            "sku_id",
            "category",
            (F.col("day_number") - F.pmod(F.col("day_number") + F.lit(3), F.lit(WEEK))).alias("monday"),
            "net_amount_minor",
            F.floor(F.col("net_amount_minor") / F.col("quantity")).cast("bigint").alias("unit_minor"),
        )
    )
    sold = keep(priced, "priced")
    wanted = keep(sold.join(asked, "order_id", "left_semi"), "wanted")
    usual_ones = keep(_usual(_items(sold), _items(wanted), weeks, rule.lines, keep), "usual-prices")
    joined = wanted
    for item in ITEMS:
        of_item = usual_ones.filter(F.col("kind") == item).select(
            F.col("item").alias(item),
            "monday",
            F.col("usual").alias(f"usual_of_{item}"),
            F.col("mad").alias(f"mad_of_{item}"),
        )
        joined = joined.join(of_item, [item, "monday"], "left")
    usual = F.coalesce(*(F.col(f"usual_of_{item}") for item in ITEMS))
    mad = F.when(F.col("usual_of_sku_id").isNotNull(), F.col("mad_of_sku_id")).otherwise(F.col("mad_of_category"))
    spread = F.greatest(mad * F.lit(NORMAL_FROM_MAD), usual * F.lit(rule.least_spread))
    far = F.abs(F.col("unit_minor") - usual) >= spread * F.lit(rule.deviations)
    sums = joined.groupBy("order_id").agg(
        F.sum("net_amount_minor").alias("whole_minor"),
        F.sum(F.when(far, F.col("net_amount_minor")).otherwise(F.lit(0))).alias("far_minor"),
    )
    most = (F.col("far_minor") > 0) & (F.col("far_minor") >= F.col("whole_minor") * F.lit(rule.money_share))
    return sums.filter(most).select("order_id")


def _items(lines: DataFrame) -> DataFrame:
    """Lines as of their sku and as of their category: kind, item, monday, unit_minor."""
    parts = [
        lines.filter(F.col(item).isNotNull()).select(
            F.lit(item).alias("kind"), F.col(item).alias("item"), "monday", "unit_minor"
        )
        for item in ITEMS
    ]
    return reduce(lambda a, b: a.unionByName(b), parts)


def _usual(sold: DataFrame, wanted: DataFrame, weeks: int, lines: int, keep: Keep) -> DataFrame:
    """Median and MAD of unit prices of the items and weeks ``wanted``, over the ``weeks`` whole weeks before each.

    Prices repeat, so that counted prices are far fewer than lines; medians are the lower ones, whole minor units.
    """
    by = ["kind", "item", "monday"]
    asked = wanted.select(*by).distinct()
    counted = (
        sold.join(asked.select("kind", "item").distinct(), ["kind", "item"], "left_semi")
        .groupBy(*by, "unit_minor")
        .agg(F.count(F.lit(1)).alias("lines"))
        .withColumn("later", F.explode(F.expr(f"sequence(1, {weeks})")))
        .withColumn("monday", F.col("monday") + F.col("later") * WEEK)
        .join(asked, by, "left_semi")
        .groupBy(*by, "unit_minor")
        .agg(F.sum("lines").alias("lines"))
    )
    counted = keep(counted, "counted-prices")
    # most skus are sold too seldom to have a usual price: only the others are sorted
    often = counted.groupBy(*by).agg(F.sum("lines").alias("all_lines")).filter(F.col("all_lines") >= lines)
    points = counted.join(often, by)
    usual = keep(_median(points, by, "unit_minor", "usual"), "usual")
    apart = (
        points.join(usual, by)
        .withColumn("apart", F.abs(F.col("unit_minor") - F.col("usual")))
        .groupBy(*by, "all_lines", "apart")
        .agg(F.sum("lines").alias("lines"))
    )
    return usual.join(_median(apart, by, "apart", "mad"), by)


def _median(points: DataFrame, by: list[str], value: str, name: str) -> DataFrame:
    """The lower median of a value that stands ``lines`` of ``all_lines`` times: ``by`` and ``name``."""
    running = Window.partitionBy(*by).orderBy(value).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    reached = points.select(*by, value, "all_lines", F.sum("lines").over(running).alias("lines_up_to"))
    upper = reached.filter(F.col("lines_up_to") * 2 >= F.col("all_lines"))
    return upper.groupBy(*by).agg(F.min(value).alias(name))
