"""Who there is: persons with their true traits, member accounts, devices, cookies and other ids, and brushing rings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.ids import hex_ids, numbered, phone_numbers
from simulator.places import CITIES
from simulator.products import BEAUTY_BRANDS, CATEGORIES, HOUSE_BRANDS, PARENTS
from simulator.season import CLOCKS, DAY_MS, NEVER, Season, pick_between, stream, time_of_day

APP, MINI, H5, PC, STORE = range(5)
CHANNELS = ("app", "mini_program", "h5", "pc", "store")
ROLES = ("none", "connector", "maven", "salesman")
NONE, CONNECTOR, MAVEN, SALESMAN = range(4)
STORE_TABLETS = 3

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Owned:
    """Ids of one kind in person order: person p owns ``first[p]`` to ``first[p] + count[p]``."""

    first: Ints
    count: Ints
    values: pa.StringArray

    def of(self, person: Ints, part: NDArray[np.float64]) -> Ints:
        """The id in use at ``part`` (0 to 1) of the season, -1 for who owns none: ids follow one another."""
        count = self.count[person]
        index = self.first[person] + np.minimum((part * count).astype(np.int64), np.maximum(count - 1, 0))
        return np.where(count > 0, index, -1)


@dataclass(frozen=True)
class Accounts:
    """Member accounts; a person has none, one, or two (``merged_at``: when the shop joined the second to the first)."""

    person: Ints
    registered: Ints
    member_ids: pa.StringArray
    phone: Ints
    phone_verified_at: Ints
    has_email: NDArray[np.bool_]
    openid: Ints
    device: Ints
    channel: NDArray[np.int8]
    merged_into: Ints
    merged_at: Ints


@dataclass(frozen=True)
class People:
    """Arrays by person. ``registered`` is NEVER for anonymous visitors; ``ring`` is -1 for who does not brush."""

    n: int
    is_member: NDArray[np.bool_]
    ring: Ints
    registered: Ints
    wants_invite: NDArray[np.bool_]
    seen_from: Ints
    city: Ints
    moved_at: Ints
    moved_to: Ints
    gender: NDArray[np.int8]
    birth_day: Ints
    sensitivity: NDArray[np.int8]
    role: NDArray[np.int8]
    distributor_level: NDArray[np.int8]
    distributor_from: Ints
    clock: NDArray[np.int8]
    favourite: NDArray[np.int8]
    brand: NDArray[np.int8]
    visit_rate: NDArray[np.float64]
    order_rate: NDArray[np.float64]
    staying: NDArray[np.float64]
    will_buy: NDArray[np.bool_]
    channel: NDArray[np.int8]
    other_channel: NDArray[np.int8]
    follows_at: Ints
    consents_until: Ints
    account: Ints
    second_account: Ints
    second_device: Ints
    borrowed_device: Ints
    borrowed_from: Ints
    ring_devices: Ints
    tablets: Ints
    devices: Owned
    cookies: Owned
    openids: Owned
    unionids: pa.StringArray
    has_unionid: NDArray[np.bool_]
    phones: pa.StringArray
    accounts: Accounts

    @property
    def brushes(self) -> NDArray[np.bool_]:
        return self.ring >= 0


def _owned(prefix: str, seed: int, count: Ints, more: int = 0) -> Owned:
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    return Owned(first, count, hex_ids(prefix, seed, int(count.sum()) + more))


def _best(*has: tuple[int, NDArray[np.bool_]]) -> NDArray[np.int8]:
    chosen = np.full(len(has[0][1]), -1, np.int8)
    for channel, there in has:
        chosen = np.where((chosen < 0) & there, channel, chosen).astype(np.int8)
    return chosen


def make_people(seed: int, season: Season, n: int) -> People:
    """``n`` persons, about 35 % of them anonymous visitors; the last ones are the brushing rings' accounts."""
    rng = stream(seed, "people")
    ring_size = 15 if n >= 2000 else 6
    rings = max(1, n // 2500)
    ring = np.full(n, -1, np.int64)
    ring[n - rings * ring_size :] = np.repeat(np.arange(rings), ring_size)
    brushes = ring >= 0
    is_member = (rng.random(n) >= 0.35) | brushes

    # registrations: almost half before the season, the others by the pull of the days
    old = is_member & (rng.random(n) < 0.45) & ~brushes
    zero, all_days = np.zeros(n, np.int64), np.full(n, season.days, np.int64)
    clock = rng.integers(0, CLOCKS, n).astype(np.int8)
    day = pick_between(rng, season.visit_cum, zero, all_days)
    registered = season.start + day * DAY_MS + time_of_day(rng, clock)
    registered = np.where(old, registered - season.days * DAY_MS - rng.integers(0, 900, n) * DAY_MS, registered)
    ring_day = rng.integers(0, max(1, season.days // 2), rings)
    ring_start = season.start + ring_day * DAY_MS + 10 * 3_600_000
    registered[brushes] = ring_start[ring[brushes]] + rng.integers(0, 5_400_000, int(brushes.sum()))
    registered = np.where(is_member, registered, NEVER)
    new = is_member & ~old & ~brushes
    visitor_day = pick_between(rng, season.visit_cum, zero, all_days)
    seen_from = np.where(new, np.maximum(season.day_of(registered) - rng.geometric(0.25, n) + 1, 0), 0)
    seen_from = np.where(is_member, seen_from, visitor_day)

    # which kinds of ids each person has; every member has an openid or a device
    kind = rng.random(n)
    further = rng.random((3, n)) < np.where(is_member, 0.55, 0.06)
    has_openid = (kind < 0.45) | further[0]
    has_device = ((kind >= 0.45) & (kind < np.where(is_member, 1.0, 0.72))) | further[1]
    has_cookie = ((kind >= 0.72) & ~is_member) | further[2]
    has_device |= brushes
    n_devices = np.where(has_device, 1 + (rng.random(n) < np.where(is_member, 0.25, 0.0)), 0)
    n_cookies = np.where(has_cookie, 1 + rng.poisson(np.where(is_member, 0.8, 0.08)), 0)
    has_unionid = has_openid & (rng.random(n) < 0.85)
    n_openids = np.where(has_openid, 1 + (has_unionid & is_member & (rng.random(n) < 0.1)), 0)

    # second accounts: half recognised by the same verified phone, half merged by the shop
    span = season.days - 12
    second = new & (rng.random(n) < 0.05) | old & (rng.random(n) < 0.02)
    second_at = np.maximum(registered, season.start) + (3 + rng.random(n) * max(span, 0)).astype(np.int64) * DAY_MS
    by_phone = rng.random(n) < 0.5
    merged_at = second_at + rng.integers(2, 8, n) * DAY_MS + rng.integers(0, 8, n) * 3_600_000
    second &= np.where(by_phone, second_at, merged_at) < season.end - DAY_MS
    seconds = np.flatnonzero(second)
    devices = _owned("d", seed, n_devices, len(seconds) + STORE_TABLETS + 2 * rings)
    extra = int(n_devices.sum())
    second_device = np.full(n, -1, np.int64)
    second_device[seconds] = extra + np.arange(len(seconds))
    tablets = extra + len(seconds) + np.arange(STORE_TABLETS)
    ring_devices = extra + len(seconds) + STORE_TABLETS + np.arange(2 * rings)

    members = np.flatnonzero(is_member)
    account = np.full(n, -1, np.int64)
    account[members] = np.arange(len(members))
    second_account = np.full(n, -1, np.int64)
    second_account[seconds] = len(members) + np.arange(len(seconds))

    # a device lent within the family, from a day on
    owners = np.flatnonzero(is_member & has_device & ~brushes & ~second)
    borrowers = owners[rng.random(len(owners)) < 0.03]
    borrowed_device = np.full(n, -1, np.int64)
    if len(owners):
        lenders = owners[rng.integers(0, len(owners), len(borrowers))]
        fine = lenders != borrowers
        borrowed_device[borrowers[fine]] = devices.first[lenders[fine]]
    borrowed_from = season.start + rng.integers(0, season.days, n) * DAY_MS

    channel = _best((APP, has_device & (rng.random(n) < 0.6)), (MINI, has_openid), (APP, has_device), (H5, has_cookie))
    channel = np.where(has_cookie & (rng.random(n) < 0.25), H5, channel)
    channel = np.where((channel == H5) & (rng.random(n) < 0.4), PC, channel).astype(np.int8)
    other = _best(
        (MINI, has_openid & (channel != MINI)),
        (APP, has_device & (channel != APP)),
        (H5, has_cookie & (channel < H5)),
        (-1, np.ones(n, bool)),
    )
    other = np.where(other < 0, channel, other).astype(np.int8)

    role = np.where(is_member & ~brushes, rng.choice(4, n, p=[0.94, 0.02, 0.02, 0.02]), 0).astype(np.int8)
    sells = is_member & ~brushes & (rng.random(n) < np.where(role == SALESMAN, 0.35, 0.02))
    beauty = rng.random(n)
    favourite = rng.choice(PARENTS, n, p=[c[2] for c in CATEGORIES]).astype(np.int8)
    follow_gap = (rng.random(n) * 40).astype(np.int64) * DAY_MS + rng.integers(60_000, DAY_MS // 2, n)
    leaves = (rng.random(n) < 0.04) & is_member
    weights = np.array([c[2] for c in CITIES])
    city = rng.choice(len(CITIES), n, p=weights / weights.sum())
    moves = is_member & (rng.random(n) < 0.02)
    anywhen = season.start + rng.integers(1, max(2, season.days), n) * DAY_MS + rng.integers(0, DAY_MS, n)
    people_accounts = _accounts(
        seed, season, members, seconds, registered, second_at, merged_at, by_phone, brushes, ring, ring_devices,
        tablets, devices, n_openids, channel, second_device,
    )  # fmt: skip
    return People(
        n=n,
        is_member=is_member,
        ring=ring,
        registered=registered,
        wants_invite=new & (rng.random(n) < 0.5),
        seen_from=seen_from,
        city=city,
        moved_at=np.where(moves & (anywhen > registered), anywhen, NEVER),
        moved_to=rng.integers(0, len(CITIES), n),
        gender=rng.choice(3, n, p=[0.62, 0.28, 0.10]).astype(np.int8),
        birth_day=(np.clip(rng.normal(1991, 9, n), 1950, 2007).astype(np.int64) - 1970) * 1461 // 4
        + np.where(rng.random(n) < 0.2, 0, rng.integers(1, 365, n)),
        sensitivity=rng.choice(4, n, p=[0.15, 0.35, 0.30, 0.20]).astype(np.int8),
        role=role,
        distributor_level=np.where(sells, rng.integers(1, 4, n), 0).astype(np.int8),
        distributor_from=np.where(sells, np.where(old, registered + 30 * DAY_MS, registered + 5 * DAY_MS), NEVER),
        clock=clock,
        favourite=favourite,
        brand=np.where(
            favourite <= 1,
            np.where(beauty < 0.35, 0, beauty * len(BEAUTY_BRANDS)),
            len(BEAUTY_BRANDS) + beauty * len(HOUSE_BRANDS),
        ).astype(np.int8),
        visit_rate=np.where(is_member, rng.gamma(1.5, 0.055, n), rng.gamma(2.0, 0.06, n)),
        order_rate=rng.gamma(1.3, 0.04, n),
        staying=rng.gamma(1.5, 90.0, n),
        will_buy=is_member & ~brushes & (rng.random(n) < 0.85),
        channel=channel,
        other_channel=other,
        follows_at=np.where(is_member & ~brushes & (rng.random(n) < 0.5), registered + follow_gap, NEVER),
        consents_until=np.where(rng.random(n) < 0.25, 0, np.where(leaves, np.maximum(anywhen, registered), NEVER)),
        account=account,
        second_account=second_account,
        second_device=second_device,
        borrowed_device=borrowed_device,
        borrowed_from=borrowed_from,
        ring_devices=ring_devices,
        tablets=tablets,
        devices=devices,
        cookies=_owned("c", seed, n_cookies),
        openids=_owned("o", seed, n_openids),
        unionids=hex_ids("u", seed, n),
        has_unionid=has_unionid,
        phones=phone_numbers(seed, len(members) + len(seconds)),
        accounts=people_accounts,
    )


def _accounts(
    seed: int,
    season: Season,
    members: Ints,
    seconds: Ints,
    registered: Ints,
    second_at: Ints,
    merged_at: Ints,
    by_phone: NDArray[np.bool_],
    brushes: NDArray[np.bool_],
    ring: Ints,
    ring_devices: Ints,
    tablets: Ints,
    devices: Owned,
    n_openids: Ints,
    channel: NDArray[np.int8],
    second_device: Ints,
) -> Accounts:
    rng = stream(seed, "accounts")
    n, m = len(members), len(members) + len(seconds)
    person = np.concatenate([members, seconds])
    is_second = np.arange(m) >= n
    opened = np.where(is_second, second_at[person], registered[person])
    first_account = np.full(len(registered), -1, np.int64)
    first_account[members] = np.arange(n)

    phone = np.where(rng.random(m) < 0.93, np.arange(m), -1)
    verified = opened + np.where(rng.random(m) < 0.8, 0, (1 + rng.random(m) * 60).astype(np.int64) * DAY_MS)
    verified = np.where((phone < 0) | (rng.random(m) < 0.08) | brushes[person], NEVER, verified)
    # the same verified phone makes two accounts one person, so both must have it
    pair = np.flatnonzero(is_second & by_phone[person])
    elder = first_account[person[pair]]
    phone[elder] = elder
    phone[pair] = elder
    verified[elder] = opened[elder]
    verified[pair] = opened[pair]
    joined = np.flatnonzero(is_second & ~by_phone[person])
    phone[joined] = -1
    verified[joined] = NEVER
    # somebody else's phone, never verified: the trap that must not join two persons
    typed = np.flatnonzero((rng.random(m) < 0.005) & ~is_second & ~brushes[person] & (verified == NEVER))
    others = np.flatnonzero((phone >= 0) & (phone == np.arange(m)) & (verified < NEVER))
    if len(others) and len(typed):
        phone[typed] = phone[others[rng.integers(0, len(others), len(typed))]]

    part = np.clip((opened - season.start) / (season.days * DAY_MS), 0, 0.999)
    device = devices.of(person, part)
    in_store = (rng.random(m) < 0.06) & ~is_second & ~brushes[person]
    on_tablet = in_store & (rng.random(m) < 0.3) & (n_openids[person] > 0)
    device = np.where(on_tablet, tablets[rng.integers(0, len(tablets), m)], device)
    device = np.where(is_second, second_device[person], device)
    device = np.where(brushes[person], ring_devices[2 * np.maximum(ring[person], 0) + np.arange(m) % 2], device)
    openid_first = np.concatenate([[0], np.cumsum(n_openids)[:-1]])
    openid = np.where((n_openids[person] > 0) & ~is_second, openid_first[person], -1)

    number = np.empty(m, np.int64)
    number[np.argsort(opened, kind="stable")] = np.arange(m)
    return Accounts(
        person=person,
        registered=opened,
        member_ids=numbered("", number + 100_001, 9),
        phone=phone,
        phone_verified_at=verified,
        has_email=rng.random(m) < 0.25,
        openid=openid,
        device=device,
        channel=np.where(in_store, STORE, np.where(is_second | brushes[person], APP, channel[person])).astype(np.int8),
        merged_into=np.where(is_second & ~by_phone[person], first_account[person], -1),
        merged_at=np.where(is_second & ~by_phone[person], merged_at[person], NEVER),
    )
