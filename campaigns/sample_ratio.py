"""Whether the arms have the users that their weights say: a sample that is off shows that the assignment or the data is."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import chdtrc


def sample_ratio_p(users: Sequence[int], weights: Sequence[float]) -> float | None:
    """p of Pearson's chi-square of users against weights; arms of weight 0 are left out.

    None where fewer than two arms have a weight, or nobody is in them (Fabijan et al., "Diagnosing sample ratio mismatch
    in online controlled experiments", KDD 2019).
    """
    arms = [(n, w) for n, w in zip(users, weights, strict=True) if w > 0]
    whole, weight = sum(n for n, _ in arms), sum(w for _, w in arms)
    if len(arms) < 2 or not whole:
        return None
    square = sum((n - whole * w / weight) ** 2 / (whole * w / weight) for n, w in arms)
    return float(chdtrc(len(arms) - 1, square))
