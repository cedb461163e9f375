"""AIPL: conversion rates per stage, what is missing to a target, FAST and the benchmark (definitions.md section 3).

Everything here is arithmetic on counts; ``jobs/insights/aipl.py`` counts, ``queries/gap.py`` asks for the gap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.configuration import Settings
from schemas.errors import HuaxiangError
from schemas.tag_roles import TagRole

STAGES: tuple[str, ...] = ("awareness", "interest", "purchase", "loyalty")
"""Ascending; a user has the highest stage reached, or ``none``."""
SUPER = "super"
"""The value of super users, in the tag of their role."""
NONE = "none"
"""Users of no stage; in rates also those who came into the base since."""
RANK: dict[str, int] = {NONE: 0, **{s: i for i, s in enumerate(STAGES, start=1)}}
BELOW: dict[str, str] = dict(zip(STAGES, ("none", *STAGES[:-1]), strict=True))
"""From which stage users must come to fill a stage's gap."""


class Benchmark(Settings):
    """What stage shares and conversions are held against: the mean of own earlier days, or a file of peers.

    ``file`` is a CSV below the project folder with the columns stage, share and (optional) conversion.
    """

    kind: Literal["history", "file"] = "history"
    days: int = Field(default=28, ge=1)
    file: str | None = None
    flag_below: float = Field(default=0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _file_named(self) -> Benchmark:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("benchmark: kind 'file' goes with a file, kind 'history' without one")
        return self


class AiplSettings(Settings):
    """``methods/aipl.yaml``. ``gmv_share`` is the share of a target that each stage is to bring (``none``:
    users of no stage); absent: as in history.
    """

    horizon_days: int = Field(default=30, ge=1, le=365)
    horizon_tolerance_days: int = Field(default=3, ge=0)
    min_sample: int = Field(default=30, ge=1)
    gmv_share: dict[Literal["awareness", "interest", "purchase", "loyalty", "none"], float] | None = None
    benchmark: Benchmark = Benchmark()

    @model_validator(mode="before")
    @classmethod
    def _super_users_have_a_role(cls, content: Any) -> Any:
        if isinstance(content, dict) and (old := [k for k in ("super_scheme", "super_value") if k in content]):
            raise ValueError(
                f"{' and '.join(old)}: who is a super user is said by a tag now; leave it out here, give that tag "
                f"`role: {TagRole.SUPER_USER}`, and call its value {SUPER!r}"
            )
        return content

    @model_validator(mode="after")
    def _whole(self) -> AiplSettings:
        shares = self.gmv_share
        if shares is not None and (min(shares.values()) < 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-9)):
            raise ValueError(f"gmv_share: shares are not negative and sum to 1, these sum to {sum(shares.values()):g}")
        return self


@dataclass(frozen=True)
class StageRates:
    """What the users of one stage did within a horizon of days after they were counted.

    ``users`` stood in the stage at its start, ``buyers`` of them placed ``orders`` valid orders for ``net_amount_minor``.
    Rates are None where their base is empty.
    """

    stage: str
    users: int
    buyers: int
    orders: int
    net_amount_minor: int

    @property
    def conversion(self) -> float | None:
        """Buyers per user (CVR)."""
        return self.buyers / self.users if self.users else None

    @property
    def orders_per_buyer(self) -> float | None:
        return self.orders / self.buyers if self.buyers else None

    @property
    def order_value_minor(self) -> float | None:
        return self.net_amount_minor / self.orders if self.orders else None

    @property
    def value_per_user_minor(self) -> float | None:
        """CVR x OPB x AOV: expected money of one user of the stage over the horizon."""
        return self.net_amount_minor / self.users if self.users else None

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """95 % Wilson interval of the conversion."""
        if not self.users:
            return None, None
        from scipy.stats import binomtest  # here, because it takes every other verb half a second to load

        found = binomtest(self.buyers, self.users).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class StageGap:
    """What a target asks of one stage: users there, users needed, and what is missing or left over."""

    rates: StageRates
    users: int
    target_share: float
    needed_users: int

    @property
    def gap(self) -> int:
        return max(0, self.needed_users - self.users)

    @property
    def surplus(self) -> int:
        return max(0, self.users - self.needed_users)


def without_rates(rates: StageRates) -> str | None:
    """Why no number of users of a stage gives any money at these rates; None where some do."""
    if not rates.users:
        return "has no history: nobody stood in it at the start of the period"
    if not rates.net_amount_minor:
        return f"has no conversion: none of its {rates.users:,} users bought within the period"
    return None


def unexplained_share(rates: Sequence[StageRates]) -> float | None:
    """Of the money of the rates' period the share that came from users of no stage; None where none came, or it is not known."""
    whole = sum(r.net_amount_minor for r in rates)
    mine = [r.net_amount_minor for r in rates if r.stage == NONE]
    return mine[0] / whole if mine and whole else None


def gmv_gap(
    target_minor: int, users: Mapping[str, int], rates: Sequence[StageRates], shares: Mapping[str, float] | None = None
) -> list[StageGap]:
    """Per stage the users needed for its share of a target: ``target x share / (CVR x OPB x AOV)``, rounded up.

    ``shares`` absent: as the money of these stages was divided in the rates' own period. HuaxiangError names the stage
    that has no history or no conversion, for no number of its users would give anything.
    """
    whole = sum(r.net_amount_minor for r in rates)
    found = []
    for r in rates:
        why = without_rates(r)
        if why is not None:
            raise HuaxiangError(
                f"stage {r.stage!r} {why}, so no number of them reaches a target; leave it out with --stages"
            )
        share = r.net_amount_minor / whole if shares is None else shares.get(r.stage, 0.0)
        per_user = r.net_amount_minor / r.users
        found.append(StageGap(r, users.get(r.stage, 0), share, math.ceil(target_minor * share / per_user - 1e-9)))
    return found


def asset_value_minor(users: Mapping[str, int], rates: Sequence[StageRates]) -> dict[str, float]:
    """消费者资产 per stage: users now x money expected of one within the horizon; stages without rates are left out."""
    return {r.stage: users.get(r.stage, 0) * v for r in rates if (v := r.value_per_user_minor) is not None}


@dataclass(frozen=True)
class Advance:
    """Moves between two days: who stood in A, I or P at the start, and how many of them stand higher at the end."""

    at_start: int
    upward: int

    @property
    def rate(self) -> float | None:
        return self.upward / self.at_start if self.at_start else None


def advancing(flows: Mapping[tuple[str, str], int]) -> Advance:
    """FAST's A from counts by (from stage, to stage); users who left the base count at the start only."""
    start = {k: n for k, n in flows.items() if k[0] in ("awareness", "interest", "purchase")}
    upward = sum(n for (was, now), n in start.items() if RANK.get(now, -1) > RANK[was])
    return Advance(sum(start.values()), upward)
