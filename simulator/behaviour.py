"""What people do on the site besides ordering, sharing and coupons: visits for their own sake, and around an order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.lifecycle import Phases, phase_visits
from simulator.marks import ShownIds, shown_ids, without_account
from simulator.money import Baskets
from simulator.orders import Orders
from simulator.people import Ints, People
from simulator.products import Assortment, choose
from simulator.season import DAY_MS, NEVER, Season, stream, time_of_day
from simulator.sharing import Sharing

ACTS = (
    "exposure", "click", "view", "search", "favourite", "cart", "sample", "video", "live", "join_group", "register",
    "review",
)  # fmt: skip
ACT = {name: i for i, name in enumerate(ACTS)}
# shares of a visit's rows, in the order of ACTS
_MIX = np.array([0.27, 0.11, 0.34, 0.08, 0.04, 0.05, 0.006, 0.06, 0.03, 0.014, 0.0, 0.0])
_NEEDS_PRODUCT = np.isin(np.arange(len(ACTS)), [ACT["search"], ACT["live"], ACT["register"]], invert=True)
REVIEWS = ("positive", "neutral", "negative", "append")
PAGES = ("首页", "搜索结果", "商品详情", "活动页", "直播间", "我的")
SEARCH_WORDS = ("面霜", "口红", "纸尿裤", "坚果", "连衣裙", "耳机", "跑鞋", "礼盒", "防晒", "咖啡")


@dataclass(frozen=True)
class Browse:
    """Arrays by row, in order of time; -1 where a column says nothing. ``brand`` is the brand that a search named."""

    person: NDArray[np.int32]
    wall: Ints
    act: NDArray[np.int8]
    product: NDArray[np.int32]
    brand: NDArray[np.int32]
    word: NDArray[np.int32]
    review: NDArray[np.int8]
    seconds: NDArray[np.int32]
    page: NDArray[np.int8]
    marks: ShownIds


@dataclass(frozen=True)
class _Rows:
    """Rows of some visits: which visit, what, when and with which product (-1: drawn later)."""

    visit: Ints
    wall: Ints
    act: Ints
    product: Ints


def _within(visit: Ints) -> Ints:
    """Position of each row within its visit; rows of one visit stand together."""
    starts = np.flatnonzero(np.concatenate([[True], visit[1:] != visit[:-1]])) if len(visit) else np.zeros(0, np.int64)
    return np.arange(len(visit)) - np.repeat(starts, np.diff(np.append(starts, len(visit))))


def _leisure(rng: np.random.Generator, begin: Ints) -> _Rows:
    count = 1 + rng.poisson(2.3, len(begin))
    visit = np.repeat(np.arange(len(begin)), count)
    act = np.searchsorted(np.cumsum(_MIX) / _MIX.sum(), rng.random(len(visit)), side="right")
    wall = begin[visit] + _within(visit) * 45_000 + rng.integers(0, 40_000, len(visit))
    return _Rows(visit, wall, act, np.full(len(visit), -1, np.int64))


def _before_orders(rng: np.random.Generator, orders: Orders, baskets: Baskets, which: Ints) -> _Rows:
    """Views, and often a cart, of the first two lines, and a look around, ending a minute before the order."""
    lines = baskets.lines
    first = np.searchsorted(lines.order, which)
    size = np.searchsorted(lines.order, which, side="right") - first
    product = np.stack([lines.product[first], np.where(size > 1, lines.product[first + np.minimum(1, size - 1)], -2)])
    n = len(which)
    carts = rng.random(n) < 0.6
    plan = [  # minutes before the order, act, product (-2: no row)
        (9, ACT["exposure"], np.where(rng.random(n) < 0.3, product[0], -2)),
        (8, ACT["view"], np.where(rng.random(n) < 0.4, -1, -2)),
        (6, ACT["view"], product[0]),
        (4, ACT["view"], product[1]),
        (3, ACT["cart"], np.where(carts, product[0], -2)),
        (2, ACT["cart"], np.where(carts, product[1], -2)),
    ]
    visit = np.tile(np.arange(n), len(plan))
    wall = np.concatenate([orders.ordered[which] - m * 60_000 + rng.integers(0, 55_000, n) for m, _, _ in plan])
    act = np.repeat([a for _, a, _ in plan], n)
    chosen = np.concatenate([p for _, _, p in plan])
    keep = chosen > -2
    return _Rows(visit[keep], wall[keep], act[keep], chosen[keep])


def _views_of_shared(rng: np.random.Generator, sharing: Sharing, reads: Ints) -> _Rows:
    wall = sharing.open_wall[reads] + rng.integers(1_000, 20_000, len(reads))
    product = sharing.share_product[sharing.open_share[reads]]
    return _Rows(np.arange(len(reads)), wall, np.full(len(reads), ACT["view"]), product)


def make_browse(
    seed: int,
    season: Season,
    people: People,
    products: Assortment,
    phases: Phases,
    sharing: Sharing,
    orders: Orders,
    baskets: Baskets,
    open_marks: ShownIds,
) -> Browse:
    """Every row of the site's log. Rings leave no visit before their orders, only praise after them."""
    rng = stream(seed, "behaviour")
    parts: list[tuple[Ints, _Rows, ShownIds, Ints]] = []  # person by visit, rows, marks by visit, review by row

    def add(person: Ints, rows: _Rows, marks: ShownIds, review: Ints | None = None) -> None:
        parts.append((person, rows, marks, np.full(len(rows.visit), -1) if review is None else review))

    person, day = phase_visits(rng, season, people, phases)
    begin = season.start + day * DAY_MS + time_of_day(rng, people.clock[person])
    add(person, _leisure(rng, begin), shown_ids(rng, season, people, person, begin))

    bought = np.flatnonzero((orders.brushed < 0) & (rng.random(len(orders)) < 0.96))
    guests = (orders.guest[bought] > 0) & (orders.marks.cookie[bought] < 0)
    bought = bought[~guests]  # a guest without a cookie leaves no row that could be told from another's
    add(orders.person[bought], _before_orders(rng, orders, baskets, bought), orders.marks[bought])

    role = people.role[sharing.share_person[sharing.open_share]]
    reads = np.flatnonzero(rng.random(len(role)) < np.where(role == 2, 0.9, 0.45))
    add(sharing.open_person[reads], _views_of_shared(rng, sharing, reads), open_marks[reads])

    # registrations that no share brought (those stand in the shares' log)
    in_season = (people.registered >= season.start) & (people.registered < season.end)
    alone = np.flatnonzero(in_season & (sharing.inviter < 0))
    at = people.registered[alone] + 2_000
    accounts = people.accounts
    first = people.account[alone]
    registering = ShownIds(
        account=first,
        device=accounts.device[first],
        cookie=np.full(len(alone), -1, np.int64),
        openid=np.where(accounts.device[first] >= 0, -1, accounts.openid[first]),
        unionid=np.where((accounts.device[first] < 0) & people.has_unionid[alone], alone, -1),
        channel=accounts.channel[first],
    )
    rows = _Rows(np.arange(len(alone)), at, np.full(len(alone), ACT["register"]), np.full(len(alone), -1))
    add(alone, rows, registering)

    reviewed = np.flatnonzero(
        (orders.paid < NEVER) & (orders.cancelled == NEVER) & (orders.marks.account >= 0)
        & (rng.random(len(orders)) < np.where(orders.brushed >= 0, 0.8, 0.22))
    )  # fmt: skip
    kind = np.where(orders.brushed[reviewed] >= 0, 0, rng.choice(4, len(reviewed), p=[0.74, 0.1, 0.06, 0.10]))
    wait = np.where(orders.brushed[reviewed] >= 0, 1.0, 3 + rng.exponential(4.0, len(reviewed)))
    when = orders.ordered[reviewed] + (wait * DAY_MS).astype(np.int64) + rng.integers(0, 3_600_000, len(reviewed))
    praised = baskets.lines.product[np.searchsorted(baskets.lines.order, reviewed)]
    rows = _Rows(np.arange(len(reviewed)), when, np.full(len(reviewed), ACT["review"]), praised)
    add(orders.person[reviewed], rows, orders.marks[reviewed], kind)
    return _in_order(rng, season, people, products, parts)


def _in_order(
    rng: np.random.Generator,
    season: Season,
    people: People,
    products: Assortment,
    parts: list[tuple[Ints, _Rows, ShownIds, Ints]],
) -> Browse:
    wall = np.concatenate([rows.wall for _, rows, _, _ in parts])
    person = np.concatenate([who[rows.visit] for who, rows, _, _ in parts])
    keep = np.flatnonzero((wall >= season.start) & (wall < season.end))
    keep = keep[np.lexsort((person[keep], wall[keep]))]
    wall, person = wall[keep], person[keep]
    act = np.concatenate([rows.act for _, rows, _, _ in parts])[keep].astype(np.int8)
    product = np.concatenate([rows.product for _, rows, _, _ in parts])[keep]
    marks = ShownIds.joined([m[rows.visit] for _, rows, m, _ in parts])[keep]
    review = np.concatenate([r for _, _, _, r in parts])[keep].astype(np.int8)
    # who registers in the middle of a visit was a stranger before
    marks = without_account(marks, (marks.account >= 0) & (people.accounts.registered[marks.account] > wall))
    told_apart = np.flatnonzero(marks.shows_an_id)
    if len(told_apart) < len(wall):
        wall, person, act, product = wall[told_apart], person[told_apart], act[told_apart], product[told_apart]
        marks, review = marks[told_apart], review[told_apart]
    open_ = np.flatnonzero((product == -1) & _NEEDS_PRODUCT[act])
    product[open_] = choose(rng, products, people.favourite[person[open_]], people.brand[person[open_]], wall[open_])
    n = len(wall)
    searches = act == ACT["search"]
    by_brand = searches & (rng.random(n) < 0.4)
    page = np.select([act == ACT["exposure"], searches, act == ACT["live"], act == ACT["register"]], [0, 1, 4, 5], 2)
    page = np.where((act <= ACT["click"]) & (rng.random(n) < 0.4), 3, page).astype(np.int8)
    stays = np.isin(act, (ACT["view"], ACT["video"], ACT["live"]))
    return Browse(
        person=person.astype(np.int32),
        wall=wall,
        act=act,
        product=product.astype(np.int32),
        brand=np.where(by_brand, people.brand[person], -1).astype(np.int32),
        word=np.where(searches & ~by_brand, rng.integers(0, len(SEARCH_WORDS), n), -1).astype(np.int32),
        review=review,
        seconds=np.where(stays, 3 + rng.exponential(35.0, n).astype(np.int64), -1).astype(np.int32),
        page=page,
        marks=marks.small(),
    )
