"""What ``breaks:`` and ``models:`` of a tag file may say: global numbers and clusterings, frozen and stored with the run."""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.configuration import Settings

Estimate = Literal["purchase_day_knees", "silence_cut", "recovery_knee"]
NEWER_KEYS = ("currency",)
"""Keys of a break that came after numbers were stored: absent, they are not in its hash, or every kept number were refitted."""


class Break(Settings):
    """Global numbers over the base population, frozen per run: exactly one of four kinds.

    - ``quantiles`` (type 7) of ``of``;
    - one ``statistic`` of ``of``;
    - ``fixed`` numbers that the shop declares, of the unit of ``of`` (fixed cuts of RFM, a fixed comparison value); with
      a ``currency`` they are money in its main units;
    - an ``estimate``: numbers that come from curves over activity (definitions.md section 4), made before the facts.
      ``share``, ``horizon_days`` and ``min_cases`` are its parameters; with too few cases it is ``default``.

    ``where`` narrows the population; users whose ``of`` is unknown are left out. ``keep`` re-uses the stored numbers of
    the same declaration until they are refitted on purpose; numbers made from fewer than ``min_users`` are not kept.
    """

    of: str | None = None
    where: str | None = None
    quantiles: tuple[float, ...] | None = None
    statistic: Literal["mean", "median", "min", "max"] | None = None
    fixed: tuple[float, ...] | None = None
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    estimate: Estimate | None = None
    share: float | None = Field(default=None, gt=0, lt=1)
    horizon_days: int | None = Field(default=None, ge=1)
    min_cases: int | None = Field(default=None, ge=1)
    default: tuple[float, ...] | None = None
    keep: bool = False
    min_users: int = Field(default=0, ge=0)

    @field_validator("default")
    @classmethod
    def _default_ascends(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (not value or list(value) != sorted(set(value)) or value[0] <= 0):
            raise ValueError("the default numbers are above 0 and ascend strictly")
        return value

    @field_validator("fixed")
    @classmethod
    def _fixed_ascends(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (not value or list(value) != sorted(set(value)) or not all(map(isfinite, value))):
            raise ValueError("fixed numbers ascend strictly")
        return value

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (not value or list(value) != sorted(set(value)) or value[0] <= 0 or value[-1] >= 1):
            raise ValueError("quantiles ascend strictly between 0 and 1")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Break:
        kinds = [n for n in ("quantiles", "statistic", "fixed", "estimate") if getattr(self, n) is not None]
        if len(kinds) != 1:
            raise ValueError("exactly one of 'quantiles', 'statistic', 'fixed' and 'estimate' is expected")
        if self.currency is not None and self.fixed is None:
            raise ValueError("'currency' says in what 'fixed' numbers are given; the others are made from the data")
        estimated = [n for n in ("share", "horizon_days", "min_cases", "default") if getattr(self, n) is not None]
        if self.estimate is None:
            if self.of is None:
                raise ValueError(f"'of' is missing: the number that the {kinds[0]} are of")
            if self.fixed is not None and (self.where is not None or self.keep or self.min_users):
                raise ValueError("fixed numbers are made from nobody: 'where', 'keep' and 'min_users' say nothing")
            if estimated:
                raise ValueError(f"{estimated[0]!r} belongs to an 'estimate'")
            return self
        for name in ("of", "where"):
            if getattr(self, name) is not None:
                raise ValueError(f"an estimate comes from activity and has no {name!r}")
        if not self.default:
            raise ValueError("an estimate needs a 'default': its numbers while there are too few cases")
        return self

    def content(self, *exclude: str) -> dict[str, Any]:
        """What hashes of the declaration are taken of: a key that older versions did not know counts where it is said."""
        newer = {n for n in NEWER_KEYS if getattr(self, n) is None}
        return self.model_dump(mode="json", exclude={*exclude, *newer})


class Model(Settings):
    """A k-means clustering (definitions.md section 11): which numbers, of whom, and how it is chosen.

    Labels are ``cluster_1`` ... in ascending order of the centres' first input. ``else`` is the value of users outside
    ``where``. ``min_users``: below that nothing is fitted and the tag is unknown.
    """

    kind: Literal["kmeans"]
    inputs: tuple[str, ...] = Field(min_length=1, max_length=20)
    where: str
    k: tuple[int, int] = (3, 8)
    sample: int = Field(default=5_000, ge=100, le=50_000)
    min_users: int = Field(default=200, ge=20)
    bootstraps: int = Field(default=10, ge=2, le=100)
    seed: int = 20_260_301

    @field_validator("k")
    @classmethod
    def _bounds(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 2 <= value[0] <= value[1] <= 20:
            raise ValueError("k is [least, most] with 2 <= least <= most <= 20")
        return value
