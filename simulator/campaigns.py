"""Campaigns with a known truth: who has which value of which tag, who is held out, what they bought, and where the lift was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SimulatedCampaign:
    """``values[t]`` is the value of tag t per user, ``is_held`` who got nothing, ``bought`` what came of it.

    ``planted`` are the (tag, value) whose users the campaign moved more than others, ``planted_pairs`` those of two tags who
    were moved more where both values came together.
    """

    values: np.ndarray
    is_held: np.ndarray
    bought: np.ndarray
    planted: frozenset[tuple[int, int]]
    planted_pairs: frozenset[tuple[tuple[int, int], tuple[int, int]]] = frozenset()


def simulate_campaign(
    rng: np.random.Generator,
    *,
    users: int = 20_000,
    tags: int = 8,
    values: int = 4,
    base: float = 0.1,
    lift: float = 0.01,
    planted: Mapping[tuple[int, int], float] | None = None,
    planted_pairs: Mapping[tuple[tuple[int, int], tuple[int, int]], float] | None = None,
    holdout: float = 0.3,
    spend: bool = False,
) -> SimulatedCampaign:
    """Each value has its own liking to buy; the campaign adds ``lift`` for everybody and more for ``planted`` values and pairs.

    ``spend``: what was bought is long-tailed money instead of yes or no.
    """
    more = dict(planted or {})
    which = rng.integers(0, values, (tags, users))
    liking = rng.normal(0, 0.01, (tags, values))
    chance = base + sum(liking[t][which[t]] for t in range(tags))
    is_held = rng.random(users) < holdout
    added = np.full(users, lift)
    for (t, v), extra in more.items():
        added[which[t] == v] += extra
    together = dict(planted_pairs or {})
    for ((t, v), (u, w)), extra in together.items():
        added[(which[t] == v) & (which[u] == w)] += extra
    bought = (rng.random(users) < np.clip(chance + np.where(is_held, 0, added), 0, 1)).astype(np.float64)
    if spend:
        bought *= rng.lognormal(4, 0.7, users)
    return SimulatedCampaign(which, is_held, bought, frozenset(more), frozenset(together))
