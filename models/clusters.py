"""k-means of users: log1p, standardise, k by silhouette and bootstrap stability (definitions.md section 11).

``fit`` is done rarely, on a bounded sample; its card holds everything that ``assign`` needs, so daily scoring is numpy
alone and gives the same labels every night. Labels are 1..k in ascending order of the centres' first input: cluster 1
is the lowest in what the inputs begin with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SILHOUETTE_ROWS = 2_000
"""Silhouettes compare all pairs, so they are taken on this many rows."""
UNSTABLE = 0.60

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClusterCard:
    """A fitted clustering. ``centres`` are in standardised log units, ``medians`` per cluster in the inputs' own.

    ``silhouette`` and ``stability`` are by k; stability is the mean adjusted Rand index between the clustering of the
    sample and those of its bootstraps, ``verdict`` what that means. ``users`` is the size of the sample.
    """

    kind: str
    version: str
    inputs: tuple[str, ...]
    seed: int
    users: int
    k: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    centres: tuple[tuple[float, ...], ...]
    medians: tuple[tuple[float, ...], ...]
    sizes: tuple[int, ...]
    silhouette: dict[str, float]
    stability: dict[str, float]
    verdict: str
    warning: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ClusterCard:
        def tuples(rows: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
            return tuple(tuple(r) for r in rows)

        plain = {**content, "centres": tuples(content["centres"]), "medians": tuples(content["medians"])}
        for name in ("inputs", "mean", "scale", "sizes"):
            plain[name] = tuple(content[name])
        return cls(**plain)


def verdict_of(stability: float) -> str:
    """What a mean adjusted Rand index says of a clustering."""
    if stability < UNSTABLE:
        return "unstable"
    if stability < 0.75:
        return "doubtful"
    return "stable" if stability <= 0.85 else "high"


def log_scaled(values: Floats, mean: Sequence[float], scale: Sequence[float]) -> Floats:
    """log1p, then standardised. Below zero counts as zero: money and counts are not negative by definition."""
    return np.asarray((np.log1p(np.maximum(values, 0.0)) - np.asarray(mean)) / np.asarray(scale), dtype=np.float64)


def assign(card: ClusterCard, values: Floats) -> Labels:
    """Cluster 1..k of every row; 0 where an input is unknown (NaN). Equal distances go to the lower number."""
    known = np.asarray(~np.isnan(values).any(axis=1), dtype=bool)
    points = log_scaled(np.where(known[:, None], values, 0.0), card.mean, card.scale)
    best = np.full(len(points), np.inf)
    labels = np.zeros(len(points), dtype=np.int64)
    for i, centre in enumerate(card.centres, start=1):
        distance = ((points - np.asarray(centre)) ** 2).sum(axis=1)
        nearer = distance < best
        best[nearer] = distance[nearer]
        labels[nearer] = i
    labels[~known] = 0
    return labels


def fit(
    values: Floats,
    inputs: Sequence[str],
    *,
    version: str,
    k_range: tuple[int, int] = (3, 8),
    bootstraps: int = 10,
    seed: int = 0,
) -> ClusterCard:
    """The clustering of ``values`` (rows are users, no unknowns).

    k is the one of greatest silhouette among those whose stability reaches .60; if none does, the most stable one, and
    the card carries the warning with which it may be published. The same values, order and seed give the same card.
    ValueError if there are fewer distinct rows than clusters asked for.
    """
    logged = np.log1p(np.maximum(values, 0.0))
    mean, spread = logged.mean(axis=0), logged.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    points = (logged - mean) / scale
    distinct = len(np.unique(points, axis=0))
    least, most = k_range[0], min(k_range[1], distinct - 1)
    if most < least:
        raise ValueError(f"{distinct} distinct rows cannot be cut into {k_range[0]} clusters")
    tried = _tried(points, range(least, most + 1), bootstraps, seed)
    k = _best(tried)
    found = tried[k].centres
    ordered = found[np.lexsort(found.T[::-1])]
    labels = _nearest(points, ordered)
    verdict = verdict_of(tried[k].stability)
    warning = f"stability {tried[k].stability:.2f} is below {UNSTABLE:.2f}: another sample would give other clusters"
    return ClusterCard(
        kind="kmeans",
        version=version,
        inputs=tuple(inputs),
        seed=seed,
        users=len(points),
        k=k,
        mean=tuple(map(float, mean)),
        scale=tuple(map(float, scale)),
        centres=tuple(tuple(map(float, c)) for c in ordered),
        medians=tuple(tuple(map(float, np.median(values[labels == i], axis=0))) for i in range(k)),
        sizes=tuple(int((labels == i).sum()) for i in range(k)),
        silhouette={str(c): round(t.silhouette, 6) for c, t in tried.items()},
        stability={str(c): round(t.stability, 6) for c, t in tried.items()},
        verdict=verdict,
        warning=warning if verdict == "unstable" else None,
    )


class _Tried(NamedTuple):
    """A clustering with one k, and how good it is."""

    centres: Floats
    silhouette: float
    stability: float


def _tried(points: Floats, ks: Sequence[int], bootstraps: int, seed: int) -> dict[int, _Tried]:
    from sklearn.metrics import adjusted_rand_score, silhouette_score
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    shown = rng.permutation(len(points))[:SILHOUETTE_ROWS]
    samples = [rng.integers(0, len(points), len(points)) for _ in range(bootstraps)]
    found = {}
    with threadpool_limits(1):  # several threads add in another order, and another card would come out
        for k in ks:
            centres = _centres(points, k, seed, restarts=5)
            labels = _nearest(points, centres)
            several = len(np.unique(labels[shown])) > 1
            silhouette = float(silhouette_score(points[shown], labels[shown])) if several else -1.0
            agreement = [
                adjusted_rand_score(labels, _nearest(points, _centres(points[s], k, seed + i, restarts=1)))
                for i, s in enumerate(samples, start=1)
            ]
            found[k] = _Tried(centres, silhouette, float(np.mean(agreement)))
    return found


def _best(tried: Mapping[int, _Tried]) -> int:
    """The stable k of greatest silhouette; where none is stable, the most stable one. The lower of two equals."""
    steady = [k for k, t in tried.items() if t.stability >= UNSTABLE]
    if steady:
        return max(steady, key=lambda k: (tried[k].silhouette, -k))
    return max(tried, key=lambda k: (tried[k].stability, -k))


def _centres(points: Floats, k: int, seed: int, restarts: int) -> Floats:
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters=k, n_init=restarts, random_state=seed, max_iter=300).fit(points)
    return np.asarray(found.cluster_centers_, dtype=np.float64)


def _nearest(points: Floats, centres: Floats) -> Labels:
    return np.asarray(np.stack([((points - c) ** 2).sum(axis=1) for c in centres]).argmin(axis=0), dtype=np.int64)
