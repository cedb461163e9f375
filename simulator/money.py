"""What is bought, for how much: lines, offers taken, coupons got and used, refunds. Money is in fen (1/100 yuan)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.ids import numbered
from simulator.orders import Orders
from simulator.people import Ints, People
from simulator.products import Assortment, choose
from simulator.season import DAY_MS, NEVER, Season, stream

TAKES_AN_OFFER = np.array([0.95, 0.75, 0.40, 0.10])  # by sensitivity class
USES_A_COUPON = np.array([0.50, 0.28, 0.10, 0.02])
GETS_UNUSED = np.array([4.0, 1.5, 0.5, 0.1])  # coupons got and never used, per 180 days
COUPONS = ((9_900, 1_000), (19_900, 2_000), (39_900, 5_000), (99_900, 12_000))
"""(from this subtotal, face value)"""
FREIGHT, FREE_FROM = 800, 9_900
REASONS = ("七天无理由", "质量问题", "发错货", "与描述不符", "不想要了")
CAMPAIGNS = 6


@dataclass(frozen=True)
class Lines:
    """Arrays by order line, in the order of the orders. ``promotion`` is an index into the season's, -1 without one."""

    order: Ints
    product: Ints
    quantity: Ints
    list_amount: Ints
    discount: Ints
    net: Ints
    promotion: Ints


@dataclass(frozen=True)
class Coupons:
    """Arrays by coupon. ``order`` is -1 while unused; coupons are got by the account that uses them."""

    coupon_ids: pa.StringArray
    account: Ints
    got: Ints
    campaign: Ints
    face: Ints
    order: Ints


@dataclass(frozen=True)
class Refunds:
    """Arrays by refund, in order of time. ``line`` is -1 for refunds of a whole order."""

    refund_ids: pa.StringArray
    order: Ints
    line: Ints
    quantity: Ints
    refunded: Ints
    amount: Ints
    reason: Ints
    whole: NDArray[np.bool_]


@dataclass(frozen=True)
class Baskets:
    """All that money makes of the orders; ``coupon`` and ``freight`` are by order."""

    lines: Lines
    coupons: Coupons
    refunds: Refunds
    coupon: Ints
    freight: Ints
    net: Ints


def _lines(
    rng: np.random.Generator, season: Season, people: People, products: Assortment, orders: Orders
) -> tuple[Lines, Ints]:
    """Lines before coupons, and the wall time of each line's order."""
    brushed = orders.brushed >= 0
    count = np.where(brushed, 1, 1 + np.minimum(rng.poisson(0.6, len(orders)), 4))
    order = np.repeat(np.arange(len(orders)), count)
    person, wall = orders.person[order], orders.ordered[order]
    product = choose(rng, products, people.favourite[person], people.brand[person], wall)
    quantity = np.where(rng.random(len(order)) < 0.85, 1, rng.integers(2, 5, len(order)))
    # the same product twice in one order, as two equal lines: legitimate, and no duplicate
    again = np.flatnonzero((order[1:] == order[:-1]) & (rng.random(max(len(order) - 1, 0)) < 0.02)) + 1
    product[again], quantity[again] = product[again - 1], quantity[again - 1]
    rings = max(1, int(orders.brushed.max(initial=0)) + 1)
    pushed = products.parent_first[rng.integers(0, len(products.parent_first) - 1, rings)]
    ring = orders.brushed[order]
    product = np.where(ring >= 0, pushed[np.maximum(ring, 0)], product)
    quantity = np.where(ring >= 0, rng.integers(5, 13, len(order)), quantity)

    list_amount = products.price_at(product, wall) * quantity
    promotion = season.promotion[season.day_of(wall), products.parent[product]].astype(np.int64)
    takes = (rng.random(len(order)) < TAKES_AN_OFFER[people.sensitivity[person]]) & (ring < 0)
    promotion = np.where(takes, promotion, -1)
    same = np.concatenate([[False], (order[1:] == order[:-1]) & (product[1:] == product[:-1])])
    promotion[same] = promotion[np.flatnonzero(same) - 1]
    percent = np.where(promotion >= 0, season.promotion_percent[np.maximum(promotion, 0)], 0)
    discount = (list_amount * percent + 50) // 100
    return Lines(order, product, quantity, list_amount, discount, list_amount - discount, promotion), wall


def _with_coupons(
    rng: np.random.Generator, season: Season, people: People, orders: Orders, lines: Lines
) -> tuple[Lines, Coupons, Ints]:
    """Lines with the coupon's money spread over them, the coupons, and each order's coupon (-1 without)."""
    subtotal = np.bincount(lines.order, lines.net, len(orders)).astype(np.int64)
    steps = np.array([c[0] for c in COUPONS])
    values = np.array([c[1] for c in COUPONS])
    level = np.searchsorted(steps, subtotal, side="right") - 1
    wants = rng.random(len(orders)) < USES_A_COUPON[people.sensitivity[orders.person]]
    uses = np.flatnonzero(wants & (level >= 0) & (orders.marks.account >= 0) & (orders.brushed < 0))
    face = np.zeros(len(orders), np.int64)
    face[uses] = values[level[uses]]
    # spread by money; what rounding leaves falls on the order's last line
    part = face[lines.order] * lines.net // np.maximum(subtotal[lines.order], 1)
    last = np.searchsorted(lines.order, np.arange(len(orders)), side="right") - 1
    rest = face - np.bincount(lines.order, part, len(orders)).astype(np.int64)
    part[last] += rest
    spread = Lines(
        lines.order, lines.product, lines.quantity, lines.list_amount,
        lines.discount + part, lines.net - part, lines.promotion,
    )  # fmt: skip

    gets = np.where(people.is_member & ~people.brushes, GETS_UNUSED[people.sensitivity], 0.0)
    count = rng.poisson(gets * season.days / 180)
    idle = np.repeat(np.arange(people.n), count)
    opened = people.registered[idle]
    got_idle = np.maximum(opened, season.start)
    got_idle = got_idle + ((season.end - got_idle) * rng.random(len(idle))).astype(np.int64)
    fine = (got_idle > opened) & (got_idle < season.end)
    idle, got_idle = idle[fine], got_idle[fine]

    account = orders.marks.account[uses]
    ordered = orders.ordered[uses]
    floor = np.maximum(people.accounts.registered[account], season.start)
    got = np.maximum(ordered - 60_000 - (rng.exponential(3.0, len(uses)) * DAY_MS).astype(np.int64), floor)
    got = np.minimum(got, ordered)
    owner = np.concatenate([account, people.account[idle]])
    at = np.concatenate([got, got_idle])
    faces = np.concatenate([face[uses], values[rng.integers(0, len(values), len(idle))]])
    used_by = np.concatenate([uses, np.full(len(idle), -1)])
    sort = np.lexsort((owner, at))
    number = np.empty(len(sort), np.int64)
    number[sort] = np.arange(len(sort))
    coupon = np.full(len(orders), -1, np.int64)
    coupon[uses] = number[: len(uses)]
    return (
        spread,
        Coupons(
            coupon_ids=numbered("CP", np.arange(len(sort), dtype=np.int64) + 1, 8),
            account=owner[sort],
            got=at[sort],
            campaign=rng.integers(0, CAMPAIGNS, len(sort)),
            face=faces[sort],
            order=used_by[sort],
        ),
        coupon,
    )


def _refunds(rng: np.random.Generator, season: Season, orders: Orders, lines: Lines, net: Ints) -> Refunds:
    """Whole refunds of 3.5 % and of every order cancelled after payment, partial ones of 3 %; a few in two parts."""
    n = len(orders)
    paid = orders.paid < NEVER
    returned = rng.random(n)
    delay = rng.integers(DAY_MS, 15 * DAY_MS, n) // 1000 * 1000
    cancelled = paid & (orders.cancelled < NEVER)
    standing = paid & ~cancelled & (orders.brushed < 0)
    whole = np.flatnonzero(cancelled | (standing & (returned < 0.035)))
    whole_at = np.where(cancelled[whole], orders.cancelled[whole] + 120_000, orders.paid[whole] + delay[whole])
    some = np.flatnonzero(standing & (returned >= 0.035) & (returned < 0.065))
    first = np.searchsorted(lines.order, some)
    size = np.searchsorted(lines.order, some, side="right") - first
    line = first + (rng.random(len(some)) * size).astype(np.int64)
    one_unit = lines.net[line] // np.maximum(lines.quantity[line], 1)
    # of one line with one unit only a part of the money comes back, or the order would be refunded whole
    amount = np.where((size > 1) | (lines.quantity[line] > 1), one_unit, lines.net[line] // 3)
    twice = np.flatnonzero(rng.random(len(some)) < 0.1)
    halves = amount.copy()
    halves[twice] = amount[twice] // 2
    order = np.concatenate([whole, some, some[twice]])
    at = np.concatenate(
        [whole_at, orders.paid[some] + delay[some], orders.paid[some[twice]] + delay[some[twice]] + 2 * DAY_MS]
    )
    money = np.concatenate([net[whole], halves, amount[twice] - halves[twice]])
    which = np.concatenate([np.full(len(whole), -1), line, line[twice]])
    none, second = np.zeros(len(whole), np.int64), np.zeros(len(twice), np.int64)
    units = np.concatenate([none, (amount == one_unit).astype(np.int64), second])
    is_whole = np.arange(len(order)) < len(whole)
    keep = np.flatnonzero((at < season.end) & (money > 0))
    keep = keep[np.lexsort((order[keep], at[keep]))]
    return Refunds(
        refund_ids=numbered("RF", np.arange(len(keep), dtype=np.int64) + 1, 8),
        order=order[keep],
        line=which[keep],
        quantity=units[keep],
        refunded=at[keep],
        amount=money[keep],
        reason=rng.integers(0, len(REASONS), len(keep)),
        whole=is_whole[keep],
    )


def make_baskets(seed: int, season: Season, people: People, products: Assortment, orders: Orders) -> Baskets:
    rng = stream(seed, "money")
    bare, _ = _lines(rng, season, people, products, orders)
    lines, coupons, coupon = _with_coupons(rng, season, people, orders, bare)
    net = np.bincount(lines.order, lines.net, len(orders)).astype(np.int64)
    return Baskets(
        lines=lines,
        coupons=coupons,
        refunds=_refunds(rng, season, orders, lines, net),
        coupon=coupon,
        freight=np.where(net < FREE_FROM, FREIGHT, 0),
        net=net,
    )
