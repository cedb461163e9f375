"""Brushing (刷单): signals of an order, its score from 0 to 1, and the reasons (definitions.md section 9).

Every signal of an order rests on rows up to the end of the business day on which it was paid, so that day is the day of
its flag and an older ``as_of`` never sees what came later. A signal whose data a source does not have is not there: it
fires for nobody. Frames in and out; ``keep`` is handed frames that are read several times.

Orders are one row per paid order in columns ``order_id, event_month, uid, names_person, ordered_at, paid_at, paid_day,
day_number, seller_id, seller_uid, channel, device_id, address_key, ip_key``; ``day_number`` counts paid days from 1970.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pydantic import Field
from pyspark.sql import Window
from pyspark.sql import functions as F

from features.links import Keep
from schemas.configuration import Settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.window import WindowSpec

WEEK = 7
NORMAL_FROM_MAD = 1.4826
"""The standard deviation of a normal distribution is so many times its median absolute deviation."""


class Signal(Settings):
    """``weight`` is what the signal adds to the score; 0 switches it off."""

    weight: float = Field(ge=0, le=1)


class SharedKey(Signal):
    """At least ``buyers`` different persons paid with the same key within ``days`` business days, the paid day the last."""

    buyers: int = Field(ge=2)
    days: int = Field(default=1, ge=1, le=31)


class SharedDevice(SharedKey):
    weight: float = Field(default=0.35, ge=0, le=1)
    buyers: int = Field(default=3, ge=2)


class SharedAddress(SharedKey):
    weight: float = Field(default=0.35, ge=0, le=1)
    buyers: int = Field(default=4, ge=2)


class SharedIp(SharedKey):
    weight: float = Field(default=0.15, ge=0, le=1)
    buyers: int = Field(default=5, ge=2)


class OneSeller(Signal):
    """At least ``orders`` orders within the history, all from one seller that has not most of the shop's orders."""

    weight: float = Field(default=0.1, ge=0, le=1)
    orders: int = Field(default=3, ge=2)
    largest_share: float = Field(default=0.5, gt=0, le=1)


class NoBrowse(Signal):
    """No visit of the person in the ``days`` up to the payment, while others of the same channel do leave visits.

    It holds only where at least ``coverage`` of the channel's orders of the history have a visit before them, and on
    days with at least ``volume`` of the usual number of visits (a day whose file is missing accuses nobody).
    """

    weight: float = Field(default=0.3, ge=0, le=1)
    days: int = Field(default=7, ge=1, le=31)
    coverage: float = Field(default=0.5, gt=0, le=1)
    volume: float = Field(default=0.2, gt=0, le=1)


class QuickPay(Signal):
    """Paid within ``seconds`` of being placed. Equal stamps are no evidence: the source has one time for both."""

    weight: float = Field(default=0.25, ge=0, le=1)
    seconds: int = Field(default=10, ge=1)


class PriceOutlier(Signal):
    """``money_share`` of the order's money at unit prices ``deviations`` robust standard deviations from the usual ones.

    Usual, of the sku or else of its category, is the median of the whole weeks of the history before the paid day's week, with at least ``lines`` lines;
    the deviation is 1.4826 x MAD, at least ``least_spread`` of the median.
    """

    weight: float = Field(default=0.15, ge=0, le=1)
    deviations: float = Field(default=6, gt=0)
    lines: int = Field(default=10, ge=3)
    least_spread: float = Field(default=0.1, gt=0, le=1)
    money_share: float = Field(default=0.5, gt=0, le=1)


class Reciprocal(Signal):
    """Buyer and seller depend on each other: at least ``orders`` orders of the pair, ``of_seller`` of the seller's and
    ``of_buyer`` of the buyer's orders in the history; or each of the two bought from the other within it.
    """

    weight: float = Field(default=0.3, ge=0, le=1)
    orders: int = Field(default=5, ge=2)
    of_seller: float = Field(default=0.5, gt=0, le=1)
    of_buyer: float = Field(default=0.8, gt=0, le=1)


class BrushingSettings(Settings):
    """``methods/brushing.yaml``. An order is held from ``threshold`` on; the score is the sum of weights, at most 1.

    ``history_days`` is the trailing window of signals over several days. Orders paid more than ``payment_days`` after
    they were placed are not judged.
    """

    threshold: float = Field(default=0.6, gt=0, le=1)
    history_days: int = Field(default=28, ge=WEEK, le=92)
    payment_days: int = Field(default=7, ge=1, le=31)
    shared_device: SharedDevice = SharedDevice()
    shared_address: SharedAddress = SharedAddress()
    shared_ip: SharedIp = SharedIp()
    one_seller: OneSeller = OneSeller()
    no_browse: NoBrowse = NoBrowse()
    quick_pay: QuickPay = QuickPay()
    price_outlier: PriceOutlier = PriceOutlier()
    reciprocal: Reciprocal = Reciprocal()

    @property
    def reach_days(self) -> int:
        """Days after a row on which it may still be evidence; as many before a day are all that is looked at."""
        return self.history_days + max(WEEK, self.no_browse.days, self.shared_longest)

    @property
    def shared_longest(self) -> int:
        return max(self.shared_device.days, self.shared_address.days, self.shared_ip.days)

    def weights(self) -> dict[str, float]:
        """Signals that are on, in the order in which reasons are written."""
        found = {name: getattr(self, name).weight for name in SIGNALS}
        return {name: weight for name, weight in found.items() if weight > 0}


SIGNALS: tuple[str, ...] = (
    "shared_device", "shared_address", "shared_ip", "one_seller", "no_browse", "quick_pay", "price_outlier", "reciprocal",
)  # fmt: skip
KEYS = {"shared_device": "device_id", "shared_address": "address_key", "shared_ip": "ip_key"}


def scored(orders: DataFrame, lines: DataFrame, visits: DataFrame, settings: BrushingSettings, keep: Keep) -> DataFrame:
    """Every order with a column per signal that is on, ``score`` and ``reasons`` (codes of ``SIGNALS``, by comma).

    ``lines``: order_id, sku_id, category, quantity, net_amount_minor. ``visits``: uid, day_number, first_at,
    visit_rows, one row per person and day with browsing on it; empty where there is no such feed.
    """
    on = settings.weights()
    if not on:
        return orders.select("*", _score(on).alias("score"), _reasons(on).alias("reasons"))
    # A signal is seen by few orders: each is found on the columns that it needs, and orders meet them once.
    fired = [
        found.select("order_id", F.lit(name).alias("signal"))
        for name, found in _fired(orders, lines, visits, settings, keep).items()
        if name in on
    ]
    by_order = reduce(lambda a, b: a.unionByName(b), fired).groupBy("order_id")
    signals = keep(by_order.agg(*(F.max(F.col("signal") == n).alias(n) for n in on)), "signals")
    judged = orders.join(signals, "order_id", "left")
    judged = judged.select(*orders.columns, *(F.coalesce(F.col(n), F.lit(False)).alias(n) for n in on))
    return judged.select("*", _score(on).alias("score"), _reasons(on).alias("reasons"))


def _fired(
    orders: DataFrame, lines: DataFrame, visits: DataFrame, settings: BrushingSettings, keep: Keep
) -> dict[str, DataFrame]:
    """By signal, a row an order for which it fires: order_id; only those that are on are computed."""
    found = {name: _shared_key(orders, name, key, getattr(settings, name)) for name, key in KEYS.items()}
    found["quick_pay"] = orders.filter(_quick_pay(settings.quick_pay))
    if settings.one_seller.weight or settings.reciprocal.weight:
        totals = keep(_totals(orders, settings.history_days), "totals")
        found["one_seller"] = totals.filter(_one_seller(settings.one_seller))
        of_pairs = totals.filter(_reciprocal(settings.reciprocal)).select("order_id")
        found["reciprocal"] = of_pairs.unionByName(_mutual(orders, settings.history_days))
    if settings.no_browse.weight:
        found["no_browse"] = _without_visit(orders, visits, settings, keep)
    if settings.price_outlier.weight:
        found["price_outlier"] = odd_prices(orders, lines, settings, keep)
    return found


def _score(weights: dict[str, float]) -> Column:
    """Summed in ten-thousandths, so that the sum does not depend on how an engine adds floats."""
    parts = [F.when(F.col(n), F.lit(round(w * 10_000))).otherwise(F.lit(0)) for n, w in weights.items()]
    total = reduce(lambda a, b: a + b, parts, F.lit(0))
    return F.least(total, F.lit(10_000)).cast("double") / F.lit(10_000.0)


def _reasons(weights: dict[str, float]) -> Column:
    return F.concat_ws(",", *(F.when(F.col(n), F.lit(n)) for n in weights))


def trailing(days: int, *keys: str) -> WindowSpec:
    """The ``days`` up to a row's day, all rows of that day included."""
    return Window.partitionBy(*keys).orderBy("day_number").rangeBetween(1 - days, 0)


# --- bursts ---


def _shared_key(orders: DataFrame, name: str, key: str, rule: SharedKey) -> DataFrame:
    """Orders with enough different buyers on their key within the days: order_id."""
    used = orders.filter(F.col(key).isNotNull()).select(key, "uid", "day_number").distinct()
    if rule.days > 1:
        later = F.explode(F.expr(f"sequence(0, {rule.days - 1})"))
        used = used.withColumn("later", later).withColumn("day_number", F.col("day_number") + F.col("later"))
    crowded = (
        used.groupBy(key, "day_number")
        .agg(F.count_distinct("uid").alias("buyers"))
        .filter(F.col("buyers") >= rule.buyers)
    )
    return orders.select("order_id", key, "day_number").join(crowded, [key, "day_number"], "left_semi")


# --- sellers ---


def _totals(orders: DataFrame, days: int) -> DataFrame:
    """Orders whose seller is named, with those of the buyer, of the pair, of the seller and of the whole shop in the history."""
    named = orders.filter("seller_id is not null").select("order_id", "uid", "seller_id", "day_number")
    seller = named.groupBy("seller_id", "day_number").agg(F.count(F.lit(1)).alias("orders_of_day"))
    shop = seller.groupBy("day_number").agg(F.sum("orders_of_day").alias("orders_of_day"))
    of_seller = seller.select(
        "seller_id", "day_number", F.sum("orders_of_day").over(trailing(days, "seller_id")).alias("seller_orders")
    )
    of_shop = shop.withColumn("whole", F.lit(1)).select(
        "day_number", F.sum("orders_of_day").over(trailing(days, "whole")).alias("shop_orders")
    )
    return (
        named.withColumn("buyer_orders", F.count(F.lit(1)).over(trailing(days, "uid")))
        .withColumn("pair_orders", F.count(F.lit(1)).over(trailing(days, "uid", "seller_id")))
        .join(of_seller, ["seller_id", "day_number"])
        .join(of_shop, ["day_number"])
    )


def _one_seller(rule: OneSeller) -> Column:
    return (
        (F.col("buyer_orders") >= rule.orders)
        # all of them this seller's
        & (F.col("pair_orders") == F.col("buyer_orders"))
        & (F.col("seller_orders") <= F.col("shop_orders") * F.lit(rule.largest_share))
    )


def _reciprocal(rule: Reciprocal) -> Column:
    """Of the pair; of the two who bought from each other ``_mutual`` knows."""
    return (
        (F.col("pair_orders") >= rule.orders)
        & (F.col("pair_orders") >= F.col("seller_orders") * F.lit(rule.of_seller))
        & (F.col("pair_orders") >= F.col("buyer_orders") * F.lit(rule.of_buyer))
        # a shop with one seller only would see its best customers here
        & (F.col("seller_orders") < F.col("shop_orders"))
    )


def _mutual(orders: DataFrame, days: int) -> DataFrame:
    """Orders whose seller is a person who bought from the buyer in the history: order_id."""
    sold = orders.filter("seller_uid is not null and seller_uid <> uid")
    one = sold.select("order_id", "uid", "seller_uid", "day_number")
    other = sold.select(
        F.col("seller_uid").alias("uid"), F.col("uid").alias("seller_uid"), F.col("day_number").alias("other_day")
    ).distinct()
    near = (F.col("other_day") <= F.col("day_number")) & (F.col("other_day") > F.col("day_number") - days)
    both = one.join(other, ["uid", "seller_uid"]).filter(near)
    return both.select("order_id").distinct()


# --- visits ---


def _without_visit(orders: DataFrame, visits: DataFrame, settings: BrushingSettings, keep: Keep) -> DataFrame:
    """Orders of named persons paid without a visit before, where most of the channel's had one and the day's log is whole: order_id."""
    days = settings.history_days
    seen = visits.select("uid", F.col("day_number").alias("visit_day"), "first_at")
    before = (
        (F.col("visit_day") <= F.col("day_number"))
        & (F.col("visit_day") > F.col("day_number") - settings.no_browse.days)
        & (F.col("first_at") <= F.col("paid_at"))
    )
    asked = orders.filter("names_person").select(
        "order_id", "uid", "day_number", "paid_at", F.coalesce("channel", F.lit("")).alias("by_channel")
    )
    visited = asked.join(seen, "uid").filter(before).select("order_id").distinct().withColumn("visited", F.lit(True))
    known = keep(asked.join(visited, "order_id", "left"), "visited")
    of_day = known.groupBy("by_channel", "day_number").agg(
        F.count(F.lit(1)).alias("orders_of_day"), F.count("visited").alias("visited_of_day")
    )
    by_channel = trailing(days, "by_channel")
    channels = of_day.select(
        "by_channel",
        "day_number",
        F.sum("orders_of_day").over(by_channel).alias("channel_orders"),
        F.sum("visited_of_day").over(by_channel).alias("channel_visited"),
    )
    volumes = visits.groupBy("day_number").agg(F.sum("visit_rows").alias("rows_of_day")).withColumn("whole", F.lit(1))
    usual = volumes.select(
        "day_number",
        "rows_of_day",
        F.sum("rows_of_day").over(trailing(days, "whole")).alias("rows_of_history"),
        F.count(F.lit(1)).over(trailing(days, "whole")).alias("days_of_history"),
    )
    logged = F.col("rows_of_day") * F.col("days_of_history") >= F.col("rows_of_history") * F.lit(
        settings.no_browse.volume
    )
    covered = F.col("channel_visited") >= F.col("channel_orders") * F.lit(settings.no_browse.coverage)
    unseen = known.filter("visited is null").join(channels, ["by_channel", "day_number"]).join(usual, "day_number")
    return unseen.filter(covered & logged).select("order_id")


def _quick_pay(rule: QuickPay) -> Column:
    waited = F.unix_micros("paid_at") - F.unix_micros("ordered_at")
    return F.coalesce((waited > 0) & (waited <= rule.seconds * 1_000_000), F.lit(False))


# --- prices ---


def odd_prices(orders: DataFrame, lines: DataFrame, settings: BrushingSettings, keep: Keep) -> DataFrame:
    """Orders with most of their money in lines whose unit price is far from the usual one: order_id."""
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
    by_sku, by_category = (_usual(sold, key, weeks, rule.lines, keep) for key in ("sku_id", "category"))
    joined = sold.join(by_sku, ["sku_id", "monday"], "left").join(by_category, ["category", "monday"], "left")
    usual = F.coalesce(F.col("usual_of_sku_id"), F.col("usual_of_category"))
    mad = F.when(F.col("usual_of_sku_id").isNotNull(), F.col("mad_of_sku_id")).otherwise(F.col("mad_of_category"))
    spread = F.greatest(mad * F.lit(NORMAL_FROM_MAD), usual * F.lit(rule.least_spread))
    far = F.abs(F.col("unit_minor") - usual) >= spread * F.lit(rule.deviations)
    sums = joined.groupBy("order_id").agg(
        F.sum("net_amount_minor").alias("whole_minor"),
        F.sum(F.when(far, F.col("net_amount_minor")).otherwise(F.lit(0))).alias("far_minor"),
    )
    most = (F.col("far_minor") > 0) & (F.col("far_minor") >= F.col("whole_minor") * F.lit(rule.money_share))
    return sums.filter(most).select("order_id")


def _usual(sold: DataFrame, key: str, weeks: int, lines: int, keep: Keep) -> DataFrame:
    """Median and MAD of unit prices by ``key`` and week, over the ``weeks`` whole weeks before it.

    Prices repeat, so that counted prices are far fewer than lines; medians are the lower ones, whole minor units.
    """
    by = [key, "monday"]
    counted = (
        sold.filter(F.col(key).isNotNull())
        .groupBy(*by, "unit_minor")
        .agg(F.count(F.lit(1)).alias("lines"))
        .withColumn("later", F.explode(F.expr(f"sequence(1, {weeks})")))
        .withColumn("monday", F.col("monday") + F.col("later") * WEEK)
        .groupBy(*by, "unit_minor")
        .agg(F.sum("lines").alias("lines"))
    )
    counted = keep(counted, f"counted_{key}")
    # most skus are sold too seldom to have a usual price: only the others are sorted
    often = counted.groupBy(*by).agg(F.sum("lines").alias("all_lines")).filter(F.col("all_lines") >= lines)
    points = keep(counted.join(often, by), f"points_{key}")
    usual = keep(_median(points, by, "unit_minor", f"usual_of_{key}"), f"usual_{key}")
    apart = (
        points.join(usual, by)
        .withColumn("apart", F.abs(F.col("unit_minor") - F.col(f"usual_of_{key}")))
        .groupBy(*by, "all_lines", "apart")
        .agg(F.sum("lines").alias("lines"))
    )
    return usual.join(_median(apart, by, "apart", f"mad_of_{key}"), by)


def _median(points: DataFrame, by: list[str], value: str, name: str) -> DataFrame:
    """The lower median of a value that stands ``lines`` of ``all_lines`` times: ``by`` and ``name``."""
    running = Window.partitionBy(*by).orderBy(value).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    reached = points.select(*by, value, "all_lines", F.sum("lines").over(running).alias("lines_up_to"))
    upper = reached.filter(F.col("lines_up_to") * 2 >= F.col("all_lines"))
    return upper.groupBy(*by).agg(F.min(value).alias(name))
