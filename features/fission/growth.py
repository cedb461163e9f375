"""How fast it spreads: K factor, the share that an open came from, active users, growth by cycles."""

from __future__ import annotations

import numpy as np


def k_factor(active_users: float, invites: float, accepted: float) -> float | None:
    """Invites per active user times accepted per invite; None without active users, 0 without invites."""
    if active_users <= 0:
        return None
    if invites <= 0:
        return 0.0
    return (invites / active_users) * (accepted / invites)


def users_after(seed_users: float, k: float, time: float, cycle_time: float) -> float:
    """Users after ``time`` when each brings ``k`` others in a cycle: seed * (k^(t/p + 1) - 1) / (k - 1)."""
    cycles = time / cycle_time
    if k == 1:
        return seed_users * (cycles + 1)
    return float(seed_users * (k ** (cycles + 1) - 1) / (k - 1))


def share_of_open(
    share: tuple[np.ndarray, np.ndarray, np.ndarray], opened: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> np.ndarray:
    """For every open the number of the share that it most likely came from: the sharer's last one of the product.

    Both are (place of the sharer, product, moment). -1 where the sharer shared no such product before.
    """
    n, m = len(share[0]), len(opened[0])
    place, product, at = (np.concatenate([a, b]).astype(np.int64) for a, b in zip(share, opened, strict=True))
    group = place * (int(product.max(initial=0)) + 1) + product
    is_open = np.arange(n + m) >= n
    order = np.lexsort((is_open, at, group))
    starts = np.ones(n + m, np.bool_)
    starts[1:] = group[order][1:] != group[order][:-1]
    here = np.arange(n + m)
    last_share = np.maximum.accumulate(np.where(is_open[order], -1, here))
    first = np.maximum.accumulate(np.where(starts, here, -1))
    found = np.where(last_share >= first, order[last_share], -1)
    out = np.empty(n + m, np.int64)
    out[order] = found
    return out[n:]


def active_within(seen: np.ndarray, window: int) -> np.ndarray:
    """Per day from day ``window`` - 1 on how many users were seen in the window that ends on it.

    ``seen`` is a flag per day and user.
    """
    days, users = seen.shape
    count = np.zeros(users, np.int16)
    found = np.zeros(max(days - window + 1, 0), np.int64)
    for day in range(days):
        count += seen[day]
        if day >= window:
            count -= seen[day - window]
        if day >= window - 1:
            found[day - window + 1] = np.count_nonzero(count)
    return found
