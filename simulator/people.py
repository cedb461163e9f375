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
class Arrivals:
    """When persons came. ``registered`` is NEVER for anonymous visitors; ``ring`` is -1 for who does not brush."""

    is_member: NDArray[np.bool_]
    ring: Ints
    clock: NDArray[np.int8]
    registered_before: NDArray[np.bool_]
    registered: Ints
    seen_from: Ints

    @property
    def brushes(self) -> NDArray[np.bool_]:
        return self.ring >= 0

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Members who registered within the season."""
        return self.is_member & ~self.registered_before & ~self.brushes


@dataclass(frozen=True)
class Ids:
    """What persons are known by, and whose devices others use; -1 for none."""

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


@dataclass(frozen=True)
class Traits:
    """What persons are like, whatever they do."""

    wants_invite: NDArray[np.bool_]
    city: Ints
    moved_at: Ints
    moved_to: Ints
    gender: NDArray[np.int8]
    birth_day: Ints
    sensitivity: NDArray[np.int8]
    role: NDArray[np.int8]
    distributor_level: NDArray[np.int8]
    distributor_from: Ints
    favourite: NDArray[np.int8]
    brand: NDArray[np.int8]
    visit_rate: NDArray[np.float64]
    order_rate: NDArray[np.float64]
    staying: NDArray[np.float64]
    will_buy: NDArray[np.bool_]
    follows_at: Ints
    consents_until: Ints


@dataclass(frozen=True)
class People(Arrivals, Ids, Traits):
    """Arrays by person."""

    n: int
    channel: NDArray[np.int8]
    other_channel: NDArray[np.int8]
    account: Ints
    second_account: Ints
    phones: pa.StringArray
    accounts: Accounts


@dataclass(frozen=True)
class _Kinds:
    """How many ids of each kind a person has."""

    devices: Ints
    cookies: Ints
    openids: Ints
    has_unionid: NDArray[np.bool_]


@dataclass(frozen=True)
class _Seconds:
    """Who has a second account; by person, when it was opened and merged, or that the same phone tells."""

    who: Ints
    opened: Ints
    by_phone: NDArray[np.bool_]
    merged_at: Ints


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
    # one stream for all: the order of these calls is the order of the draws
    rng = stream(seed, "people")
    arrivals = _arrivals(rng, season, n)
    kinds = _kinds(rng, arrivals)
    seconds = _seconds(rng, season, arrivals)
    ids = _ids(rng, seed, season, arrivals, kinds, seconds)
    channel, other_channel = _channels(rng, kinds)
    traits = _traits(rng, season, arrivals)
    members = np.flatnonzero(arrivals.is_member)
    return People(
        **vars(arrivals),
        **vars(ids),
        **vars(traits),
        n=n,
        channel=channel,
        other_channel=other_channel,
        account=_places(n, members, 0),
        second_account=_places(n, seconds.who, len(members)),
        phones=phone_numbers(seed, len(members) + len(seconds.who)),
        accounts=_accounts(seed, season, arrivals, ids, seconds, channel),
    )


def _places(n: int, who: Ints, first: int) -> Ints:
    """By person, numbers from ``first`` on for those in ``who``, -1 for the others."""
    found = np.full(n, -1, np.int64)
    found[who] = first + np.arange(len(who))
    return found


def _arrivals(rng: np.random.Generator, season: Season, n: int) -> Arrivals:
    """Almost half of the members registered before the season, the others by the pull of the days."""
    ring_size = 15 if n >= 2000 else 6
    rings = max(1, n // 2500)
    ring = np.full(n, -1, np.int64)
    ring[n - rings * ring_size :] = np.repeat(np.arange(rings), ring_size)
    brushes = ring >= 0
    is_member = (rng.random(n) >= 0.35) | brushes
    before = is_member & (rng.random(n) < 0.45) & ~brushes
    zero, all_days = np.zeros(n, np.int64), np.full(n, season.days, np.int64)
    clock = rng.integers(0, CLOCKS, n).astype(np.int8)
    day = pick_between(rng, season.visit_cum, zero, all_days)
    registered = season.start + day * DAY_MS + time_of_day(rng, clock)
    registered = np.where(before, registered - season.days * DAY_MS - rng.integers(0, 900, n) * DAY_MS, registered)
    ring_day = rng.integers(0, max(1, season.days // 2), rings)
    ring_start = season.start + ring_day * DAY_MS + 10 * 3_600_000
    registered[brushes] = ring_start[ring[brushes]] + rng.integers(0, 5_400_000, int(brushes.sum()))
    registered = np.where(is_member, registered, NEVER)
    visitor_day = pick_between(rng, season.visit_cum, zero, all_days)
    new = is_member & ~before & ~brushes
    seen_from = np.where(new, np.maximum(season.day_of(registered) - rng.geometric(0.25, n) + 1, 0), 0)
    return Arrivals(is_member, ring, clock, before, registered, np.where(is_member, seen_from, visitor_day))


def _kinds(rng: np.random.Generator, arrivals: Arrivals) -> _Kinds:
    """Every member has an openid or a device."""
    is_member, n = arrivals.is_member, len(arrivals.is_member)
    kind = rng.random(n)
    further = rng.random((3, n)) < np.where(is_member, 0.55, 0.06)
    has_openid = (kind < 0.45) | further[0]
    has_device = ((kind >= 0.45) & (kind < np.where(is_member, 1.0, 0.72))) | further[1]
    has_cookie = ((kind >= 0.72) & ~is_member) | further[2]
    has_device |= arrivals.brushes
    devices = np.where(has_device, 1 + (rng.random(n) < np.where(is_member, 0.25, 0.0)), 0)
    cookies = np.where(has_cookie, 1 + rng.poisson(np.where(is_member, 0.8, 0.08)), 0)
    has_unionid = has_openid & (rng.random(n) < 0.85)
    openids = np.where(has_openid, 1 + (has_unionid & is_member & (rng.random(n) < 0.1)), 0)
    return _Kinds(devices, cookies, openids, has_unionid)


def _seconds(rng: np.random.Generator, season: Season, arrivals: Arrivals) -> _Seconds:
    """Half of the second accounts are recognised by the same verified phone, half merged by the shop."""
    n, registered = len(arrivals.registered), arrivals.registered
    span = max(season.days - 12, 0)
    second = arrivals.is_new & (rng.random(n) < 0.05) | arrivals.registered_before & (rng.random(n) < 0.02)
    opened = np.maximum(registered, season.start) + (3 + rng.random(n) * span).astype(np.int64) * DAY_MS
    by_phone = rng.random(n) < 0.5
    merged_at = opened + rng.integers(2, 8, n) * DAY_MS + rng.integers(0, 8, n) * 3_600_000
    second &= np.where(by_phone, opened, merged_at) < season.end - DAY_MS
    return _Seconds(np.flatnonzero(second), opened, by_phone, merged_at)


def _ids(
    rng: np.random.Generator, seed: int, season: Season, arrivals: Arrivals, kinds: _Kinds, seconds: _Seconds
) -> Ids:
    """After the persons' own devices come those of second accounts, then the stores' tablets, then two a ring."""
    n, rings = len(arrivals.ring), int(arrivals.ring.max()) + 1
    devices = _owned("d", seed, kinds.devices, len(seconds.who) + STORE_TABLETS + 2 * rings)
    extra = int(kinds.devices.sum())
    tablets = extra + len(seconds.who) + np.arange(STORE_TABLETS)
    owns = arrivals.is_member & (kinds.devices > 0) & ~arrivals.brushes
    owns[seconds.who] = False
    return Ids(
        second_device=_places(n, seconds.who, extra),
        borrowed_device=_borrowed(rng, devices, np.flatnonzero(owns)),
        borrowed_from=season.start + rng.integers(0, season.days, n) * DAY_MS,
        ring_devices=tablets[-1] + 1 + np.arange(2 * rings),
        tablets=tablets,
        devices=devices,
        cookies=_owned("c", seed, kinds.cookies),
        openids=_owned("o", seed, kinds.openids),
        unionids=hex_ids("u", seed, n),
        has_unionid=kinds.has_unionid,
    )


def _borrowed(rng: np.random.Generator, devices: Owned, owners: Ints) -> Ints:
    """By person, the device that another of the ``owners`` lends within the family; -1 for most."""
    borrowers = owners[rng.random(len(owners)) < 0.03]
    found = np.full(len(devices.first), -1, np.int64)
    if len(owners):
        lenders = owners[rng.integers(0, len(owners), len(borrowers))]
        fine = lenders != borrowers
        found[borrowers[fine]] = devices.first[lenders[fine]]
    return found


def _channels(rng: np.random.Generator, kinds: _Kinds) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The channel that each person uses most, and another one (the same where there is no other)."""
    has_device, has_openid, has_cookie = kinds.devices > 0, kinds.openids > 0, kinds.cookies > 0
    n = len(has_device)
    channel = _best((APP, has_device & (rng.random(n) < 0.6)), (MINI, has_openid), (APP, has_device), (H5, has_cookie))
    channel = np.where(has_cookie & (rng.random(n) < 0.25), H5, channel)
    channel = np.where((channel == H5) & (rng.random(n) < 0.4), PC, channel).astype(np.int8)
    other = _best(
        (MINI, has_openid & (channel != MINI)), (APP, has_device & (channel != APP)), (H5, has_cookie & (channel < H5))
    )
    return channel, np.where(other < 0, channel, other).astype(np.int8)


def _traits(rng: np.random.Generator, season: Season, arrivals: Arrivals) -> Traits:
    is_member, registered, n = arrivals.is_member, arrivals.registered, len(arrivals.is_member)
    shops = is_member & ~arrivals.brushes
    role = np.where(shops, rng.choice(4, n, p=[0.94, 0.02, 0.02, 0.02]), 0).astype(np.int8)
    sells = shops & (rng.random(n) < np.where(role == SALESMAN, 0.35, 0.02))
    beauty = rng.random(n)
    favourite = rng.choice(PARENTS, n, p=[c[2] for c in CATEGORIES]).astype(np.int8)
    follow_gap = (rng.random(n) * 40).astype(np.int64) * DAY_MS + rng.integers(60_000, DAY_MS // 2, n)
    leaves = (rng.random(n) < 0.04) & is_member
    weights = np.array([c[2] for c in CITIES])
    city = rng.choice(len(CITIES), n, p=weights / weights.sum())
    moves = is_member & (rng.random(n) < 0.02)
    anywhen = season.start + rng.integers(1, max(2, season.days), n) * DAY_MS + rng.integers(0, DAY_MS, n)
    sells_after = np.where(arrivals.registered_before, 30, 5) * DAY_MS
    return Traits(
        wants_invite=arrivals.is_new & (rng.random(n) < 0.5),
        city=city,
        moved_at=np.where(moves & (anywhen > registered), anywhen, NEVER),
        moved_to=rng.integers(0, len(CITIES), n),
        gender=rng.choice(3, n, p=[0.62, 0.28, 0.10]).astype(np.int8),
        birth_day=(np.clip(rng.normal(1991, 9, n), 1950, 2007).astype(np.int64) - 1970) * 1461 // 4
        + np.where(rng.random(n) < 0.2, 0, rng.integers(1, 365, n)),
        sensitivity=rng.choice(4, n, p=[0.15, 0.35, 0.30, 0.20]).astype(np.int8),
        role=role,
        distributor_level=np.where(sells, rng.integers(1, 4, n), 0).astype(np.int8),
        distributor_from=np.where(sells, registered + sells_after, NEVER),
        favourite=favourite,
        brand=np.where(
            favourite <= 1,
            np.where(beauty < 0.35, 0, beauty * len(BEAUTY_BRANDS)),
            len(BEAUTY_BRANDS) + beauty * len(HOUSE_BRANDS),
        ).astype(np.int8),
        visit_rate=np.where(is_member, rng.gamma(1.5, 0.055, n), rng.gamma(2.0, 0.06, n)),
        order_rate=rng.gamma(1.3, 0.04, n),
        staying=rng.gamma(1.5, 90.0, n),
        will_buy=shops & (rng.random(n) < 0.85),
        follows_at=np.where(shops & (rng.random(n) < 0.5), registered + follow_gap, NEVER),
        consents_until=np.where(rng.random(n) < 0.25, 0, np.where(leaves, np.maximum(anywhen, registered), NEVER)),
    )


def _accounts(
    seed: int, season: Season, arrivals: Arrivals, ids: Ids, seconds: _Seconds, main_channel: NDArray[np.int8]
) -> Accounts:
    rng = stream(seed, "accounts")
    members = np.flatnonzero(arrivals.is_member)
    person = np.concatenate([members, seconds.who])
    is_second = np.arange(len(person)) >= len(members)
    brushes = arrivals.brushes[person]
    opened = np.where(is_second, seconds.opened[person], arrivals.registered[person])
    joined = is_second & ~seconds.by_phone[person]
    first_account = _places(len(arrivals.ring), members, 0)[person]

    phone, verified = _phones(rng, opened, brushes, first_account, is_second, joined)
    m, has_openid = len(person), ids.openids.count[person] > 0
    part = np.clip((opened - season.start) / (season.days * DAY_MS), 0, 0.999)
    device = ids.devices.of(person, part)
    in_store = (rng.random(m) < 0.06) & ~is_second & ~brushes
    on_tablet = in_store & (rng.random(m) < 0.3) & has_openid
    device = np.where(on_tablet, ids.tablets[rng.integers(0, len(ids.tablets), m)], device)
    device = np.where(is_second, ids.second_device[person], device)
    ring = np.maximum(arrivals.ring[person], 0)
    device = np.where(brushes, ids.ring_devices[2 * ring + np.arange(m) % 2], device)
    channel = np.where(is_second | brushes, APP, main_channel[person])

    number = np.empty(m, np.int64)
    number[np.argsort(opened, kind="stable")] = np.arange(m)
    return Accounts(
        person=person,
        registered=opened,
        member_ids=numbered("", number + 100_001, 9),
        phone=phone,
        phone_verified_at=verified,
        has_email=rng.random(m) < 0.25,
        openid=np.where(has_openid & ~is_second, ids.openids.first[person], -1),
        device=device,
        channel=np.where(in_store, STORE, channel).astype(np.int8),
        merged_into=np.where(joined, first_account, -1),
        merged_at=np.where(joined, seconds.merged_at[person], NEVER),
    )


def _phones(
    rng: np.random.Generator,
    opened: Ints,
    brushes: NDArray[np.bool_],
    first_account: Ints,
    is_second: NDArray[np.bool_],
    joined: NDArray[np.bool_],
) -> tuple[Ints, Ints]:
    """Each account's phone (-1 for none) and when it was verified; ``joined`` are those that the shop merges."""
    m = len(opened)
    phone = np.where(rng.random(m) < 0.93, np.arange(m), -1)
    verified = opened + np.where(rng.random(m) < 0.8, 0, (1 + rng.random(m) * 60).astype(np.int64) * DAY_MS)
    verified = np.where((phone < 0) | (rng.random(m) < 0.08) | brushes, NEVER, verified)
    # the same verified phone makes two accounts one person, so both must have it
    pair = np.flatnonzero(is_second & ~joined)
    elder = first_account[pair]
    phone[elder] = elder
    phone[pair] = elder
    verified[elder] = opened[elder]
    verified[pair] = opened[pair]
    phone[joined] = -1
    verified[joined] = NEVER
    # somebody else's phone, never verified: the trap that must not join two persons
    typed = np.flatnonzero((rng.random(m) < 0.005) & ~is_second & ~brushes & (verified == NEVER))
    others = np.flatnonzero((phone >= 0) & (phone == np.arange(m)) & (verified < NEVER))
    if len(others) and len(typed):
        phone[typed] = phone[others[rng.integers(0, len(others), len(typed))]]
    return phone, verified
