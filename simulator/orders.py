"""Orders: why somebody buys, when it is paid or cancelled, who is a guest, which orders are brushed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.ids import numbered
from simulator.lifecycle import Phases, phase_orders
from simulator.marks import ShownIds, shown_ids
from simulator.people import APP, H5, Ints, People
from simulator.season import DAY_MS, MINUTE_MS, NEVER, Season, stream, time_of_day
from simulator.sharing import Sharing

HOUR_MS = 3_600_000
GUEST_NULL, GUEST_ZERO = 1, 2
BURST_DAYS = 4
CAREFUL = 0.15
"""Share of brushed orders that hide what gives the others away first."""


@dataclass(frozen=True)
class Orders:
    """Arrays by order, in order of ``ordered``. ``share`` is -1 without one; NEVER marks what did not happen.

    ``guest`` is 0 for members, else how the shop writes the absent member (GUEST_NULL, GUEST_ZERO).
    ``brushed`` is the ring or -1.
    """

    order_ids: pa.StringArray
    person: Ints
    ordered: Ints
    paid: Ints
    cancelled: Ints
    share: Ints
    guest: NDArray[np.int8]
    brushed: Ints
    marks: ShownIds

    def __len__(self) -> int:
        return len(self.person)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Paid, not cancelled, not brushed."""
        return (self.paid < NEVER) & (self.cancelled == NEVER) & (self.brushed < 0)


@dataclass(frozen=True)
class _Seeds:
    person: Ints
    wall: Ints
    share: Ints
    guest: NDArray[np.int8]
    brushed: Ints


def _members_orders(
    rng: np.random.Generator, season: Season, people: People, phases: Phases, sharing: Sharing
) -> list[_Seeds]:
    person, day = phase_orders(rng, season, people, phases)
    wall = season.start + day * DAY_MS + time_of_day(rng, people.clock[person])
    wall = np.maximum(wall, people.registered[person] + rng.integers(12, 40, len(person)) * MINUTE_MS)
    guest = np.where(rng.random(len(person)) < 0.02, np.where(rng.random(len(person)) < 0.5, GUEST_NULL, GUEST_ZERO), 0)
    # the first orders of invited people soon after they registered go by the share that brought them
    fresh = wall - people.registered[person] < 3 * DAY_MS
    share = np.where(fresh & (rng.random(len(person)) < 0.7), sharing.invite_share[person], -1)
    guest = np.where(share >= 0, 0, guest).astype(np.int8)
    plain = _Seeds(person, wall, share, guest, np.full(len(person), -1, np.int64))
    rows = np.flatnonzero(sharing.open_buys)
    buyer = sharing.open_person[rows]
    later = sharing.open_wall[rows] + MINUTE_MS + (rng.exponential(0.7, len(rows)) * HOUR_MS).astype(np.int64)
    none = np.full(len(rows), -1, np.int64)
    return [plain, _Seeds(buyer, later, sharing.open_share[rows], np.zeros(len(rows), np.int8), none)]


def _visitors_orders(rng: np.random.Generator, season: Season, people: People) -> _Seeds:
    """Anonymous visitors who check out as guests."""
    person = np.flatnonzero(~people.is_member & (rng.random(people.n) < 0.07))
    day = np.minimum(people.seen_from[person] + rng.integers(0, 3, len(person)), season.days - 1)
    wall = season.start + day * DAY_MS + time_of_day(rng, people.clock[person])
    guest = np.where(rng.random(len(person)) < 0.5, GUEST_NULL, GUEST_ZERO).astype(np.int8)
    none = np.full(len(person), -1, np.int64)
    return _Seeds(person, wall, none, guest, none)


def _brushed_orders(rng: np.random.Generator, season: Season, people: People) -> _Seeds:
    """Each ring's accounts order within twenty minutes, on a few days after they registered in one go."""
    person = np.flatnonzero(people.brushes)
    ring = people.ring[person]
    rings = int(ring.max(initial=-1)) + 1
    first = np.zeros(rings, np.int64)
    np.maximum.at(first, ring, season.day_of(people.registered[person]))
    bursts = first[:, None] + 1 + np.sort(rng.integers(0, max(1, season.days // 3), (rings, BURST_DAYS)), axis=1)
    begin = season.start + bursts * DAY_MS + rng.integers(9 * 60, 22 * 60, bursts.shape) * MINUTE_MS
    times = 1 + rng.integers(0, 2, (len(person), BURST_DAYS))
    who, burst = np.nonzero(times)
    repeat = np.repeat(np.arange(len(who)), times[who, burst])
    who, burst = who[repeat], burst[repeat]
    wall = begin[ring[who], burst] + rng.integers(0, 20 * MINUTE_MS, len(who))
    zeros = np.zeros(len(who), np.int8)
    return _Seeds(person[who], wall, np.full(len(who), -1, np.int64), zeros, ring[who])


def make_orders(seed: int, season: Season, people: People, phases: Phases, sharing: Sharing) -> Orders:
    """Every order of the season; what would happen after its end has not happened yet."""
    rng = stream(seed, "orders")
    seeds = [
        *_members_orders(rng, season, people, phases, sharing),
        _visitors_orders(rng, season, people),
        _brushed_orders(rng, season, people),
    ]
    person = np.concatenate([s.person for s in seeds])
    wall = np.concatenate([s.wall for s in seeds]) // 1000 * 1000
    keep = np.flatnonzero((wall >= season.start) & (wall < season.end))
    keep = keep[np.lexsort((person[keep], wall[keep]))]
    person, ordered = person[keep], wall[keep]
    share = np.concatenate([s.share for s in seeds])[keep]
    guest = np.concatenate([s.guest for s in seeds])[keep]
    brushed = np.concatenate([s.brushed for s in seeds])[keep]
    n = len(person)

    quick = rng.random(n) < 0.94
    wait = np.where(quick, rng.exponential(120.0, n), rng.uniform(1800.0, 60_000.0, n)).astype(np.int64) * 1000 + 4000
    paid = ordered + np.where(brushed >= 0, rng.integers(3, 9, n) * 1000, wait)
    careful = _careful(seed, brushed)
    paid = np.where(careful, ordered + wait, paid)
    unpaid = (rng.random(n) < 0.05) & (brushed < 0)
    paid = np.where(unpaid | (paid >= season.end), NEVER, paid)
    given_up = np.where(unpaid & (rng.random(n) < 0.8), ordered + DAY_MS, NEVER)
    regretted = ~unpaid & (paid < NEVER) & (brushed < 0) & (rng.random(n) < 0.012)
    cancelled = np.where(regretted, np.minimum(paid, season.end) + rng.integers(600, 72_000, n) * 1000, given_up)
    cancelled = np.where(cancelled >= season.end, NEVER, cancelled)

    sequence = np.arange(n, dtype=np.int64) + 1
    day = season.first_day.toordinal() + season.day_of(ordered)
    dates = _date_numbers(day)
    return Orders(
        order_ids=numbered("", dates * 100_000_000 + sequence, 16),
        person=person,
        ordered=ordered,
        paid=paid,
        cancelled=cancelled,
        share=share,
        guest=guest,
        brushed=brushed,
        marks=_order_marks(rng, season, people, person, ordered, guest, brushed, careful),
    )


def _careful(seed: int, brushed: Ints) -> NDArray[np.bool_]:
    """Brushed orders made with care: paid like anybody's, from a browser that shows no device."""
    rng = stream(seed, "careful")
    return (rng.random(len(brushed)) < CAREFUL) & (brushed >= 0)


def _date_numbers(ordinals: Ints) -> Ints:
    """Ordinals as numbers like 20260331."""
    days = (ordinals - 719_163).astype("datetime64[D]")
    year = days.astype("datetime64[Y]").astype(np.int64) + 1970
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    day = (days - days.astype("datetime64[M]")).astype(np.int64) + 1
    return year * 10_000 + month * 100 + day


def _order_marks(
    rng: np.random.Generator,
    season: Season,
    people: People,
    person: Ints,
    ordered: Ints,
    guest: NDArray[np.int8],
    brushed: Ints,
    careful: NDArray[np.bool_],
) -> ShownIds:
    """Members order logged in, guests in a browser whose cookie may show, rings on their devices or in a clean browser."""
    marks = shown_ids(rng, season, people, person, ordered, logged_in=1.0)
    n = len(person)
    is_guest, rings = guest > 0, brushed >= 0
    part = np.clip((ordered - season.start) / (season.days * DAY_MS), 0, 0.9999)
    cookie = np.where(is_guest, np.where(rng.random(n) < 0.7, people.cookies.of(person, part), -1), marks.cookie)
    ring_device = people.ring_devices[2 * np.maximum(brushed, 0) + rng.integers(0, 2, n)]
    return ShownIds(
        account=np.where(is_guest, -1, marks.account),
        device=np.where(is_guest, -1, np.where(rings, np.where(careful, -1, ring_device), marks.device)),
        cookie=np.where(rings, -1, cookie),
        openid=np.where(is_guest, -1, marks.openid),
        unionid=np.where(is_guest, -1, marks.unionid),
        channel=np.where(is_guest, H5, np.where(rings & ~careful, APP, np.where(rings, H5, marks.channel))).astype(
            np.int8
        ),
    )
