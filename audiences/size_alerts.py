"""Whether an audience is of a size that may leave: not empty, and not far from what it was or from how it usually moves.

A definition that went wrong, or data that did, shows in the size first. Sizes are those of the builds, one a day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from schemas.configuration import Settings
from schemas.text import Text

PERCENTILE = 0.9


class SizeLimits(Settings):
    """``audience_sizes`` of ``huaxiang.yaml``: what stops a delivery.

    A size below ``shrunk_to`` or above ``grown_to`` times the one of the build before, where either has ``least_users``.
    From ``least_builds`` builds on also a move that is more than ``times_usual`` of the 90th percentile of the earlier
    ones (a tenth at least). Absent: that is not asked. An empty audience never leaves.
    """

    shrunk_to: float | None = Field(default=0.5, ge=0, lt=1)
    grown_to: float | None = Field(default=3.0, gt=1)
    times_usual: float | None = Field(default=4.0, ge=1)
    least_users: int = Field(default=100, ge=1)
    least_builds: int = Field(default=10, ge=3)


@dataclass(frozen=True)
class SizeAlert:
    """Why an audience should not leave as it is: ``empty``, ``shrunk``, ``grown``, ``unusual`` or ``stale``."""

    kind: str
    words: Text


def size_alerts(sizes: Sequence[int], limits: SizeLimits) -> tuple[SizeAlert, ...]:
    """Alerts of the last of ``sizes``, which are in order of day; none of an audience's first build but that it is empty."""
    now = sizes[-1]
    if not now:
        return (SizeAlert("empty", Text("人群为空", "nobody is in it")),)
    if len(sizes) < 2 or max(now, sizes[-2]) < limits.least_users:
        return ()
    before = sizes[-2]
    moved = Text(f"上次 {before:,} 人，现在 {now:,} 人", f"{now:,} users after {before:,}")
    found = []
    if limits.shrunk_to is not None and now < limits.shrunk_to * before:
        below = Text(f"，不足上次的 {limits.shrunk_to:.0%}", f", less than {limits.shrunk_to:.0%} of them")
        found.append(SizeAlert("shrunk", moved + below))
    if limits.grown_to is not None and now > limits.grown_to * before:
        above = Text(f"，超过上次的 {limits.grown_to:g} 倍", f", more than {limits.grown_to:g} times as many")
        found.append(SizeAlert("grown", moved + above))
    usual = _usual_move(sizes[:-1])
    if limits.times_usual is not None and len(sizes) > limits.least_builds:
        factor = math.exp(limits.times_usual * max(usual, math.log(1.1)))
        if not before / factor <= now <= before * factor:
            said = Text(f"，平时变化在 {_percent(usual)} 以内", f", where it usually moves by up to {_percent(usual)}")
            found.append(SizeAlert("unusual", moved + said))
    return tuple(found)


def _usual_move(sizes: Sequence[int]) -> float:
    """The 90th percentile of how far sizes moved, as logarithms of ratios; one person stands in for nobody."""
    moves = sorted(abs(math.log(max(b, 1) / max(a, 1))) for a, b in pairwise(sizes))
    return moves[min(len(moves) - 1, math.ceil(PERCENTILE * len(moves)) - 1)] if moves else 0.0


def _percent(move: float) -> str:
    return f"{math.exp(move) - 1:.0%}"
