"""The shop's calendar: festivals, weekly offers, and when in a day people are about.

Times inside the simulator are *wall* milliseconds: milliseconds since 1970-01-01 00:00 as the shop's clock shows them.
Days are whole numbers from 0, the first simulated day. Both keep business days free of zone arithmetic.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
MINUTE_MS = 60_000
ZONE = "Asia/Shanghai"
ZONE_OFFSET_MS = 8 * 3_600_000  # without daylight saving since 1991, so the offset is constant
NEVER = 1 << 60  # wall time of what does not happen

SENSITIVITY = ("fanatic", "sensitive", "neutral", "cold")
PULL_OF_FESTIVALS = (2.2, 1.4, 0.7, 0.05)
"""How much of a festival's pull each class feels."""


@dataclass(frozen=True)
class Festival:
    """A promotion of the whole shop. ``pull`` multiplies demand, ``percent`` is taken off the list price."""

    id: str
    first: tuple[int, int]
    last: tuple[int, int]
    pull: float
    percent: int


FESTIVALS = (
    Festival("DOUBLE11_EARLY", (11, 1), (11, 3), 1.6, 20),
    Festival("DOUBLE11", (11, 10), (11, 11), 3.5, 30),
    Festival("DOUBLE12", (12, 10), (12, 12), 2.2, 25),
    Festival("NEW_YEAR", (1, 16), (1, 31), 1.4, 15),
    Festival("QUEENS_DAY", (3, 5), (3, 8), 2.2, 25),
    Festival("MIDYEAR", (6, 10), (6, 18), 2.2, 25),
)
MEMBER_DAY = 18  # of every month
WEEKLY_PERCENT = (10, 15, 20)
SHARE_OF_CATEGORIES_ON_WEEKLY_OFFER = 0.3

# relative activity by local hour: early riser, lunch break, evening, night, spread over the day
_CLOCKS = np.array(
    [
        [1, 0, 0, 0, 0, 2, 8, 14, 12, 7, 5, 4, 5, 4, 3, 3, 3, 4, 5, 5, 5, 4, 3, 2],
        [1, 0, 0, 0, 0, 0, 1, 3, 4, 4, 5, 12, 18, 10, 4, 3, 3, 4, 6, 7, 7, 5, 3, 2],
        [2, 1, 0, 0, 0, 0, 1, 2, 3, 3, 3, 4, 5, 4, 3, 3, 4, 5, 9, 14, 18, 14, 8, 4],
        [12, 8, 4, 2, 1, 0, 0, 1, 2, 2, 3, 3, 4, 4, 3, 3, 3, 4, 5, 6, 8, 12, 16, 16],
        [1, 1, 0, 0, 0, 0, 2, 4, 6, 7, 7, 6, 7, 6, 6, 6, 6, 6, 7, 7, 7, 6, 4, 2],
    ],
    dtype=float,
)
CLOCKS = len(_CLOCKS)
_CLOCK_CDF = np.cumsum(_CLOCKS / _CLOCKS.sum(axis=1, keepdims=True), axis=1)


@dataclass(frozen=True)
class Season:
    """The simulated days. ``visit_cum`` and ``order_cum`` (one row a sensitivity class) are cumulative day weights.

    ``promotion[day, category parent]`` is an index into ``promotion_ids``, -1 where nothing is on offer.
    """

    first_day: date
    days: int
    visit_cum: NDArray[np.float64]
    order_cum: NDArray[np.float64]
    promotion: NDArray[np.int32]
    promotion_ids: tuple[str, ...]
    promotion_percent: NDArray[np.int64]

    @property
    def last_day(self) -> date:
        return self.first_day + timedelta(days=self.days - 1)

    @property
    def epoch_day(self) -> int:
        """Days from 1970-01-01 to the first day."""
        return (self.first_day - date(1970, 1, 1)).days

    @property
    def start(self) -> int:
        """Wall time at which the first day begins."""
        return self.epoch_day * DAY_MS

    @property
    def end(self) -> int:
        """Wall time at which the last day is over."""
        return self.start + self.days * DAY_MS

    def day_of(self, wall: NDArray[np.int64]) -> NDArray[np.int64]:
        return wall // DAY_MS - self.epoch_day


def stream(seed: int, stage: str) -> np.random.Generator:
    """The random numbers of one stage: a change in one stage leaves the numbers of the others alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(stage.encode())])))


def make_season(seed: int, last_day: date, days: int, categories: int) -> Season:
    rng = stream(seed, "season")
    first_day = last_day - timedelta(days=days - 1)
    calendar = [first_day + timedelta(days=i) for i in range(days)]
    weekend = np.array([1.15 if d.weekday() >= 5 else 1.0 for d in calendar])
    pull = np.ones(days)
    promotion_ids: list[str] = []
    percents: list[int] = []
    promotion = np.full((days, categories), -1, dtype=np.int32)

    def announce(name: str, percent: int) -> int:
        if name not in promotion_ids:
            promotion_ids.append(name)
            percents.append(percent)
        return promotion_ids.index(name)

    weekly: dict[date, NDArray[np.int64]] = {}
    for i, d in enumerate(calendar):
        monday = d - timedelta(days=d.weekday())
        if monday not in weekly:
            weekly[monday] = np.flatnonzero(rng.random(categories) < SHARE_OF_CATEGORIES_ON_WEEKLY_OFFER)
        for c in weekly[monday]:
            name = f"WEEK_{monday:%Y%m%d}_{c:02d}"
            promotion[i, c] = announce(name, WEEKLY_PERCENT[(monday.toordinal() // 7 + int(c)) % len(WEEKLY_PERCENT)])
        if d.day == MEMBER_DAY:
            pull[i] = 1.3
            promotion[i, :] = announce(f"MEMBER_DAY_{d:%Y%m}", 10)
        for f in FESTIVALS:
            if f.first <= (d.month, d.day) <= f.last:
                pull[i] = f.pull
                promotion[i, :] = announce(f"{f.id}_{d:%Y}", f.percent)
    visits = weekend * (1 + 0.4 * (pull - 1))
    orders = weekend * (1 + np.array(PULL_OF_FESTIVALS)[:, None] * (pull - 1))
    return Season(
        first_day=first_day,
        days=days,
        visit_cum=np.concatenate([[0.0], np.cumsum(visits)]),
        order_cum=np.concatenate([np.zeros((len(SENSITIVITY), 1)), np.cumsum(orders, axis=1)], axis=1),
        promotion=promotion,
        promotion_ids=tuple(promotion_ids),
        promotion_percent=np.array(percents or [0], dtype=np.int64),
    )


def pick_between(
    rng: np.random.Generator, cumulative: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each pair one index in [low, high), drawn by weight; ``cumulative`` starts with 0 and has one more item."""
    bottom = cumulative[low]
    at = bottom + rng.random(len(low)) * (cumulative[high] - bottom)
    return np.clip(np.searchsorted(cumulative, at, side="right") - 1, low, high - 1)


def time_of_day(rng: np.random.Generator, clock: NDArray[np.int8]) -> NDArray[np.int64]:
    """Milliseconds since midnight, by each person's habits."""
    edges = (_CLOCK_CDF + np.arange(CLOCKS)[:, None]).ravel()
    hour = np.searchsorted(edges, clock + rng.random(len(clock)) * 0.999999, side="right") - clock.astype(np.int64) * 24
    return np.clip(hour, 0, 23) * 3_600_000 + rng.integers(0, 3_600_000, len(clock))
