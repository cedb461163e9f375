"""Weighted layering (definitions.md section 14): a declared weighted sum of normalised tags, cut into layers.

``layering:`` of a tag is short for frozen breaks, a published score ``ID_score`` in [0, 1] and ordered rules over it.
``features/expansion.py`` writes them out, so that everything after it knows breaks, expressions and rules only, and what a layer
means can be read in the catalogue.
"""

from __future__ import annotations

from math import isclose
from typing import Literal

from pydantic import Field, field_validator, model_validator

from schemas.configuration import Settings


class Input(Settings):
    """One summand: ``weight`` times the normalised ``of`` (a tag, a fact or an expression over them).

    ``percentile``: rank against frozen percentiles of the users in ``where``; ``min_max``: place between their frozen
    least and greatest, clipped to [0, 1]. ``direction: lower`` turns it round. ``absent`` is what a user without the
    value counts as, in [0, 1] and after the direction.
    """

    of: str
    weight: float = Field(ge=0, le=1)
    normalise: Literal["percentile", "min_max"] = "percentile"
    direction: Literal["higher", "lower"] = "higher"
    absent: float = Field(default=0, ge=0, le=1)


class Layering(Settings):
    """The whole declaration. Layers are cut at fixed scores (``cuts``) or so that they have these ``shares``.

    A score that lies exactly on a cut belongs to the layer below it. ``keep`` and ``min_users`` go to every break.
    """

    inputs: tuple[Input, ...] = Field(min_length=1, max_length=20)
    where: str
    cuts: tuple[float, ...] | None = None
    shares: tuple[float, ...] | None = None
    keep: bool = False
    min_users: int = Field(default=0, ge=0)

    @field_validator("inputs")
    @classmethod
    def _weighted(cls, value: tuple[Input, ...]) -> tuple[Input, ...]:
        total = sum(i.weight for i in value)
        if not isclose(total, 1, abs_tol=1e-9):
            raise ValueError(f"the weights sum to {total:g}; they must sum to 1")
        return value

    @field_validator("cuts")
    @classmethod
    def _ascending(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (not value or list(value) != sorted(set(value)) or value[0] <= 0 or value[-1] >= 1):
            raise ValueError("cuts ascend strictly between 0 and 1")
        return value

    @field_validator("shares")
    @classmethod
    def _whole(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (len(value) < 2 or min(value) <= 0 or not isclose(sum(value), 1, abs_tol=1e-9)):
            raise ValueError("shares are two or more, above 0, and sum to 1")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Layering:
        if (self.cuts is None) == (self.shares is None):
            raise ValueError("exactly one of 'cuts' and 'shares' is expected")
        return self

    @property
    def layers(self) -> int:
        return len(self.cuts) + 1 if self.cuts is not None else len(self.shares or ())


def score_id(tag: str) -> str:
    """The id of the score that a layering publishes."""
    return f"{tag}_score"
