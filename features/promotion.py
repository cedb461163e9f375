"""Promotion sensitivity: what a user's orders say about offers, against what was on offer (definitions.md section 6).

The unit is the part of an order that lies in one category: an order of several categories counts in each of them with
its own lines. Products without a category are together one more category. A **cell** is a category on a business day.

Three figures of a user are compared with what the same purchases would have shown had all *other* users' behaviour in
the same cells applied to them (indirect standardisation, observed / expected):

- promotion orders: parts with a promotion / sum over the user's parts of the others' share of parts with a promotion;
- discount depth: sum over the user's discounted parts of discount / list amount, over the sum over these parts of the
  others' mean of it among their discounted parts;
- discount amount: total discount / sum over parts of list amount x the others' total discount / total list amount.

"Others" leaves all of the user's own parts of the cell out. A part whose cell has no such part of another user says
nothing and counts in neither sum. A ratio is absent (NaN) where the expectation is 0, that is where nothing was on
offer, and the depth also where the user has no discounted part. 1 is as everybody. An unknown list price is no known
discount: the activity then has the list amount equal to the paid one. Refunds of parts of an order change nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.configuration import Settings

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MILLION = 1_000_000
DECIMALS = 6


class PromotionSettings(Settings):
    """``methods/promotion.yaml``. ``window`` business days of orders, ending on the day counted."""

    window: int = Field(default=365, ge=1, le=3_660)


@dataclass(frozen=True)
class Parts:
    """One row per user x order x category, in order of uid, day, order and category. Money is in minor units.

    ``depth`` is discount / list amount in millionths, whole numbers so that sums are exact; 0 without a discount.
    """

    uid: Ints
    day: Ints
    order: Ints
    category: Ints
    promoted: Ints
    list_minor: Ints
    discount_minor: Ints

    def __len__(self) -> int:
        return len(self.uid)

    @property
    def discounted(self) -> Ints:
        return (self.discount_minor > 0).astype(np.int64)

    @property
    def depth(self) -> Ints:
        whole = np.maximum(self.list_minor, 1)
        return (self.discount_minor * MILLION + whole // 2) // whole

    def where(self, chosen: NDArray[np.bool_]) -> Parts:
        return Parts(*(getattr(self, f.name)[chosen] for f in fields(self)))


@dataclass(frozen=True)
class Cells:
    """Totals of all users per category and day, in order of both; ``parts`` counts, ``depth`` is a sum of millionths."""

    category: Ints
    day: Ints
    parts: Ints
    promoted: Ints
    discounted: Ints
    depth: Ints
    list_minor: Ints
    discount_minor: Ints

    def __len__(self) -> int:
        return len(self.day)


TOTALS = ("parts", "promoted", "discounted", "depth", "list_minor", "discount_minor")


@dataclass(frozen=True)
class Terms:
    """One row per user in order of uid. ``orders`` are those with a part that can be compared; NaN is absent."""

    uid: Ints
    orders: Ints
    order_ratio: Floats
    depth_ratio: Floats
    amount_ratio: Floats


def order_parts(
    uid: Ints,
    day: Ints,
    order: Ints,
    category: Ints,
    on_promotion: NDArray[np.bool_],
    list_minor: Ints,
    paid_minor: Ints,
) -> Parts:
    """Order lines brought together: a part is promoted if any of its lines is. A paid amount above list is no discount."""
    by = np.lexsort((category, order, day, uid))
    keys = [a[by].astype(np.int64) for a in (uid, day, order, category)]
    opens = _opens(keys)
    whole, paid = list_minor[by].astype(np.int64), paid_minor[by].astype(np.int64)
    users, days, orders, categories = (k[opens] for k in keys)
    return Parts(
        users,
        days,
        orders,
        categories,
        np.minimum(_sums(on_promotion[by].astype(np.int64), opens), 1),
        _sums(whole, opens),
        _sums(np.maximum(whole - paid, 0), opens),
    )


def cells(parts: Parts) -> Cells:
    """The parts' totals per category and day."""
    rows = (np.ones(len(parts), np.int64), *(getattr(parts, name) for name in TOTALS[1:]))
    return _summed(parts.category, parts.day, rows)


def cells_together(found: Sequence[Cells]) -> Cells:
    """Cells of several groups of users as one; the order of the groups does not matter."""
    joined = {f.name: np.concatenate([getattr(c, f.name) for c in found] or [_none()]) for f in fields(Cells)}
    return _summed(joined["category"], joined["day"], tuple(joined[name] for name in TOTALS))


def terms(parts: Parts, everybody: Cells) -> Terms:
    """The three ratios of every user who has parts (which must all be in ``everybody``), to six decimals."""
    users, user = np.unique(parts.uid, return_inverse=True)
    others = _of_others(parts, user, everybody)

    def compared(observed: Ints, weight: Ints, above: str, below: str, own: NDArray[np.bool_] | None = None) -> Floats:
        """Observed over expected, where ``above / below`` is the others' figure and ``weight`` what it applies to."""
        chosen = others[below] > 0 if own is None else own & (others[below] > 0)
        rate = others[above][chosen] / others[below][chosen]
        seen = np.bincount(user[chosen], observed[chosen], len(users))
        expected = np.bincount(user[chosen], weight[chosen] * rate, len(users))
        known = expected > 0
        return np.round(np.divide(seen, expected, out=np.full(len(users), np.nan), where=known), DECIMALS)

    one = np.ones(len(parts), np.int64)
    comparable = others["parts"] > 0
    return Terms(
        uid=users,
        orders=_orders(parts.where(comparable), users),
        order_ratio=compared(parts.promoted, one, "promoted", "parts"),
        depth_ratio=compared(parts.depth, one, "depth", "discounted", parts.discount_minor > 0),
        amount_ratio=compared(parts.discount_minor, parts.list_minor, "discount_minor", "list_minor"),
    )


def _of_others(parts: Parts, user: Ints, everybody: Cells) -> dict[str, Ints]:
    """For every part the totals of its cell without those of its user."""
    span = int(everybody.day.max(initial=0)) + 1
    known = everybody.category * span + everybody.day
    cell = np.searchsorted(known, parts.category * span + parts.day)
    _, group = np.unique(user * max(len(known), 1) + cell, return_inverse=True)
    own = (np.ones(len(parts), np.int64), *(getattr(parts, name) for name in TOTALS[1:]))
    found = {}
    for name, values in zip(TOTALS, own, strict=True):
        mine = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
        np.add.at(mine, group, values)
        found[name] = getattr(everybody, name)[cell] - mine[group]
    return found


def _orders(parts: Parts, users: Ints) -> Ints:
    """Distinct orders of each of the users."""
    opens = _opens([parts.uid, parts.order]) if len(parts) else _none()
    return np.bincount(np.searchsorted(users, parts.uid[opens]), minlength=len(users)).astype(np.int64)


def _summed(category: Ints, day: Ints, totals: Sequence[Ints]) -> Cells:
    by = np.lexsort((day, category))
    keys = [category[by], day[by]]
    opens = _opens(keys)
    return Cells(*(k[opens] for k in keys), *(_sums(t[by], opens) for t in totals))


def _opens(keys: Sequence[Ints]) -> Ints:
    """Where a run of equal keys begins."""
    if not len(keys[0]):
        return _none()
    new = np.zeros(len(keys[0]), np.bool_)
    new[0] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def _sums(values: Ints, opens: Ints) -> Ints:
    return np.add.reduceat(values, opens) if len(opens) else _none()


def _none() -> Ints:
    return np.empty(0, np.int64)
