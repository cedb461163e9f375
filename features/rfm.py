"""RFM segments as data (definitions.md section 2).

A code is recency, frequency and monetary score written as three digits: 555 is the best. The eleven named segments are
a complete and disjoint partition of the 125 codes; a test proves it. Scores themselves are made from frozen breaks by
the expressions of the tag catalogue (``breaks_below``).
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCORES = range(1, 6)
CODES: tuple[int, ...] = tuple(100 * r + 10 * f + m for r, f, m in product(SCORES, repeat=3))

ELEVEN: dict[str, tuple[int, ...]] = {
    "champions": (455, 445, 454, 545, 544, 554, 555),
    "loyal": (335, 344, 345, 354, 355, 435, 444, 543),
    "potential_loyalist": (
        *(323, 333, 341, 342, 351, 352, 353, 423, 431, 432, 433, 441),
        *(442, 451, 452, 453, 531, 532, 533, 541, 542, 551, 552, 553),
    ),
    "new": (311, 411, 412, 421, 422, 511, 512),
    "promising": (313, 314, 315, 413, 414, 415, 424, 425, 513, 514, 515, 521, 522, 523, 524, 525),
    "need_attention": (324, 325, 334, 343, 434, 443, 534, 535),
    "about_to_sleep": (213, 221, 231, 241, 251, 312, 321, 331),
    "at_risk": (
        *(124, 125, 133, 134, 135, 142, 143, 145, 152, 153, 224, 225),
        *(234, 235, 242, 243, 244, 245, 252, 253, 254, 255),
    ),
    "cannot_lose": (113, 114, 115, 144, 154, 155, 214, 215),
    "hibernating": (122, 123, 132, 211, 212, 222, 223, 232, 233, 322, 332),
    "lost": (111, 112, 121, 131, 141, 151),
}
"""Segment by codes. Sizes 7, 8, 24, 7, 16, 8, 8, 22, 8, 11, 6."""

EIGHT: dict[tuple[bool, bool, bool], str] = {
    (True, True, True): "important_value",
    (True, False, True): "important_development",
    (False, True, True): "important_keep",
    (False, False, True): "important_retain",
    (True, True, False): "general_value",
    (True, False, False): "general_development",
    (False, True, False): "general_keep",
    (False, False, False): "general_retain",
}
"""Segment by recency, frequency and money being high: 重要价值, 重要发展, 重要保持, 重要挽留, then 一般 likewise."""

_SEGMENT_OF_CODE = {code: segment for segment, codes in ELEVEN.items() for code in codes}


def segment_of(recency: int, frequency: int, monetary: int) -> str:
    """Name of the segment of three scores 1..5; KeyError outside."""
    return _SEGMENT_OF_CODE[100 * recency + 10 * frequency + monetary]


def score(values: ArrayLike, breaks: ArrayLike, descending: bool = False) -> NDArray[np.int64]:
    """Scores 1..5 from four frozen breaks: 1 + number of breaks strictly below, or 5 - that number where less is better.

    Equal values get equal scores, so tied breaks leave scores empty (section 0, ties).
    """
    below = np.searchsorted(np.sort(np.asarray(breaks, dtype=float)), np.asarray(values, dtype=float), side="left")
    return np.asarray(5 - below if descending else 1 + below, dtype=np.int64)
