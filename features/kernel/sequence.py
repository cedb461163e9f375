"""Whether one thing a user did was followed by another within so many days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from features.facts import Fact
from features.instants import day_number
from features.kernel.products import Codes, Products
from features.kernel.rows import Rows
from features.kernel.selection import DayRows, Selection


@dataclass(frozen=True)
class Followed:
    """A row of ``first`` and one of ``second`` later on its day, or on one of the ``within_days`` days after it.

    ``without`` asks for a row of ``first`` after whose days, all of them, none of ``second`` came. Both facts say which
    rows count; what they measure is not asked. Of two rows of one instant neither is the later.
    """

    first: Fact
    second: Fact
    within_days: int
    without: bool = False

    def of(
        self,
        first: Rows,
        second: Rows,
        as_of: date,
        *,
        products: Products | None = None,
        codes: Codes | None = None,
        zone: str = "UTC",
    ) -> tuple[np.ndarray, np.ndarray]:
        """A flag per user, and of whom it is known; ``first`` and ``second`` hold the rows of each (the same, perhaps).

        Unknown is, of who is asked to be without, whose days are not over on ``as_of``: the other may still come.
        """
        day = day_number(as_of)
        firsts, seconds = (
            _counted(DayRows(rows, day, None, products or Products.none(), codes or {}, zone), fact)
            for rows, fact in ((first, self.first), (second, self.second))
        )
        users, on = firsts.users, firsts.column("day")
        after = _next_day(firsts, seconds)
        came = after - on <= self.within_days
        flags = np.zeros(users, np.bool_)
        if not self.without:
            flags[firsts.user[came]] = True
            return flags, np.ones(users, np.bool_)
        over = on + self.within_days <= day
        flags[firsts.user[~came & over]] = True
        open_still = np.zeros(users, np.bool_)
        open_still[firsts.user[~came & ~over]] = True
        return flags, flags | ~open_still


def _counted(rows: DayRows, fact: Fact) -> Selection:
    """The rows that count for the fact, those of its window."""
    found = rows.select(fact.reads, fact.view, fact.flagged).until(fact.ago).where(fact.where)
    return found if fact.window is None else found.narrowed(found.column("day") >= rows.start_day(fact.window))


def _next_day(firsts: Selection, seconds: Selection) -> np.ndarray:
    """Of every first row the day of the user's next second row that is later; far away where there is none."""
    days = [s.column("day").astype(np.int64) for s in (firsts, seconds)]
    moments = [s.column("occurred_at") for s in (firsts, seconds)]
    _, place = np.unique(np.concatenate(moments), return_inverse=True)
    if not len(days[1]):
        return np.full(len(days[0]), np.iinfo(np.int64).max // 2)
    earliest = min(int(d.min()) for d in days if len(d))
    span = max(int(d.max()) for d in days if len(d)) - earliest + 1
    instants = int(place.max(initial=0)) + 1
    # rows lie in order of user, day and instant, so one number of the three ascends, and the next is found by halving
    later = [
        (s.user.astype(np.int64) * span + (d - earliest)) * instants + p
        for s, d, p in zip((firsts, seconds), days, np.split(place, [len(days[0])]), strict=True)
    ]
    at = np.searchsorted(later[1], later[0], side="right")
    there = np.minimum(at, len(days[1]) - 1)
    same = (at < len(days[1])) & (seconds.user[there] == firsts.user)
    return np.where(same, days[1][there], np.iinfo(np.int64).max // 2)
