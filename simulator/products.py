"""What the shop sells: a tree of categories, brands, sellers, prices, launches and price changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.ids import numbered
from simulator.season import DAY_MS, NEVER, Season, pick_between, stream

CATEGORIES: tuple[tuple[str, tuple[str, ...], float, int], ...] = (
    # parent, leaves, share of demand, middle price in yuan
    ("美妆", ("面部精华", "面霜", "口红", "粉底", "防晒"), 0.26, 260),
    ("个护", ("洗发水", "沐浴露", "牙膏", "身体乳"), 0.14, 60),
    ("母婴", ("纸尿裤", "奶粉", "辅食", "婴童洗护"), 0.13, 150),
    ("食品", ("坚果", "糕点", "咖啡", "牛奶"), 0.16, 50),
    ("服饰", ("连衣裙", "T恤", "针织衫", "牛仔裤"), 0.12, 180),
    ("家居", ("床品", "收纳", "香薰", "餐具"), 0.08, 120),
    ("数码", ("耳机", "充电宝", "智能手表"), 0.07, 400),
    ("运动", ("跑鞋", "瑜伽垫", "运动服"), 0.04, 300),
)
PARENTS = len(CATEGORIES)
HOUSE_BRANDS = ("青禾", "云朵", "山野集", "木棉", "晴川", "小满", "拾光", "北岸", "鹿野", "星屿")
BEAUTY_BRANDS = ("资生堂", "花漾", "素颜记", "玉容", "露华集", "焕晨")
SHOPS = 12
PRODUCTS_PER_LEAF = 24
SPECIAL_NAME = "㐂𠮷礼盒, 限定版"
"""A name with characters that GB18030 writes in four bytes, and a comma."""


@dataclass(frozen=True)
class Assortment:
    """Arrays by product, ordered by category parent. ``weight_cum`` are cumulative demand weights.

    ``parent_first[c]`` to ``parent_first[c + 1]`` are the products of category parent c. ``launched`` is wall time
    (before the first day for most). ``repriced`` is the wall time from which ``new_price`` holds, NEVER for most.
    """

    sku_ids: pa.StringArray
    names: pa.Array
    brands: pa.Array
    brand: NDArray[np.int32]
    leaves: pa.Array
    leaf: NDArray[np.int32]
    parents: pa.Array
    parent: NDArray[np.int32]
    seller_ids: pa.Array
    seller: NDArray[np.int32]
    price: NDArray[np.int64]
    repriced: NDArray[np.int64]
    new_price: NDArray[np.int64]
    launched: NDArray[np.int64]
    weight_cum: NDArray[np.float64]
    parent_first: NDArray[np.int64]
    brand_order: NDArray[np.int64]
    brand_first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.brand)

    def price_at(self, product: NDArray[np.int64], wall: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(wall >= self.repriced[product], self.new_price[product], self.price[product])


def make_products(seed: int, season: Season) -> Assortment:
    rng = stream(seed, "products")
    brands: list[str] = [*BEAUTY_BRANDS, *HOUSE_BRANDS]
    leaves: list[str] = []
    leaf, parent, middle, demand = [], [], [], []
    for c, (_, below, share, middle_price) in enumerate(CATEGORIES):
        for name in below:
            leaves.append(name)
            leaf += [len(leaves) - 1] * PRODUCTS_PER_LEAF
            parent += [c] * PRODUCTS_PER_LEAF
            middle += [middle_price] * PRODUCTS_PER_LEAF
            demand += [share / len(below)] * PRODUCTS_PER_LEAF
    n = len(leaf)
    leaf_code, parent_code = np.array(leaf, np.int32), np.array(parent, np.int32)
    beauty = parent_code <= 1
    brand = np.where(beauty, rng.integers(0, len(BEAUTY_BRANDS), n), rng.integers(len(BEAUTY_BRANDS), len(brands), n))
    ranks = np.tile(np.arange(PRODUCTS_PER_LEAF), (n // PRODUCTS_PER_LEAF, 1))
    popularity = 1 / (1 + rng.permuted(ranks, axis=1).ravel())
    weight = np.array(demand) * popularity * np.where(brand == 0, 1.8, 1.0)
    yuan = np.array(middle) * np.exp(rng.normal(0, 0.5, n)) * np.where(brand == 0, 1.6, 1.0)
    price = np.maximum(np.round(yuan).astype(np.int64) * 100 - 10, 490)
    in_season = rng.random(n) < 0.15
    in_season[np.searchsorted(parent_code, np.arange(PARENTS))] = False  # each category has a product from the start
    launch_day = rng.integers(1, max(2, season.days), n)
    launched = np.where(in_season, season.start + launch_day * DAY_MS, season.start - 30 * DAY_MS)
    changes = (rng.random(n) < 0.2) & (season.days > 2)
    repriced = season.start + rng.integers(0, season.days, n) * DAY_MS + 2 * 3_600_000
    repriced = np.where(changes & (repriced > launched), repriced, NEVER)
    both = zip(brand, leaf_code, strict=True)
    names = [f"{brands[b]}{leaves[k]}{i % PRODUCTS_PER_LEAF + 1:02d}号" for i, (b, k) in enumerate(both)]
    names[0] = SPECIAL_NAME
    brand_order = np.argsort(brand, kind="stable")
    return Assortment(
        sku_ids=numbered("SKU", np.arange(n, dtype=np.int64) + 10001, 5),
        names=pa.array(names),
        brands=pa.array(brands),
        brand=brand.astype(np.int32),
        leaves=pa.array(leaves),
        leaf=leaf_code,
        parents=pa.array([c[0] for c in CATEGORIES]),
        parent=parent_code,
        seller_ids=numbered("SHOP", np.arange(SHOPS, dtype=np.int64) + 1, 2),
        seller=((brand * 5 + parent_code) % SHOPS).astype(np.int32),
        price=price,
        repriced=repriced,
        new_price=np.maximum((price * rng.choice([0.85, 0.9, 1.1], n)).astype(np.int64) // 100 * 100 - 10, 490),
        launched=launched,
        weight_cum=np.concatenate([[0.0], np.cumsum(weight)]),
        parent_first=np.searchsorted(parent_code, np.arange(PARENTS + 1)).astype(np.int64),
        brand_order=brand_order,
        brand_first=np.searchsorted(brand[brand_order], np.arange(len(brands) + 1)).astype(np.int64),
    )


def choose(
    rng: np.random.Generator,
    products: Assortment,
    favourite: NDArray[np.integer],
    brand: NDArray[np.integer],
    wall: NDArray[np.int64],
    own: float | NDArray[np.float64] = 0.6,
) -> NDArray[np.int64]:
    """A product for each row: of the favourite category (``own``), else of any; a fifth by favourite brand.

    A product that is not launched yet gives way to the first of its category.
    """
    n = len(favourite)
    low, high = np.zeros(n, np.int64), np.full(n, len(products), np.int64)
    inside = rng.random(n) < own
    low[inside] = products.parent_first[favourite[inside]]
    high[inside] = products.parent_first[favourite[inside] + 1]
    product = pick_between(rng, products.weight_cum, low, high)
    by_brand = np.flatnonzero(rng.random(n) < 0.2)
    first, last = products.brand_first[brand[by_brand]], products.brand_first[brand[by_brand] + 1]
    product[by_brand] = products.brand_order[(first + rng.random(len(by_brand)) * (last - first)).astype(np.int64)]
    early = np.flatnonzero(products.launched[product] > wall)
    product[early] = products.parent_first[products.parent[product[early]]]
    return product


def latest_launches(
    rng: np.random.Generator, products: Assortment, wall: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A product launched shortly before each time, and whether there is one."""
    order = np.argsort(products.launched, kind="stable")
    known = np.searchsorted(products.launched[order], wall, side="right") - 1
    back = rng.integers(0, 3, len(wall))
    product = order[np.maximum(known - back, 0)]
    return product, (wall - products.launched[product]) < 20 * DAY_MS
