"""Distributors 店主: the turn from seller to self-buyer (definitions.md section 14; down-lines are ``tree.below``)."""

from __future__ import annotations

import numpy as np


def turned_self_buyer(last_sale: np.ndarray, last_purchase: np.ndarray, as_of: int, silent_days: int) -> np.ndarray:
    """No attributed sale in the last ``silent_days`` while own purchases go on in them.

    Days are day numbers, smaller than any window where there was none. Who never sold for others and buys counts too.
    """
    start = as_of - silent_days + 1
    return np.asarray((last_sale < start) & (last_purchase >= start))
