"""Moves between the values of a segmentation, and whether more users than usual went one way (definitions.md section 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
from pydantic import Field

from features.changes import LOST, NEW
from schemas.configuration import Settings

Moves = Mapping[tuple[str, str], int]
"""Users by where they were and where they are, those who stayed and ``NEW`` and ``LOST`` included."""


FLOWS = """
select coalesce(a.segment, 'NEW'), coalesce(b.segment, 'LOST'), count(*)
from (select uid, segment from segments.segments where scheme = $scheme and as_of = $first) a
full outer join (select uid, segment from segments.segments where scheme = $scheme and as_of = $last) b using (uid)
group by all order by all
"""


class MigrationSettings(Settings):
    """``methods/migration.yaml``."""

    period_days: int = Field(default=7, ge=1)
    periods: int = Field(default=12, ge=2)
    min_periods: int = Field(default=6, ge=2)
    k: float = Field(default=3.0, gt=0)
    min_users: int = Field(default=50, ge=1)
    origins: tuple[str, ...] = Field(default=("frequent_high", "frequent_low", "rare_high"), min_length=1)


@dataclass(frozen=True)
class Control:
    """Limits of a control chart from trailing periods: their mean, standard deviation (n - 1), and the upper limit."""

    mean: float
    deviation: float
    upper: float


@dataclass(frozen=True)
class Verdict:
    """What a period shows: users at the origins before it, the share of them that moved, limits, and why (not) raised.

    ``reason``: ``few_users`` (no share: too few to judge), ``few_periods`` (no limit yet), ``within_limit`` or
    ``above_limit``.
    """

    users: int
    moved: int
    share: float | None
    control: Control | None
    is_raised: bool
    reason: str


def summed_moves(parts: Iterable[Moves]) -> dict[tuple[str, str], int]:
    """The moves of all buckets together, in order of origin and target."""
    found: dict[tuple[str, str], int] = {}
    for part in parts:
        for move, users in part.items():
            found[move] = found.get(move, 0) + users
    return dict(sorted(found.items()))


def users_by_origin(moves: Moves) -> dict[str, int]:
    """Users by origin: everybody of the earlier day, and ``NEW``."""
    found: dict[str, int] = {}
    for (origin, _), users in moves.items():
        found[origin] = found.get(origin, 0) + users
    return found


def imbalance(moves: Moves, before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Values whose users do not add up: rows must give the earlier day, columns the later one. Empty if all is well.

    ``before`` and ``after`` are users by value on the two days; the result has counted against expected.
    """
    origins = {k: v for k, v in users_by_origin(moves).items() if k != NEW}
    targets: dict[str, int] = {}
    for (_, target), users in moves.items():
        targets[target] = targets.get(target, 0) + users
    targets.pop(LOST, None)
    wrong = {f"from {k}": (origins.get(k, 0), before.get(k, 0)) for k in {*origins, *before}}
    wrong |= {f"to {k}": (targets.get(k, 0), after.get(k, 0)) for k in {*targets, *after}}
    return {k: v for k, v in sorted(wrong.items()) if v[0] != v[1]}


def control(shares: Sequence[float], k: float) -> Control:
    """Mean plus ``k`` standard deviations of at least two trailing periods."""
    mean = math.fsum(shares) / len(shares)
    deviation = math.sqrt(math.fsum((s - mean) ** 2 for s in shares) / (len(shares) - 1))
    return Control(mean, deviation, mean + k * deviation)


def drift(moves: Moves, target: str, trailing: Sequence[float], settings: MigrationSettings) -> Verdict:
    """The share of the users at the origins who are at ``target`` a period later, against the trailing periods' shares.

    Origins are the other quadrants of buyers, not who had bought nothing or was not there: a first purchase ends in the
    low quadrant by nature, so that a good week of acquisition would raise an alarm. ``origins`` may say otherwise.
    """
    users = sum(n for origin, n in users_by_origin(moves).items() if origin in settings.origins)
    moved = sum(n for (origin, to), n in moves.items() if origin in settings.origins and to == target)
    if users < settings.min_users:
        return Verdict(users, moved, None, None, False, "few_users")
    share = moved / users
    if len(trailing) < settings.min_periods:
        return Verdict(users, moved, share, None, False, "few_periods")
    limits = control(trailing, settings.k)
    raised = share > limits.upper
    return Verdict(users, moved, share, limits, raised, "above_limit" if raised else "within_limit")


def flows_between(con: duckdb.DuckDBPyConnection, scheme: str, first: date, last: date) -> dict[tuple[str, str], int]:
    """Users by (where they were, where they are), user by user; NEW came into the base, LOST left it."""
    values = {"scheme": scheme, "first": first, "last": last}
    return {(was, now): n for was, now, n in con.execute(FLOWS, values).fetchall()}
