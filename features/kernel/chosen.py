"""The rows that one fact can count, out of columns that lie ready: what is left to compute follows from them alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from features.facts import VALIDITY, Fact, needs
from features.kernel.rows import DTYPES, Rows
from features.kernel.selection import last_days, not_void
from schemas.behaviours import BEHAVIOURS

Ready = Callable[[str], np.ndarray | None]
"""A column of ``activity`` by its name, in order of user and time, in however few bytes; None: without effect."""


def chosen(
    fact: Fact, as_of: int, base: int, users: int, user: np.ndarray, column: Ready, *, timed: bool = False
) -> Rows:
    """The rows that count for the fact but for its further conditions, with the columns that computing it reads.

    ``user`` is the number of every row's user less ``base``, the first of ``users``. A row counts as ``features/kernel/selection.py`` has it, whatever
    became known later. Only facts that leave flagged rows out.
    """
    assert fact.flagged == "exclude", fact
    code, day = column("behaviour_code"), column("day")
    assert code is not None and day is not None
    keep = day <= as_of - fact.ago
    keep &= _one_of(code, [BEHAVIOURS[b] for b in fact.reads])
    if fact.window is not None:
        keep &= day > as_of - fact.window
    for name, limit in last_days(as_of, None).items():
        if name != "day" and (values := column(name)) is not None:
            keep &= values <= limit
    if fact.view == "behaviour" and (void_day := column("void_day")) is not None:
        keep &= not_void(void_day, None, as_of, None)
    if (flagged_day := column("flagged_day")) is not None:
        keep &= flagged_day > as_of
    at = np.flatnonzero(keep)
    begin = np.zeros(users + 1, np.int64)
    np.cumsum(np.bincount(user.take(at), minlength=users), out=begin[1:])
    stored: dict[str, np.ndarray] = {}
    for name in (n for n in columns_of_fact(fact, timed=timed) if n not in VALIDITY):
        values = column(name)
        assert values is not None, name
        stored[name] = values.take(at).astype(DTYPES[name], copy=False)
    return Rows(base, begin, stored)


def columns_of_fact(fact: Fact, *, timed: bool = False) -> tuple[str, ...]:
    """Columns of ``activity`` that computing a fact reads; the moment only where moments are compared (``timed``)."""
    timed = timed or fact.measure in ("visits", "hour") or fact.agg in ("first", "last", "mode", "preferred")
    return tuple(c for c in needs([fact]).columns if c != "uid" and (timed or c != "occurred_at"))


def _one_of(code: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """A flag per row; neighbouring numbers are one comparison of two ends."""
    found = np.zeros(len(code), np.bool_)
    ascending = sorted(numbers)
    for first in (n for n in ascending if n - 1 not in ascending):
        last = first
        while last + 1 in ascending:
            last += 1
        found |= code == first if first == last else (code >= first) & (code <= last)
    return found
