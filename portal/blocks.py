"""Conditions of a draft as blocks of the page: fields, counts and mistakes of each at its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audiences.builder import tree
from audiences.builder.fields import Form
from audiences.builder.written import definition_text
from audiences.compiler import fixed_attributes
from audiences.operands import Attribute
from audiences.tally import FunnelStep
from project.attributes import attributes
from project.folder import Project
from queries.audience_draft import DraftCounts, Mistaken
from queries.preview import ReleaseColumns
from schemas.contracts import Type

MOST_VALUES = 40
"""Values of a tag that are offered as boxes; of more one types."""
MOST_OFFERED = 200


@dataclass(frozen=True)
class OfferedValue:
    """A value that may be chosen, what it is called, and how many people have it."""

    value: str
    label: str
    users: int | None


@dataclass(frozen=True)
class ConditionBlock:
    """A condition. ``fields`` are absent for groups and for what only text can show (``text``).

    ``seen`` is what the condition is known by: a change of one that was changed elsewhere meanwhile is refused.
    """

    place: str
    kind: str
    seen: str
    fields: Mapping[str, list[str]] | None
    text: str
    is_off: bool
    below: tuple[ConditionBlock, ...]
    step: FunnelStep | None
    mistakes: tuple[Mistaken, ...]
    type: Type
    is_money: bool
    offered: tuple[OfferedValue, ...]
    is_first: bool
    is_last: bool
    is_in_list: bool

    @property
    def id(self) -> str:
        return self.place.replace(".", "-")

    def one(self, name: str) -> str:
        """The text of a field."""
        return next(iter((self.fields or {}).get(name, ())), "")

    def all(self, name: str) -> list[str]:
        return list((self.fields or {}).get(name, ()))

    @property
    def comparisons(self) -> list[tuple[int, str, list[str]]]:
        """What the condition compares with: number, operator, texts; one that is still open comes last."""
        found = []
        for i in range(len(self.fields or {})):
            if f"op.{i}" in (self.fields or {}):
                found.append((i, self.one(f"op.{i}"), self.all(f"value.{i}")))
        return [*found, (len(found), "", [])]


def form_of(project: Project) -> Form:
    """What texts of forms mean in the project."""
    return Form({**fixed_attributes(), **attributes(project.catalogue)}, project.currency)


def seen(condition: Any) -> str:
    """What a condition is known by."""
    return hashlib.sha256(json.dumps(condition, sort_keys=True, default=str).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Blocks:
    """Makes the blocks of one draft."""

    form: Form
    columns: ReleaseColumns | None
    counts: DraftCounts | None
    mistakes: Sequence[Mistaken]
    lang: str

    def of(self, content: Mapping[str, Any], block: str) -> ConditionBlock | None:
        """The block of ``include`` or ``exclude``; None where the draft has none."""
        condition = content.get(block)
        return None if condition is None else self._made(condition, (block,), True, True)

    def _made(self, condition: Any, place: tree.Place, is_first: bool, is_last: bool) -> ConditionBlock:
        kind, dotted = tree.condition_kind(condition), tree.dotted_place(place)
        inner = list(tree.conditions_in(condition, place))
        fields = None if not kind else self.form.fields_of(condition)
        type_, unit = self.form.typed(condition) if fields is not None else ("string", None)
        deeper = [tree.dotted_place(p) for p, _ in inner]
        return ConditionBlock(
            place=dotted,
            kind=kind,
            seen=seen(condition),
            fields=fields,
            text=definition_text(condition) if fields is None and not inner else "",
            is_off=isinstance(condition, Mapping) and condition.get("disabled") is True,
            below=tuple(self._made(part, where, i == 0, i == len(inner) - 1) for i, (where, part) in enumerate(inner)),
            step=None if self.counts is None else self.counts.steps.get(dotted),
            mistakes=tuple(
                m for m in self.mistakes if _is_at(m.place, dotted) and not any(_is_at(m.place, one) for one in deeper)
            ),
            type=type_,
            is_money=unit == "minor",
            offered=self._offered(condition, kind),
            is_first=is_first,
            is_last=is_last,
            is_in_list=isinstance(place[-1], int),
        )

    def _offered(self, condition: Any, kind: str) -> tuple[OfferedValue, ...]:
        if kind not in ("tag", "changed"):
            return ()
        tag = self.form.tags.get(str(condition["tag"] if kind == "tag" else (condition["changed"] or {}).get("tag")))
        if tag is None:
            return ()
        known = tag.bands if kind == "changed" and tag.bands else tag.values
        if tag.type not in ("string", "bool") or tag.id in ("user_id",):
            return tuple(OfferedValue(v, v, None) for v in known)
        try:
            counted = self.columns.value_counts(tag.id, tag.type, MOST_OFFERED) if self.columns is not None else ()
        except LookupError:
            counted = ()
        users = dict(counted)
        names = dict.fromkeys([*known, *users]) if known else dict.fromkeys(users)
        return tuple(OfferedValue(v, self._label(tag, v), users.get(v, 0 if users else None)) for v in names)

    def _label(self, tag: Attribute, value: str) -> str:
        words = tag.labels.get(value)
        if words is None and tag.type == "bool":
            return {"true": ("是", "yes"), "false": ("否", "no")}[value][self.lang == "en"]
        return value if words is None else words.zh if self.lang == "zh" else words.en


def _is_at(place: str, block: str) -> bool:
    return place == block or place.startswith(f"{block}.")
