"""The first valid touch of every person: whose share was opened first before joining (definitions.md section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEVER = np.iinfo(np.int64).max
"""Moment that stands for "has not joined"."""
NOBODY = -1
PEER_BITS = 44
"""A uid takes fewer bits than this, and a person's place in a bucket what is left of 63."""


@dataclass(frozen=True)
class FirstTouches:
    """``rows`` are the numbers of the opens that brought a person, in order of person; the rest is counted.

    ``repeated`` were valid but not the first, ``late`` came when the person had joined, ``waiting`` are of persons who
    have not joined, ``no_sharer`` do not tell whose share it was. With ``rows`` they add up to all opens.
    """

    rows: np.ndarray
    repeated: int
    late: int
    self_invite: int
    waiting: int
    no_sharer: int


def first_touches(person: np.ndarray, sharer: np.ndarray, at: np.ndarray, joined_at: np.ndarray) -> FirstTouches:
    """Of opens (who, whose share, when) the earliest valid one of each person.

    ``joined_at`` is said per open: when its person joined, ``NEVER`` if not yet. An open at the moment of joining is
    late. Of opens at the same moment the smaller sharer's counts, so the order of rows does not matter.
    """
    unknown = sharer == NOBODY
    own = ~unknown & (sharer == person)
    foreign = ~(unknown | own)
    waiting = foreign & (joined_at == NEVER)
    late = foreign & ~waiting & (at >= joined_at)
    valid = np.flatnonzero(foreign & ~waiting & ~late)
    rows = first_rows(person, at, sharer, valid)
    return FirstTouches(
        rows=rows,
        repeated=len(valid) - len(rows),
        late=int(late.sum()),
        self_invite=int(own.sum()),
        waiting=int(waiting.sum()),
        no_sharer=int(unknown.sum()),
    )


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
