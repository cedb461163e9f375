"""The members' records as the shop's system writes them: a version whenever something about an account changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.money import Baskets
from simulator.orders import Orders
from simulator.people import Ints, People
from simulator.season import DAY_MS, NEVER, Season, stream

TIERS = ("普通会员", "银卡会员", "金卡会员", "钻石会员")
TIER_FROM = np.array([0, 100_000, 500_000, 2_000_000])  # net spend in fen
SNAPSHOT_BEFORE = 1  # days before the season on which the full list is delivered
_SETTLED_AT = 23 * 3_600_000  # points and tiers are settled on Sunday evenings


@dataclass(frozen=True)
class MemberRecords:
    """Arrays by version, in order of ``updated``; every version is the whole record as of then."""

    account: Ints
    updated: Ints
    spent: Ints
    points: Ints
    balance: Ints
    tier: NDArray[np.int8]
    city: Ints
    follows: NDArray[np.bool_]
    verified: NDArray[np.bool_]
    consents: NDArray[np.bool_]
    distributes: NDArray[np.bool_]
    merged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.account)


def _settlements(season: Season, orders: Orders, baskets: Baskets) -> tuple[Ints, Ints, Ints]:
    """(account, wall of the settlement, money since the one before) of every week in which an account paid."""
    rows = np.flatnonzero(orders.valid & (orders.marks.account >= 0))
    account, day = orders.marks.account[rows], season.day_of(orders.paid[rows])
    # weekday of 1970-01-01 is Thursday, so day 3 is a Sunday
    to_sunday = (3 - (day + season.epoch_day)) % 7
    week = season.epoch_day + day + to_sunday
    late = orders.paid[rows] % DAY_MS >= _SETTLED_AT
    week = np.where((to_sunday == 0) & late, week + 7, week)
    keys, which = np.unique(account * (1 << 20) + week, return_inverse=True)
    money = np.bincount(which, baskets.net[rows], len(keys)).astype(np.int64)
    return keys >> 20, (keys & ((1 << 20) - 1)) * DAY_MS + _SETTLED_AT, money


def make_member_records(seed: int, season: Season, people: People, orders: Orders, baskets: Baskets) -> MemberRecords:
    rng = stream(seed, "member records")
    accounts = people.accounts
    m = len(accounts.person)
    who = accounts.person
    snapshot = season.start - SNAPSHOT_BEFORE * DAY_MS
    before = np.maximum(accounts.registered, snapshot - rng.integers(0, 60, m) * DAY_MS) + rng.integers(0, 3_600_000, m)
    is_first = accounts.merged_into < 0
    first_of_person = people.account[who] == np.arange(m)

    def of_person(moment: Ints) -> Ints:
        return np.where(first_of_person, moment[who], NEVER)

    settled, settled_at, money = _settlements(season, orders, baskets)
    every = np.arange(m)
    changes = [
        np.where(accounts.registered < snapshot, before, accounts.registered),
        accounts.phone_verified_at,
        accounts.merged_at,
        of_person(people.follows_at),
        of_person(people.moved_at),
        of_person(people.distributor_from),
        of_person(people.consents_until),
    ]
    account = np.concatenate([*([every] * len(changes)), settled])
    updated = np.concatenate([*changes, settled_at])
    # what happened before the snapshot stands in it
    first_version = np.maximum(changes[0], 0)[account]
    keep = (updated < season.end) & (updated >= first_version) & ((updated > snapshot) | (updated == first_version))
    keep &= updated >= accounts.registered[account]
    account, updated = account[keep], updated[keep] // 1000 * 1000
    key = np.unique(np.stack([updated, account]), axis=1)
    updated, account = key[0], key[1]

    # running sums of settled money by account, read at each version
    order = np.lexsort((settled_at, settled))
    running = np.cumsum(money[order])
    packed = settled[order] * (1 << 44) + settled_at[order]
    position = np.searchsorted(packed, account * (1 << 44) + updated, side="right")
    start = np.searchsorted(settled[order], account)
    total = np.concatenate([[0], running])
    earlier = np.where(accounts.registered < season.start, rng.gamma(0.8, 60_000, m), 0).astype(np.int64)
    spent = total[position] - total[start] + earlier[account]
    person = who[account]
    now = updated + 999
    balance = np.where(rng.random(m) < 0.2, rng.integers(0, 300, m) * 100, 0)
    return MemberRecords(
        account=account,
        updated=updated,
        spent=spent,
        points=spent // 100,
        balance=balance[account],
        tier=(np.searchsorted(TIER_FROM, spent, side="right") - 1).astype(np.int8),
        city=np.where(people.moved_at[person] <= now, people.moved_to[person], people.city[person]),
        follows=(people.follows_at[person] <= now) & first_of_person[account],
        verified=accounts.phone_verified_at[account] <= now,
        consents=people.consents_until[person] > now,
        distributes=(people.distributor_from[person] <= now) & first_of_person[account],
        merged=(accounts.merged_at[account] <= now) & ~is_first[account],
    )
