"""What became of every touch, and the first valid one of a person (definitions.md section 7)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.instants import instants_of
from features.kernel.arrays import from_arrow, to_arrow

NEVER = np.iinfo(np.int64).max
"""Moment that stands for "has not joined"."""
NOBODY = -1
PEER_BITS = 44
"""A uid takes fewer bits than this, and a person's place in a bucket what is left of 63."""


OUTCOMES = ("first", "repeated", "late", "self_invite", "waiting", "no_sharer", "cycle")
"""What becomes of a touch, as places in this list; ``cycle`` is found when the trees are made."""
FIRST, REPEATED, LATE, SELF_INVITE, WAITING, NO_SHARER, CYCLE = range(len(OUTCOMES))
_SECOND, _DAY = 1_000_000, 86_400_000_000
_INT64 = np.dtype(np.int64)


def outcomes(person: np.ndarray, sharer: np.ndarray, at: np.ndarray, joined_until: np.ndarray) -> np.ndarray:
    """What became of each touch (who, whose share, when), as a place in ``OUTCOMES``: every touch has exactly one.

    ``joined_until`` is said per touch: the first moment at which its person has certainly joined (see
    ``certainly_joined``), ``NEVER`` if not yet. ``first`` is the earliest valid touch of its person and the others are
    ``repeated``; of touches at the same moment the smaller sharer's counts, so the order of rows does not matter.
    """
    found = np.select(
        [sharer == NOBODY, sharer == person, joined_until == NEVER, at >= joined_until],
        [NO_SHARER, SELF_INVITE, WAITING, LATE],
        REPEATED,
    ).astype(np.int8)
    found[first_rows(person, at, sharer, np.flatnonzero(found == REPEATED))] = FIRST
    return found


def certainly_joined(at: np.ndarray, zone: str) -> np.ndarray:
    """The first moment that is provably after joining at ``at``, by what its stamp can tell; ``NEVER`` stays.

    A source that says only the date is read as the midnight of its day, so midnight of the business zone stands for the
    whole day, a whole second for that second. What is stamped within it may have come before.
    """
    known = np.flatnonzero(at != NEVER)
    moment = at[known]
    local = pc.local_timestamp(to_arrow(moment, None, pa.timestamp("us", zone)))
    midnight = np.flatnonzero(from_arrow(local, _INT64, None, "local") % _DAY == 0)
    until = moment + np.where(moment % _SECOND == 0, _SECOND, 1)
    next_day = from_arrow(local, _INT64, None, "local")[midnight] + _DAY
    local_days = pa.chunked_array([to_arrow(next_day, None, pa.timestamp("us"))])
    until[midnight] = from_arrow(instants_of(local_days, zone)[0], _INT64, None, "next day")
    found = np.full(len(at), NEVER)
    found[known] = until
    return found


def first_rows(person: np.ndarray, at: np.ndarray, tie: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of the rows ``among`` the earliest of each person, in order of person; ties go to the smaller ``tie``."""
    order = among[np.lexsort((tie[among], at[among], person[among]))]
    who = person[order]
    opens = np.ones(len(order), np.bool_)
    opens[1:] = who[1:] != who[:-1]
    return np.asarray(order[opens])


def distinct_pairs(place: np.ndarray, peer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each (place, peer) once, in order; rows without a peer are left out."""
    known = peer >= 0
    key = np.unique((place[known].astype(np.int64) << PEER_BITS) | peer[known])
    return key >> PEER_BITS, key & ((1 << PEER_BITS) - 1)
