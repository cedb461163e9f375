"""What one file of ``tags/*.yaml`` may say (definitions.md section 1), checked entry by entry.

What needs the other entries (columns of expressions, cycles, duplicate ids) is checked by ``features/catalogue.py``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from features.facts import Fact
from features.frozen_numbers import Break as Break
from features.frozen_numbers import Model as Model
from features.layering import Layering
from schemas.configuration import Settings, Words, nearest
from schemas.contracts import FEEDS
from schemas.measures import MEASURES
from schemas.tag_roles import ROLES, TagRole

UNKNOWN = "unknown"
TagType = Literal["string", "int32", "int64", "float64", "bool", "date"]
PATHS: dict[str, tuple[str, ...]] = {
    "基本信息": ("人口信息", "社会学信息"),
    "会员特征": ("会员类型", "会员寿命", "会员信息"),
    "消费特征": ("消费总规模", "交叉消费", "消费能力和频次", "活动偏好"),
    "活跃特征": ("线上活跃", "线下活跃"),
    "社交特征": ("分享", "裂变", "社群角色"),
    "临时标签": ("触达", "粘性", "转化"),
}
"""The two upper levels of every tag's path; the third is the leaf's own name."""

WAYS = ("fact", "attribute", "expression", "rules", "layering", "model")
"""How a tag can be made."""
NUMBERS = ("int32", "int64", "float64")
_METHODS: dict[str, tuple[str, ...]] = {
    "fact": ("fact", "attribute", "expression"),
    "rule": ("rules", "expression", "layering"),
    "model": ("model",),
}

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=600, strip_whitespace=True)]
Value = str | int | float | bool


class Names(Words):
    """A text of a tag in both languages, of bounded length."""

    zh: Text
    en: Text


class Range(Settings):
    """Numbers that a tag can have; absent bounds are open."""

    min: float | None = None
    max: float | None = None


class ValuesOf(Settings):
    """A text tag whose values are those of a column of silver (cities, brands), and ``unknown``."""

    column: str = Field(alias="from", pattern=r"^[a-z_]+\.[a-z_]+$")


class Rule(Settings):
    """One condition and the value that it gives; the first rule that matches wins."""

    when: str
    value: Value

    @model_validator(mode="before")
    @classmethod
    def _has_a_condition(cls, content: Any) -> Any:
        if isinstance(content, dict) and "value" in content and "when" not in content:
            said = "null" if content["value"] is None else content["value"]
            raise ValueError(f"a rule needs a 'when'; the value of all others stands beside the rules: `else: {said}`")
        return content


class Limits(Settings):
    """From where on a tag breaks; what is not said is the project's, null switches off."""

    psi: float | None = Field(default=None, gt=0)
    coverage: float | None = Field(default=None, ge=0, le=1)


class Tag(Settings):
    """One entry of the catalogue. Exactly one of ``WAYS`` says how it is made.

    ``empty`` is what a user without a result has: ``unknown`` (null for numbers), ``keep_last`` (the value of the
    snapshot before), or a value. ``log_bands``: the process of a number that changes by itself every day (ages, days
    since) is kept by band, or every row would change every day. ``scale``: decimals that a float is rounded to.
    ``labels``: what values are called; ``strategies``: what the owner does with users of each value, ``needs`` and
    ``resources``: what those users need and what is spent on them. ``on_break``: what becomes of a run's values that break
    a limit; they are told of, or the last good ones are held in their place. ``declared``: the attribute of questionnaires whose
    fresh answers win over the computed value. ``role``: what code finds the tag by (schemas/tag_roles.py).
    """

    id: Identifier
    role: TagRole | None = None
    name: Names
    description: Names
    path: tuple[str, str, Text]
    kind: Literal["static", "semi_dynamic", "dynamic"]
    method: Literal["fact", "rule", "model"]
    type: TagType
    unit: str | None = None
    values: tuple[Value, ...] | Range | ValuesOf | None = None
    labels: dict[str, Names] = Field(default_factory=dict)
    strategies: dict[str, Names] = Field(default_factory=dict)
    needs: dict[str, Names] = Field(default_factory=dict)
    resources: dict[str, Names] = Field(default_factory=dict)
    sources: tuple[str, ...] = Field(min_length=1)
    window: int | None = Field(default=None, ge=1)
    empty: Value
    owner: Text
    refresh: Literal["daily", "weekly", "monthly"]
    version: int = Field(ge=1)
    scale: int | None = Field(default=None, ge=0, le=12)
    log_bands: tuple[int, ...] | None = None
    scheme: bool = False
    declared: str | None = Field(default=None, min_length=1)
    limits: Limits | None = None
    on_break: Literal["tell", "hold"] = "tell"
    fact: Fact | None = None
    attribute: str | None = None
    expression: str | None = None
    rules: tuple[Rule, ...] | None = None
    layering: Layering | None = None
    otherwise: Value | None = Field(default=None, alias="else")
    model: str | None = None

    @field_validator("role", mode="before")
    @classmethod
    def _known_role(cls, value: Any) -> Any:
        known = [str(role) for role in TagRole]
        if value is not None and value not in known:
            raise ValueError(f"unknown role; {nearest(str(value), known)}")
        return value

    @field_validator("path")
    @classmethod
    def _known_path(cls, value: tuple[str, str, str]) -> tuple[str, str, str]:
        if value[0] not in PATHS:
            raise ValueError(f"unknown group {value[0]!r}; {nearest(value[0], list(PATHS))}")
        if value[1] not in PATHS[value[0]]:
            raise ValueError(f"{value[0]!r} has no leaf group {value[1]!r}; {nearest(value[1], list(PATHS[value[0]]))}")
        return value

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in FEEDS:
                raise ValueError(f"unknown source table {name!r}; {nearest(name, list(FEEDS))}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Tag:
        given = [n for n in WAYS if getattr(self, n) is not None]
        if len(given) != 1:
            ways = ", ".join(map(repr, WAYS[:-1])) + f" and {WAYS[-1]!r}"
            raise ValueError(f"exactly one of {ways} is expected, {', '.join(given) or 'none'} given")
        if given[0] not in _METHODS[self.method]:
            raise ValueError(f"method {self.method!r} goes with {' or '.join(_METHODS[self.method])}, not {given[0]!r}")
        self._check_rules()
        self._check_values()
        self._check_empty()
        self._check_said_of_values()
        self._check_role()
        if self.fact is not None:
            self._check_fact(self.fact)
        if self.log_bands is not None:
            if self.type not in ("int32", "int64") or self.kind != "dynamic":
                raise ValueError("log_bands belong to dynamic tags of type int32 or int64")
            if not self.log_bands or list(self.log_bands) != sorted(set(self.log_bands)):
                raise ValueError("log_bands ascend strictly")
        if self.scale is not None and self.type != "float64":
            raise ValueError(f"scale belongs to type float64, this is {self.type}")
        return self

    def _check_rules(self) -> None:
        if self.rules is None:
            if self.layering is not None:
                self._check_layering(self.layering)
            elif self.otherwise is not None and self.model is None:
                raise ValueError("'else' belongs to rules, layerings and models")
            return
        if not self.rules:
            raise ValueError("rules: at least one rule is expected")
        if self.otherwise is None:
            raise ValueError("rules without 'else': every user must get a value, name the last one")

    def _check_layering(self, layering: Layering) -> None:
        if self.otherwise is None:
            raise ValueError("layering without 'else': name the value of users outside its 'where'")
        if self.finite is None:
            raise ValueError("a layering gives texts: list the layers from lowest to highest, and the 'else'")
        if len(layer_values(self)) != layering.layers:
            raise ValueError(
                f"{layering.layers} layers are cut, but the values name {len(layer_values(self))} "
                f"({', '.join(layer_values(self))}) beside the 'else'"
            )

    def _check_values(self) -> None:
        if self.type in NUMBERS:
            if not self.unit:
                raise ValueError("a number needs a unit (orders, days, minor, share, score ...)")
            if self.values is None or isinstance(self.values, ValuesOf):
                raise ValueError("a number needs values: a list, or bounds such as {min: 0}")
        elif self.unit:
            raise ValueError(f"type {self.type} has no unit")
        if self.type in ("bool", "date") and self.values is not None:
            raise ValueError(f"type {self.type} has no list of values")
        if self.type == "string":
            if self.values is None or isinstance(self.values, Range):
                raise ValueError("a text needs its list of values with 'unknown' or another value for no evidence")
            finite = self.finite
            if finite is not None and len(set(finite)) != len(finite):
                raise ValueError("a value stands twice in the list")
        finite = self.finite
        for value in [*(r.value for r in self.rules or ()), self.otherwise]:
            if value is None:
                continue
            if not _is_of(value, self.type):
                raise ValueError(f"value {value!r} is not of type {self.type}")
            if finite is not None and value not in finite:
                raise ValueError(f"value {value!r} is not in the tag's values; {nearest(str(value), list(finite))}")

    def _check_said_of_values(self) -> None:
        finite = self.finite or ()
        for key in ("labels", "strategies", "needs", "resources"):
            for name in getattr(self, key):
                if name not in finite:
                    hint = nearest(name, list(finite))
                    raise ValueError(f"{key}: {name!r} is none of the tag's values; {hint}")
        if self.scheme and (self.kind != "dynamic" or self.finite is None):
            raise ValueError("a segmentation (scheme: true) is a dynamic text tag with a list of values")
        missing = [v for v in finite if v not in self.strategies and v != UNKNOWN]
        if self.scheme and missing:
            raise ValueError(
                "a segmentation (scheme: true) needs a strategy for every value (strategies: {VALUE: {zh, en}}); "
                f"there is none for {', '.join(missing)}"
            )

    def _check_role(self) -> None:
        if self.role is None:
            return
        entry = ROLES[self.role]
        if entry.segmentation:
            fits = self.scheme and set(entry.values) <= set(self.finite or ())
        else:
            low, high = entry.bounds or (-math.inf, math.inf)
            least, most = (
                n if n is not None else far for n, far in zip(self.bounds, (-math.inf, math.inf), strict=True)
            )
            fits = self.type in entry.types and self.unit == (entry.unit or self.unit) and low <= least and most <= high
        if not fits:
            raise ValueError(f"role {self.role} ({entry.name.en}) must be {entry.needs.en}")

    def _check_empty(self) -> None:
        if self.empty == "keep_last":
            return
        if self.empty == UNKNOWN:
            if self.finite is not None and UNKNOWN not in self.finite:
                raise ValueError("empty: unknown, but 'unknown' is not in the tag's values")
            return
        if not _is_of(self.empty, self.type):
            raise ValueError(f"empty: {self.empty!r} is not of type {self.type}, nor unknown or keep_last")
        if self.finite is not None and self.empty not in self.finite:
            raise ValueError(f"empty: {self.empty!r} is not in the tag's values")

    def _check_fact(self, fact: Fact) -> None:
        if fact.id:
            raise ValueError("a tag's fact has the tag's id; leave fact.id out")
        if self.window != fact.window:
            raise ValueError(f"window {self.window} is declared, but the fact's window is {fact.window}")
        unit = MEASURES[fact.measure].unit
        counted = self.type in NUMBERS
        if counted and unit is not None and self.unit != unit:
            raise ValueError(f"unit mismatch: the tag says {self.unit!r}, measure {fact.measure!r} gives {unit!r}")

    def limit(self, name: Literal["psi", "coverage"], default: float | None) -> float | None:
        """The tag's own limit if it says one (null: none at all), else ``default``."""
        return getattr(self.limits, name) if self.declares(name) else default

    def declares(self, limit: Literal["psi", "coverage"]) -> bool:
        """Whether the tag says this limit itself, be it null."""
        return self.limits is not None and limit in self.limits.model_fields_set

    @property
    def ages(self) -> bool:
        """Whether values grow older by themselves: days, and numbers of days whose process is kept by band."""
        return self.type == "date" or (self.unit == "days" and self.log_bands is not None)

    @property
    def finite(self) -> tuple[str, ...] | None:
        """The values of a text tag, in declared order; None where they are a column's or the tag is no text."""
        if self.type != "string" or not isinstance(self.values, tuple):
            return None
        return tuple(str(v) for v in self.values)

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Least and greatest number, None where open."""
        if isinstance(self.values, Range):
            return self.values.min, self.values.max
        numbers = [float(v) for v in self.values or () if isinstance(v, int | float)] if self.type in NUMBERS else []
        return (min(numbers), max(numbers)) if numbers and isinstance(self.values, tuple) else (None, None)


class TagFile(Settings):
    """One file: tags, the facts and frozen numbers that they build on, and values that its tags have in common."""

    defaults: dict[str, Any] = Field(default_factory=dict)
    facts: dict[Identifier, Fact] = Field(default_factory=dict)
    breaks: dict[Identifier, Break] = Field(default_factory=dict)
    models: dict[Identifier, Model] = Field(default_factory=dict)
    tags: tuple[Tag, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, content: Any) -> Any:
        """Keys of ``defaults`` are put into every tag that does not say them itself."""
        if not isinstance(content, dict) or not isinstance(content.get("defaults"), dict):
            return content
        common = content["defaults"]
        for name in common:
            if name not in _COMMON:
                raise ValueError(f"defaults: {name!r} cannot be common to tags; {nearest(name, list(_COMMON))}")
        tags = content.get("tags")
        if not isinstance(tags, list):
            return content
        return {**content, "tags": [{**common, **t} if isinstance(t, dict) else t for t in tags]}


_COMMON = (
    "kind",
    "method",
    "sources",
    "owner",
    "refresh",
    "version",
    "empty",
    "type",
    "unit",
    "values",
    "window",
    "on_break",
)


def _is_of(value: Value, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    if isinstance(value, str):
        return kind == "string"
    return kind == "float64" or (isinstance(value, int) and kind in NUMBERS)


def layer_values(tag: Tag) -> tuple[str, ...]:
    """The layers from lowest to highest: the tag's values but the one of users outside ``where``."""
    return tuple(v for v in tag.finite or () if v not in (tag.otherwise, "unknown"))
