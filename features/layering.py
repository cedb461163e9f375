"""Weighted layering (definitions.md section 14): a declared weighted sum of normalised tags, cut into layers.

``layering:`` of a tag is short for frozen breaks, a published score ``ID_score`` in [0, 1] and ordered rules over it.
``expanded`` writes them out, so that everything after it knows breaks, expressions and rules only, and what a layer
means can be read in the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isclose
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from features.frozen_numbers import Break
from schemas.configuration import Settings

if TYPE_CHECKING:
    from features.tags import Tag

POINTS = tuple(i / 100 for i in range(1, 100))
"""Quantile points that a percentile rank is measured against."""


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


@dataclass(frozen=True)
class Expansion:
    """What a layering stands for; every break is made before the score, the cuts after it."""

    breaks: dict[str, Break]
    score: Tag
    layers: Tag


def score_id(tag: str) -> str:
    """The id of the score that a layering publishes."""
    return f"{tag}_score"


def layer_values(tag: Tag) -> tuple[str, ...]:
    """The layers from lowest to highest: the tag's values but the one of users outside ``where``."""
    return tuple(v for v in tag.finite or () if v not in (tag.otherwise, "unknown"))


def normalised(tag: str, layering: Layering) -> tuple[str, ...]:
    """One expression per input: its normalised value in [0, 1], never unknown."""
    return tuple(_normalised(tag, i, one) for i, one in enumerate(layering.inputs, start=1))


def expanded(tag: Tag) -> Expansion:
    """A tag with ``layering`` written out."""
    layering = tag.layering
    assert layering is not None
    common = {"where": layering.where, "keep": layering.keep, "min_users": layering.min_users}
    breaks: dict[str, Break] = {}
    for i, one in enumerate(layering.inputs, start=1):
        if one.normalise == "percentile":
            breaks[f"{tag.id}_points_{i}"] = Break(of=one.of, quantiles=POINTS, **common)
        else:
            breaks[f"{tag.id}_least_{i}"] = Break(of=one.of, statistic="min", **common)
            breaks[f"{tag.id}_greatest_{i}"] = Break(of=one.of, statistic="max", **common)
    score = score_id(tag.id)
    if layering.shares is not None:
        shares = tuple(round(s, 10) for s in accumulate(layering.shares[:-1]))
        breaks[f"{tag.id}_cuts"] = Break(of=score, quantiles=shares, **{**common, "where": f"{score} is not null"})
        cuts = [f"number_at('{tag.id}_cuts', {i})" for i in range(1, layering.layers)]
    else:
        cuts = [_number(c) for c in layering.cuts or ()]
    return Expansion(breaks, _score(tag, score, layering), _layers(tag, score, cuts))


def _score(tag: Tag, name: str, layering: Layering) -> Tag:
    weighted = zip(layering.inputs, normalised(tag.id, layering), strict=True)
    total = " + ".join(f"{_number(one.weight)} * {n}" for one, n in weighted)
    said = ", ".join(f"{one.weight:g} x {one.of} ({one.normalise}, {one.direction})" for one in layering.inputs)
    texts, language = type(tag.name), tag.name
    return tag.model_copy(
        update={
            "id": name,
            "name": texts(zh=f"{language.zh}得分", en=f"{language.en}: score"),
            "description": texts(
                zh=f"{language.zh}的加权得分，0 至 1，由各项归一化后加权相加：{said}"[:600],
                en=f"Weighted score of {language.en}, 0 to 1, the sum of normalised inputs: {said}"[:600],
            ),
            # the score moves a little every day; its process would be a row per user and day
            "kind": "semi_dynamic",
            "type": "float64",
            "unit": "score",
            "values": _unit_range(),
            "empty": "unknown",
            "scale": 6,
            "expression": f"case when {layering.where} then {total} end",
            **dict.fromkeys(("layering", "rules", "otherwise", "declared", "limits", "log_bands")),
            **{n: {} for n in ("labels", "strategies", "needs", "resources")},
            "scheme": False,
        }
    )


def _layers(tag: Tag, score: str, cuts: Sequence[str]) -> Tag:
    from features.tags import Rule

    lowest, *higher = layer_values(tag)
    rules = [Rule(when=f"{score} > {cut}", value=value) for cut, value in zip(cuts, higher, strict=True)]
    return tag.model_copy(update={"rules": (*reversed(rules), Rule(when=f"{score} is not null", value=lowest))})


def _unit_range() -> object:
    from features.tags import Range

    return Range(min=0, max=1)


def _normalised(tag: str, i: int, one: Input) -> str:
    if one.normalise == "percentile":
        value = f"percentile_rank({one.of}, '{tag}_points_{i}')"
    else:
        least = f"statistic('{tag}_least_{i}')"
        place = f"(({one.of}) - {least}) / (statistic('{tag}_greatest_{i}') - {least})"
        # least() and greatest() pass over an unknown, which must stay one here
        value = f"case when {place} is not null then greatest(0.0, least(1.0, {place})) end"
    if one.direction == "lower":
        value = f"1.0 - ({value})"
    return f"coalesce({value}, {_number(one.absent)})"


def _number(value: float) -> str:
    """A literal that is never read as a whole number and keeps every digit."""
    text = f"{value:.12f}".rstrip("0")
    return text + "0" if text.endswith(".") else text
