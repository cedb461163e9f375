"""Where orders are delivered to and from which network they are made: the two keys, beside the device, that rings share.

Rings send nearly everything to one address from two networks. Ordinary households share a home as well, students and
colleagues a network, so that a shared key alone proves nothing. Drawn apart from everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.orders import Orders
from simulator.people import Ints, People
from simulator.places import CITIES
from simulator.season import stream

SHARES_A_HOME = 0.3
"""Share of people who live in a household with others of the shop."""
PEOPLE_OF_A_NETWORK = 25
ROADS = ("朝阳路", "建设路", "人民路", "解放路", "中山路", "和平路", "新华路", "滨河路")


@dataclass(frozen=True)
class Addresses:
    """By order: the delivery address and the IP address, as indexes into ``homes`` and ``networks``."""

    homes: pa.Array
    networks: pa.Array
    home: Ints
    network: Ints


def make_addresses(seed: int, people: People, orders: Orders) -> Addresses:
    rng = stream(seed, "addresses")
    n, rings = people.n, int(people.ring.max(initial=-1)) + 1
    # neighbours in number live together, two to four of them
    sizes = np.where(rng.random(n) < SHARES_A_HOME / 2, rng.integers(2, 5, n), 1)
    home = np.repeat(np.cumsum(sizes) - sizes, sizes)[:n]
    n_away = max(1, n // PEOPLE_OF_A_NETWORK)
    away = rng.integers(0, n_away, n)  # the network of the office or the campus
    person, ring = orders.person, orders.brushed
    at_home, own_place = rng.random(len(person)) < 0.6, rng.random(len(person)) < 0.1
    second = rng.integers(0, 2, len(person))
    brushed = (ring >= 0) & ~own_place
    return Addresses(
        homes=_homes(people, n, rings),
        networks=_networks(n + n_away + 2 * max(rings, 1)),
        home=np.where(brushed, n + ring, home[person]),
        network=np.where(
            brushed, n + n_away + 2 * np.maximum(ring, 0) + second, np.where(at_home, home[person], n + away[person])
        ),
    )


def _homes(people: People, n: int, rings: int) -> pa.Array:
    """One address for each person's home (by the number of who lives there first), then one for each ring."""
    number = np.arange(n + rings)
    city = np.concatenate([people.city, np.arange(rings) % len(CITIES)])
    return pa.array(
        [
            f"{CITIES[c][1]}{ROADS[i % len(ROADS)]}{i // len(ROADS) + 1}号{i % 6 + 1}单元{i % 28 + 1}0{i % 4 + 1}室"
            for i, c in zip(number.tolist(), city.tolist(), strict=True)
        ]
    )


def _networks(count: int) -> pa.Array:
    """Private addresses (10.0.0.0/8), so that none is anybody's."""
    numbers: NDArray[np.int64] = np.arange(count, dtype=np.int64) * 7_919 % (1 << 24)
    return pa.array([f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in numbers.tolist()])
