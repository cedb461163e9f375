"""The rows that one fact can count, out of columns that lie ready: what is left to compute follows from them alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.facts import Fact, needs
from features.kernel.rows import DTYPES, Rows
from features.kernel.selection import FEW
from schemas.behaviours import BEHAVIOURS

Ready = Callable[[str], np.ndarray | None]
"""A column of ``activity`` by its name, in order of user and time, in however few bytes; None: without effect."""


def chosen(fact: Fact, as_of: int, users: int, user: np.ndarray, column: Ready, *, base: int = 0) -> Rows:
    """The rows of the fact's behaviours and days, with the columns that computing it reads.

    ``user`` is the number of every row's user, from 0. Rows that do not count for another reason may be among them.
    """
    code, day = column("behaviour_code"), column("day")
    assert code is not None and day is not None
    numbers = [BEHAVIOURS[b] for b in fact.reads]
    if len(numbers) <= FEW:
        keep = code == numbers[0]
        for number in numbers[1:]:
            keep |= code == number
    else:
        wanted = np.zeros(256, np.bool_)
        wanted[numbers] = True
        keep = wanted.take(code)
    keep &= day <= as_of
    if fact.window is not None:
        keep &= day > as_of - fact.window
    at = np.flatnonzero(keep)
    begin = np.zeros(users + 1, np.int64)
    np.cumsum(np.bincount(user.take(at), minlength=users), out=begin[1:])
    stored: dict[str, np.ndarray] = {}
    for name in columns_of_fact(fact):
        values = column(name)
        if values is not None:
            stored[name] = values.take(at).astype(DTYPES[name], copy=False)
    return Rows(base, begin, stored)


def columns_of_fact(fact: Fact) -> tuple[str, ...]:
    """Columns of ``activity`` that computing a fact reads; the moment only where moments are compared."""
    timed = fact.measure in ("visits", "hour") or fact.agg in ("first", "last", "mode", "preferred")
    return tuple(c for c in needs([fact]).columns if c != "uid" and (timed or c != "occurred_at"))
