"""Thresholds of sharing and fission (definitions.md sections 7 and 14); ``conf/methods/fission.yaml`` says them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.configuration import Settings

MOST_PAID_LEVELS = 2
K_DAYS = 30
"""Latest days of sharing that the one K factor and cycle time of a day rest on (``active_users_30d``)."""


class FissionSettings(Settings):
    """What the step ``fission`` goes by."""

    without_touch: tuple[Literal["register", "inviter"], ...] = ("register", "inviter")
    """Where no share was opened before joining: who the registration, then the member record, names as inviter."""
    activity_days: int = Field(default=7, ge=0)
    """Joining a group of the parent from the touch until so many days after joining is fission by activity."""
    cohort_days: int = Field(default=90, ge=30, le=1000)
    """Days of sharing for which K factor and cycle time are kept."""

    role_days: int = Field(default=365, ge=1)
    """Days whose shares, opens and orders count for the roles."""
    role_threshold: float = Field(default=0.9, gt=0, le=1)
    """Percentile from which a score makes a role."""
    role_people: int = Field(default=3, ge=1)
    """Fewer people reached make no role: one conversion of one is no salesman."""
    early_days: int = Field(default=14, ge=1)
    """A share is early within so many days of the product's first appearance."""
    salesman_prior: tuple[float, float] | None = None
    """Beta prior (a, b) of converted / exposed; None: fitted to all sharers."""
    prior_min_sharers: int = Field(default=50, ge=2)
    """Fewer sharers than this with anybody exposed: ``default_prior``."""
    default_prior: tuple[float, float] = (1.0, 9.0)

    seed_breadth: float = Field(default=0.9, gt=0, lt=1)
    """Seed users are roots strictly above this quantile of the breadth of roots ..."""
    seed_conversion: float = Field(default=0.5, ge=0, lt=1)
    """... and strictly above this quantile of their converted / reached."""

    structure_users: int = Field(default=10, ge=2)
    honeycomb_share: float = Field(default=0.2, gt=0, le=1)
    umbrella_share: float = Field(default=0.6, gt=0, le=1)
    tower_levels: int = Field(default=4, ge=1)

    paid_levels: int = Field(default=2, ge=1)
    """Levels of the down-line that the shop pays."""
    analysis_only: bool = False
    """More than two levels are looked at, and nobody is paid for them."""
    amount_days: int = Field(default=365, ge=1)
    """Days of the down-line's and of attributed net sales."""
    silent_days: int = Field(default=90, ge=1)
    """A distributor without attributed sale for so long who goes on buying has turned self-buyer."""

    @model_validator(mode="after")
    def _no_pyramid(self) -> FissionSettings:
        if self.paid_levels > MOST_PAID_LEVELS and not self.analysis_only:
            raise ValueError(
                f"paid_levels {self.paid_levels}: paying three or more levels of a down-line can fall under the ban on "
                f"pyramid selling (传销); at most {MOST_PAID_LEVELS} are taken. To look at more levels without paying "
                "them, add `analysis_only: true`"
            )
        return self

    @model_validator(mode="after")
    def _priors_are_positive(self) -> FissionSettings:
        for name in ("salesman_prior", "default_prior"):
            prior = getattr(self, name)
            if prior is not None and min(prior) <= 0:
                raise ValueError(f"{name} {list(prior)}: both numbers of a Beta prior are above 0")
        return self
