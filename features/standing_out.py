"""What tells some people from the others: shares of values beside one another."""

from __future__ import annotations

import math


def chance_of_difference(some_with: int, some: int, others_with: int, others: int) -> float:
    """Two-sided p value that two shares are of one: the pooled z test. 1 where one of the groups is empty."""
    if not some or not others:
        return 1.0
    pooled = (some_with + others_with) / (some + others)
    error = math.sqrt(pooled * (1 - pooled) * (1 / some + 1 / others))
    return math.erfc(abs(some_with / some - others_with / others) / error / math.sqrt(2)) if error else 1.0
