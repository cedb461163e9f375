"""A social shop whose truth is known: ``simulate`` makes it, ``write_arrivals`` its files, ``write_truth`` the truth.

The same arguments give the same bytes of every file. There is no clock, no network and no state outside the Shop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator import feeds as make
from simulator.addresses import make_addresses
from simulator.behaviour import make_browse
from simulator.faults import Feed, with_faults
from simulator.files import spans, write_files
from simulator.ids import numbered
from simulator.lifecycle import make_phases
from simulator.member_records import make_member_records
from simulator.money import make_baskets
from simulator.orders import make_orders
from simulator.people import make_people
from simulator.products import PARENTS, make_products
from simulator.season import Season, make_season
from simulator.share_log import make_open_marks, make_share_log
from simulator.sharing import make_sharing
from simulator.surveys import make_answers, make_notes
from simulator.truth import World, truth_tables

USERS = 20_000
DAYS = 180
SEED = 7
LAST_DAY = date(2026, 3, 31)
LEAST_USERS, LEAST_DAYS = 50, 14


@dataclass(frozen=True)
class Shop:
    """Feeds in order of arrival (canonical columns, naive local times, fen) and truth tables by name."""

    users: int
    seed: int
    season: Season
    feeds: dict[str, Feed]
    truth: dict[str, pa.Table]


def simulate(users: int = USERS, days: int = DAYS, seed: int = SEED, last_day: date = LAST_DAY) -> Shop:
    """A shop with ``users`` persons over the ``days`` that end on ``last_day``; ValueError when there are too few."""
    if users < LEAST_USERS or days < LEAST_DAYS:
        raise ValueError(f"a shop needs at least {LEAST_USERS} users and {LEAST_DAYS} days, not {users} and {days}")
    if seed < 0:
        raise ValueError(f"the seed must not be negative, not {seed}")
    season = make_season(seed, last_day, days, PARENTS)
    products = make_products(seed, season)
    people = make_people(seed, season, users)
    phases = make_phases(seed, season, people)
    sharing = make_sharing(seed, season, people, products, phases)
    orders = make_orders(seed, season, people, phases, sharing)
    baskets = make_baskets(seed, season, people, products, orders)
    open_marks = make_open_marks(seed, season, people, sharing)
    log = make_share_log(seed, season, people, sharing, orders, open_marks)
    browse = make_browse(seed, season, people, products, phases, sharing, orders, baskets, open_marks)
    records = make_member_records(seed, season, people, orders, baskets)
    share_ids = numbered("sh", np.arange(1, len(sharing.share_person) + 1, dtype=np.int64), 8)
    answers = make_answers(seed, season, people, orders, baskets)
    world = World(season, people, phases, sharing, orders, baskets, browse, log, records, share_ids, answers)

    sellers = make.sellers_of(people, products, orders, baskets, sharing.share_person)
    # One clean feed at a time is in memory: that of browsing alone has tens of millions of rows in a large shop.
    made: dict[str, Callable[[], make.Clean]] = {
        "members": lambda: make.members_feed(season, people, records, sharing.inviter),
        "products": lambda: make.products_feed(season, products),
        "orders": lambda: make.orders_feed(
            season, people, orders, baskets, sellers, share_ids, make_addresses(seed, people, orders)
        ),
        "order_lines": lambda: make.order_lines_feed(season, products, orders, baskets),
        "refunds": lambda: make.refunds_feed(season, people, products, orders, baskets),
        "browse": lambda: make.browse_feed(season, people, products, browse),
        "shares": lambda: make.shares_feed(
            season, people, products, orders, log, share_ids, sharing.parent_share, sharing.share_product
        ),
        "coupons": lambda: make.coupons_feed(season, people, orders, baskets),
        "surveys": lambda: make.surveys_feed(season, people, answers),
        "manual_tags": lambda: make.manual_tags_feed(season, people, make_notes(seed, season, people)),
    }
    arrived = {name: with_faults(seed, season, name, feed()) for name, feed in made.items()}
    return Shop(
        users=users,
        seed=seed,
        season=season,
        feeds={name: feed for name, (feed, _) in arrived.items()},
        truth=truth_tables(world, {name: faults for name, (_, faults) in arrived.items()}),
    )


def arrival_days(shop: Shop) -> list[date]:
    """The days on which files arrive: the eve of the first day, the ends of the months, then each of the last seven."""
    return [shop.season.first_day + timedelta(days=last) for _, last in spans(shop.season)]


def write_arrivals(shop: Shop, inbox: Path, first_day: date | None = None, last_day: date | None = None) -> list[Path]:
    """Write the files that arrive from ``first_day`` to ``last_day`` (default: all) below ``inbox``; gives their paths.

    A file is named by feed and day of arrival and holds what came since the file before. Files that are there
    already are replaced by the same bytes.
    """
    days = arrival_days(shop)
    low, high = first_day or days[0], last_day or days[-1]
    wanted = [span for span, day in zip(spans(shop.season), days, strict=True) if low <= day <= high]
    return write_files(shop.season, shop.feeds, wanted, inbox)


def write_arrival(shop: Shop, inbox: Path, day: date) -> list[Path]:
    """Write only the files that arrive on ``day``; none on a day without any."""
    return write_arrivals(shop, inbox, day, day)


def write_truth(shop: Shop, folder: Path) -> list[Path]:
    """One Parquet file per truth table, ``folder/<table>.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in shop.truth.items():
        path = folder / f"{name}.parquet"
        pq.write_table(table.combine_chunks(), path, compression="zstd")
        paths.append(path)
    return paths
