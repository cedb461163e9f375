"""A tag with ``layering:`` written out (features/layering.py): its breaks, its score, and rules over the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from features.frozen_numbers import Break
from features.layering import Input, Layering, score_id
from features.tags import Range, Rule, Tag, layer_values

POINTS = tuple(i / 100 for i in range(1, 100))
"""Quantile points that a percentile rank is measured against."""


@dataclass(frozen=True)
class Expansion:
    """What a layering stands for; every break is made before the score, the cuts after it."""

    breaks: dict[str, Break]
    score: Tag
    layers: Tag


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
            **dict.fromkeys(("layering", "rules", "otherwise", "declared", "limits", "log_bands", "role")),
            **{n: {} for n in ("labels", "strategies", "needs", "resources")},
            "scheme": False,
        }
    )


def _layers(tag: Tag, score: str, cuts: Sequence[str]) -> Tag:
    lowest, *higher = layer_values(tag)
    rules = [Rule(when=f"{score} > {cut}", value=value) for cut, value in zip(cuts, higher, strict=True)]
    return tag.model_copy(update={"rules": (*reversed(rules), Rule(when=f"{score} is not null", value=lowest))})


def _unit_range() -> object:
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
