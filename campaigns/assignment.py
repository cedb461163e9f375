"""Who gets which arm: a salted hash of person and campaign, the same on every machine and in every run.

Nothing here knows what was given before: whoever has an arm keeps it (``standing``), and only others are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from campaigns.language import ABOVE

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FINE = 2.0**-53


def share_of(uid: np.ndarray, salt: str) -> np.ndarray:
    """A number in [0, 1) per uid, spread evenly and unlike that of any other salt.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), begun at the salt's
    SHA-256: the uid-th number of that stream.
    """
    begin = np.uint64(int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "big"))
    x = begin + (uid.astype(np.uint64) + np.uint64(1)) * _STEP
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)).astype(np.float64) * _FINE)


def arms_of(
    uid: np.ndarray, salt: str, weights: Mapping[str, float], above: float = 0.0, above_salt: str = ""
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Per uid the number of its arm, and the arms by number: those of ``weights`` (shares that sum to 1), and ABOVE.

    ``above`` of all people are the shop's own holdout, by a salt that no campaign changes.
    """
    names = (*weights, ABOVE)
    ends = np.cumsum(list(weights.values()))
    # A share of nothing has no width, and the last arm with one takes what rounding leaves.
    ends[ends >= ends[-1]] = 1.0
    arm = np.searchsorted(ends, share_of(uid, salt), side="right").astype(np.int32)
    if above:
        arm[share_of(uid, above_salt) < above] = len(names) - 1
    return arm, names


@dataclass(frozen=True)
class StandingArms:
    """Persons who have an arm, ascending, and for each the row of the assignments that counts."""

    person: np.ndarray
    row: np.ndarray


def standing(uid: np.ndarray, retired: np.ndarray, into: np.ndarray) -> StandingArms:
    """Whose assignments they are now: ``retired`` uids (ascending) were merged into the elder uids ``into``.

    Of a person with several the elder's own counts; where only younger ones have any, the eldest of these.
    """
    person = uid.copy()
    if len(retired):
        at = np.minimum(np.searchsorted(retired, uid), len(retired) - 1)
        person = np.where(retired[at] == uid, into[at], uid)
    order = np.lexsort((uid, uid != person, person))
    first = np.ones(len(order), np.bool_)
    first[1:] = person[order][1:] != person[order][:-1]
    return StandingArms(person[order][first], order[first])
