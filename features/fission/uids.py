"""Looks uids up among sorted ones, and finds who has the ids of retired ones now."""

from __future__ import annotations

import numpy as np


def place_of(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Place of each value among the ``known`` ones, which are sorted; -1 for who is not there."""
    if not len(known):
        return np.full(len(values), -1, np.int64)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[at] == values, at, -1)


def elders(uid: np.ndarray, retired: np.ndarray, elder: np.ndarray) -> np.ndarray:
    """The uids with retired ones replaced by their elders (``retired`` is sorted)."""
    if not len(retired):
        return uid
    at = place_of(retired, uid)
    return np.where(at >= 0, elder[at], uid)


def last_elders(retired: np.ndarray, elder: np.ndarray) -> np.ndarray:
    """Who has a retired uid's ids in the end, through elders that were retired themselves; -1 where they were split."""
    found = elder
    for _ in range(len(retired)):
        further = elders(found, retired, elder)
        if np.array_equal(further, found):
            break
        found = further
    return found
