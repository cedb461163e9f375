"""How far what was said of users agrees with what is true of them, and what chance would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

TRUE_CLASSES = ("cold", "neutral", "sensitive", "fanatic")
"""The simulator's classes of price sensitivity, ascending."""
SENSITIVITY = """
select sensitivity, promotion_class, promotion_score from profile.profile join who using (uid)
join truth_price_sensitivity using (person_id)
where as_of = ? and promotion_score is not null order by all
"""
"""True class, said class and score of every user with a score; ``who`` says whose uid it is."""


@dataclass(frozen=True)
class Agreement:
    """``agreed`` share of users whose class is the true one, ``chance`` what independent classes of the same sizes give.

    ``concordant``: of pairs of users of different true classes the share whose scores are in that order, ties half;
    chance is one half.
    """

    users: int
    agreed: float
    chance: float
    concordant: float

    @property
    def kappa(self) -> float:
        return (self.agreed - self.chance) / (1 - self.chance)

    def __str__(self) -> str:
        return (
            f"promotion class: agreement {self.agreed:.3f} of {self.users} users, chance {self.chance:.3f}; "
            f"scores in the true order in {self.concordant:.3f} of pairs, chance 0.500"
        )


def agreement(rows: Sequence[tuple[str, str, float]]) -> Agreement:
    """Of (true class, said class, score)."""
    truths, sayings = Counter(true for true, _, _ in rows), Counter(said for _, said, _ in rows)
    by_class = [sorted(score for true, _, score in rows if true == c) for c in TRUE_CLASSES]
    right, pairs = 0.0, 0
    for i, lower in enumerate(by_class):
        for higher in by_class[i + 1 :]:
            pairs += len(lower) * len(higher)
            right += sum((a < b) + (a == b) / 2 for a in lower for b in higher)
    n = len(rows)
    return Agreement(
        users=n,
        agreed=sum(true == said for true, said, _ in rows) / n,
        chance=sum(truths[c] * sayings[c] for c in truths) / n**2,
        concordant=right / pairs,
    )
