"""Cross-purchase (交叉消费): categories bought together, and the next one for a user (definitions.md section 14).

A basket is all that a user bought within a window, so a user is in it once per category, however often it was bought.
Everything is counted in whole numbers, so that counts of groups of users simply add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.configuration import Settings

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
PAIRS_AT_ONCE = 4_000_000


class CrossPurchaseSettings(Settings):
    """``methods/cross_purchase.yaml``.

    ``window`` is a basket's business days, ending on the day counted. ``categories``: only so many, those with the
    most baskets, are paired. ``min_joint_baskets`` a pair needs to be a rule. ``min_lift``: rules at or below it are
    reported but recommend nothing. ``max_rules``: of more rules those with the most joint baskets are kept.
    """

    window: int = Field(default=180, ge=1, le=3_660)
    categories: int = Field(default=500, ge=2, le=2_000)
    min_joint_baskets: int = Field(default=30, ge=1)
    min_lift: float = Field(default=1.0, ge=0)
    max_rules: int = Field(default=20_000, ge=1)


@dataclass(frozen=True)
class Rules:
    """Who bought ``left`` also bought ``right``; items are numbers. Strongest first.

    support = joint / baskets, confidence = joint / left, lift = joint x baskets / (left x right); strength = confidence
    x lift, equal ones in order of left and right.
    """

    left: Ints
    right: Ints
    baskets: int
    left_baskets: Ints
    right_baskets: Ints
    joint_baskets: Ints

    def __len__(self) -> int:
        return len(self.left)

    @property
    def support(self) -> Floats:
        return self.joint_baskets / max(self.baskets, 1)

    @property
    def confidence(self) -> Floats:
        return self.joint_baskets / self.left_baskets

    @property
    def lift(self) -> Floats:
        return self.confidence * self.baskets / self.right_baskets

    @property
    def strength(self) -> Floats:
        return self.confidence * self.lift

    def where(self, chosen: NDArray[np.bool_] | Ints) -> Rules:
        return Rules(
            self.left[chosen],
            self.right[chosen],
            self.baskets,
            self.left_baskets[chosen],
            self.right_baskets[chosen],
            self.joint_baskets[chosen],
        )


def baskets(uid: Ints, category: Ints) -> tuple[Ints, Ints]:
    """Distinct (uid, category) in order of both; category 0 is none and left out."""
    known = category > 0
    span = int(category.max(initial=0)) + 1
    packed = np.unique(uid[known] * span + category[known])
    return packed // span, packed % span


def most_bought(counts: Ints, limit: int) -> Ints:
    """The categories with the most baskets, ascending; ``counts`` by category. Of equals the lower number comes first."""
    order = np.lexsort((np.arange(len(counts)), -counts))[:limit]
    return np.sort(order[counts[order] > 0])


def pair_counts(uid: Ints, item: Ints, items: int) -> tuple[Ints, Ints]:
    """How many users have both of two items: (left x items + right, users) where left < right, ascending.

    ``uid`` and ``item`` are distinct pairs in order of both, items count from 0. Time and memory grow with the squares
    of the users' numbers of items, taken a few million pairs at a time.
    """
    opens = np.flatnonzero(np.r_[True, uid[1:] != uid[:-1]]) if len(uid) else np.empty(0, np.int64)
    start = np.repeat(opens, np.diff(np.r_[opens, len(uid)]))
    earlier = np.arange(len(uid)) - start
    ends = np.cumsum(earlier)
    total = np.zeros(items * items, np.int64)
    first = 0
    while first < len(uid):
        done = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, done + PAIRS_AT_ONCE, side="right")), first + 1)
        many = earlier[first:last]
        right = np.repeat(item[first:last], many)
        within = np.arange(len(right)) - np.repeat(np.cumsum(many) - many, many)
        left = item[np.repeat(start[first:last], many) + within]
        total += np.bincount(left * items + right, minlength=items * items)
        first = last
    found = np.flatnonzero(total)
    return found, total[found]


def rules(
    pairs: tuple[Ints, Ints], item_baskets: Ints, all_baskets: int, min_joint_baskets: int, max_rules: int
) -> Rules:
    """Both directions of every pair with enough joint baskets; ``item_baskets`` by item, ``pairs`` of ``pair_counts``."""
    key, joint = pairs
    enough = joint >= min_joint_baskets
    key, joint = key[enough], joint[enough]
    low, high = key // len(item_baskets), key % len(item_baskets)
    left, right = np.concatenate([low, high]), np.concatenate([high, low])
    joint = np.concatenate([joint, joint])
    most = np.lexsort((right, left, -joint))[:max_rules]
    left, right, joint = left[most], right[most], joint[most]
    found = Rules(left, right, all_baskets, item_baskets[left], item_baskets[right], joint)
    return found.where(np.lexsort((found.right, found.left, -found.strength)))


def next_items(uid: Ints, item: Ints, strongest: Rules) -> tuple[Ints, Ints]:
    """For each user the right side of the strongest rule whose left is in the basket and whose right is not.

    ``strongest`` in order (``rules``), ``uid`` and ``item`` distinct pairs in order of uid. Users whom no rule fits
    are left out; (uid, item) in order of uid.
    """
    if not len(strongest) or not len(uid):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    items = int(max(item.max(), strongest.left.max(), strongest.right.max())) + 1
    place = np.full((items, items), len(strongest), np.int32)
    place[strongest.left, strongest.right] = np.arange(len(strongest), dtype=np.int32)
    useful = np.isin(item, strongest.left)
    entry_uid, entry_item = uid[useful], item[useful]
    users = np.unique(entry_uid)
    found = np.full(len(users), len(strongest), np.int32)
    at_once = max(PAIRS_AT_ONCE // items, 1)
    borders = _user_borders(entry_uid, at_once)
    for first, last in pairwise(borders):
        mine, opens = np.unique(entry_uid[first:last], return_index=True)
        best = np.minimum.reduceat(place[entry_item[first:last]], opens, axis=0)
        # what the user has already is no recommendation
        own = slice(*np.searchsorted(uid, [mine[0], mine[-1] + 1]))
        row = np.searchsorted(mine, uid[own])
        has = mine[row] == uid[own]
        best[row[has], item[own][has]] = len(strongest)
        found[np.searchsorted(users, mine)] = best.min(axis=1)
    fits = found < len(strongest)
    return users[fits], strongest.right[found[fits]]


def _user_borders(uid: Ints, at_once: int) -> Sequence[int]:
    """Cuts between users, about ``at_once`` rows apart."""
    cuts = [0]
    while cuts[-1] < len(uid):
        wanted = min(cuts[-1] + at_once, len(uid)) - 1
        cuts.append(int(np.searchsorted(uid, uid[wanted], side="right")))
    return cuts
