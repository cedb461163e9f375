"""Which touch has the credit for an order: first, last, linear, time decay, position, and Markov removal.

Credit is no cause: whoever would have bought anyway is credited too. Shares of every method sum to the orders that had a
touch. Markov removal: Anderl, Becker, von Wangenheim and Schumann, "Mapping the customer journey" (IJRM 33, 2016), on a
chain of first order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

HALF_LIFE_DAYS = 7.0
MICROSECONDS_A_DAY = 86_400_000_000
POSITION = (0.4, 0.2, 0.4)
"""Shares of the first touch, of all between, and of the last."""


@dataclass(frozen=True)
class Journeys:
    """Touches in order of time, those of a path together: path by path its channels, from ``begin[i]`` to ``begin[i + 1]``.

    ``channel`` is a number from 0 per touch, ``age_days`` how long before the path's end it was, ``orders`` how many
    orders the path ended in (0: none yet).
    """

    channel: np.ndarray
    age_days: np.ndarray
    begin: np.ndarray
    orders: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.asarray(np.diff(self.begin))

    @property
    def channels(self) -> int:
        return int(self.channel.max()) + 1 if len(self.channel) else 0

    @property
    def attributed_orders(self) -> float:
        """Orders of paths that have a touch."""
        return float(self.orders[self.lengths > 0].sum())


def journeys(paths: Mapping[tuple[int, ...], int] | list[tuple[tuple[int, ...], int]]) -> Journeys:
    """Journeys from paths of channels with their orders; all touches are of the last day."""
    listed = list(paths.items()) if isinstance(paths, Mapping) else paths
    channel = np.array([c for path, _ in listed for c in path], np.int64)
    begin = np.cumsum([0, *(len(path) for path, _ in listed)])
    return Journeys(channel, np.zeros(len(channel)), begin, np.array([n for _, n in listed], np.float64))


def _first(j: Journeys, place: np.ndarray, length: np.ndarray) -> np.ndarray:
    return place == 0


def _last(j: Journeys, place: np.ndarray, length: np.ndarray) -> np.ndarray:
    return place == length - 1


def _linear(j: Journeys, place: np.ndarray, length: np.ndarray) -> np.ndarray:
    return np.ones(len(place))


def _decay(half_life_days: float) -> Callable[[Journeys, np.ndarray, np.ndarray], np.ndarray]:
    def weights(j: Journeys, place: np.ndarray, length: np.ndarray) -> np.ndarray:
        if not len(j.channel):
            return np.zeros(0)
        # Against the path's youngest touch, so that an old path does not fall to zero altogether.
        youngest = np.minimum.reduceat(j.age_days, j.begin[:-1][j.lengths > 0])
        age = j.age_days - np.repeat(youngest, j.lengths[j.lengths > 0])
        return np.asarray(0.5 ** (age / half_life_days))

    return weights


def _position(j: Journeys, place: np.ndarray, length: np.ndarray) -> np.ndarray:
    first, between, last = POSITION
    inner = np.where(length > 2, between / np.maximum(length - 2, 1), 0.0)
    return np.where(place == 0, first, np.where(place == length - 1, last, inner))


METHODS = ("first", "last", "linear", "time_decay", "position", "markov")


def credits_by_rule(j: Journeys, channels: int, *, half_life_days: float = HALF_LIFE_DAYS) -> dict[str, np.ndarray]:
    """Orders credited to each of the channels by every rule that looks at one path alone; those of parts are added."""
    place = np.arange(len(j.channel)) - np.repeat(j.begin[:-1], j.lengths)
    length = np.repeat(j.lengths, j.lengths)
    rules = {
        "first": _first,
        "last": _last,
        "linear": _linear,
        "time_decay": _decay(half_life_days),
        "position": _position,
    }
    return {n: _shared(j, np.asarray(rule(j, place, length), np.float64), channels) for n, rule in rules.items()}


def attributed(j: Journeys, *, half_life_days: float = HALF_LIFE_DAYS) -> dict[str, np.ndarray]:
    """Orders credited to each channel, by method; every method's sum to ``attributed_orders``."""
    rules = credits_by_rule(j, j.channels, half_life_days=half_life_days)
    return rules | {"markov": markov_shares(moves_of(j, j.channels)) * j.attributed_orders}


def paths_of(
    person: np.ndarray, at: np.ndarray, channel: np.ndarray, order_person: np.ndarray, order_at: np.ndarray
) -> Journeys:
    """Touches and orders of persons as paths: a path ends with an order, or is what came after the last one.

    ``at`` are microseconds. A touch belongs to its person's next order, one of the same moment included; an order without a
    touch since the one before is a path without touches.
    """
    who, when = np.concatenate([person, order_person]), np.concatenate([at, order_at])
    if not len(who):
        return journeys([])
    is_order = np.arange(len(who)) >= len(person)
    order = np.lexsort((is_order, when, who))
    who, when, ends = who[order], when[order], is_order[order]
    opens = np.ones(len(who), np.bool_)
    opens[1:] = (who[1:] != who[:-1]) | ends[:-1]
    path = np.cumsum(opens) - 1
    paths = int(opens.sum())
    touch = ~ends
    begin = np.concatenate([[0], np.cumsum(np.bincount(path[touch], minlength=paths))]).astype(np.int64)
    orders = np.bincount(path[ends], minlength=paths).astype(np.float64)
    last = np.append(np.flatnonzero(opens)[1:], len(who)) - 1
    age = (when[last][path] - when)[touch] / MICROSECONDS_A_DAY
    every = np.concatenate([channel, np.zeros(len(order_person), np.int64)])
    return Journeys(every[order][touch], age, begin, orders)


def _shared(j: Journeys, weight: np.ndarray, channels: int) -> np.ndarray:
    """Every path's orders over its touches by weight, summed by channel."""
    path = np.repeat(np.arange(len(j.lengths)), j.lengths)
    whole = np.bincount(path, weight, len(j.lengths))
    credit = np.divide(weight, whole[path], out=np.zeros(len(weight)), where=whole[path] > 0) * j.orders[path]
    return np.bincount(j.channel, credit, channels)


def moves_of(j: Journeys, channels: int) -> np.ndarray:
    """How often paths go from each channel, and from the start, to each channel, to an order and to none; of parts added.

    Rows are the channels and the start; columns the channels, the start (never reached), won and lost. A path converts
    once however many orders it ended in.
    """
    n = channels
    start, won, lost = n, n + 1, n + 2
    some = j.lengths > 0
    firsts, lasts = j.channel[j.begin[:-1][some]], j.channel[j.begin[1:][some] - 1]
    inner = np.ones(max(len(j.channel) - 1, 0), np.bool_)
    inner[j.begin[1:-1][(j.begin[1:-1] > 0) & (j.begin[1:-1] < len(j.channel))] - 1] = False
    moves = np.zeros((n + 1, n + 3))
    np.add.at(moves, (np.full(len(firsts), start), firsts), 1)
    np.add.at(moves, (j.channel[:-1][inner], j.channel[1:][inner]), 1)
    np.add.at(moves, (lasts, np.where(j.orders[some] > 0, won, lost)), 1)
    return moves


def removal_effects(moves: np.ndarray) -> np.ndarray:
    """Per channel the share of conversions that would be lost without it; zeros where nobody converted.

    Who reaches a channel that is taken away is lost.
    """
    n = len(moves) - 1
    won = n + 1
    rates = moves / np.maximum(moves.sum(axis=1, keepdims=True), 1)
    whole = _conversion(rates, won)
    if not whole:
        return np.zeros(n)
    left = np.empty(n)
    for c in range(n):
        without = rates.copy()
        without[:, c] = 0
        left[c] = _conversion(without, won)
    return 1 - left / whole


def _conversion(rates: np.ndarray, won: int) -> float:
    """Chance to convert from the start: (I - Q) x = r. A channel that nobody leaves converts nobody."""
    transient = len(rates)
    return float(np.linalg.solve(np.eye(transient) - rates[:, :transient], rates[:, won])[-1])


def markov_shares(moves: np.ndarray) -> np.ndarray:
    """Removal effects as shares that sum to 1; zeros where nobody converted."""
    effects = removal_effects(moves)
    whole = effects.sum()
    return effects / whole if whole > 0 else effects
