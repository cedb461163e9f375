"""Declarations of all tag files checked against each other: what ``load_catalogue`` refuses, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from features.catalogue import (
    RESERVED,
    Catalogue,
    CheckedBreak,
    CheckedModel,
    Node,
    Place,
    TagSource,
    scope_of,
    user_attributes,
)
from features.expansion import expanded
from features.expressions import Expression, parse
from features.facts import Fact
from features.money_marks import in_minor_units, spoken
from features.reach import never_first
from features.sql_parts import ExpressionError, Scope, fits
from features.tags import NUMBERS, UNKNOWN, Break, Model, Tag, ValuesOf
from schemas.configuration import nearest
from schemas.contracts import contract
from schemas.errors import ConfigurationError, NotThereError
from schemas.money import DEFAULT_CURRENCY
from schemas.tag_roles import TagRole

_FROM_BREAKS = ("min_gap_of", "counts_of")
"""Options of a fact that name a break."""


def checked_catalogue(
    sources: Sequence[TagSource],
    attributes: Mapping[str, tuple[str, str | None]] | None = None,
    currency: str = DEFAULT_CURRENCY,
) -> Catalogue:
    """The catalogue of validated files, money in minor units of the lake's currency; ConfigurationError lists every mistake."""
    return _Builder(sources, dict(attributes or user_attributes()), currency).built()


class _Builder:
    """Collects declarations, then checks them against each other; mistakes are gathered, not raised one by one."""

    def __init__(self, sources: Sequence[TagSource], attributes: dict[str, tuple[str, str | None]], currency: str):
        self.sources = sources
        self.currency = currency
        self.attributes = attributes
        self.tags: dict[str, Tag] = {}
        self.facts: dict[str, Fact] = {}
        self.breaks: dict[str, Break] = {}
        self.models: dict[str, Model] = {}
        self.places: dict[Node, Place] = {}
        self.positions: dict[str, tuple[TagSource, int]] = {}
        self.mistakes: list[str] = []

    def built(self) -> Catalogue:
        self._declare()
        expressions: dict[str, tuple[Expression, ...]] = {}
        needs: dict[Node, set[Node]] = {("fact", n): self._check_fact(n, f) for n, f in self.facts.items()}
        for name, tag in self.tags.items():
            expressions[name], needs[("tag", name)] = self._check_tag(name, tag)
        breaks, models = {}, {}
        for name, spec in self.breaks.items():
            breaks[name] = self._check_break(name, spec, needs)
        for name, model in self.models.items():
            models[name] = self._check_model(name, model, needs)
        order = self._ordered(needs)
        if self.mistakes:
            raise ConfigurationError("\n".join(self.mistakes))
        return Catalogue(
            tags=self.tags,
            facts=self.facts,
            breaks={n: b for n, b in breaks.items() if b is not None},
            models={n: m for n, m in models.items() if m is not None},
            expressions=expressions,
            attributes=self.attributes,
            needs={n: frozenset(d) for n, d in needs.items()},
            order=order,
            places=self.places,
        )

    def _mistake(self, place: Place, subject: str, reason: str) -> None:
        self.mistakes.append(f"{place}: {subject}: {reason}")

    def _declare(self) -> None:
        for source in self.sources:
            for name, fact in source.file.facts.items():
                self._add("fact", name, source.place("facts", name))
                self.facts.setdefault(name, fact)
            for name, spec in source.file.breaks.items():
                self._add("break", name, source.place("breaks", name))
                self.breaks.setdefault(name, self._priced(name, spec))
            for name, model in source.file.models.items():
                self._add("model", name, source.place("models", name))
                self.models.setdefault(name, model)
        for source in self.sources:
            for i, tag in enumerate(source.file.tags):
                if tag.layering is None:
                    self._add_tag(source, i, tag)
                    continue
                written_out = expanded(tag)
                for name, spec in written_out.breaks.items():
                    self._add("break", name, source.place("tags", i, "layering"))
                    self.breaks.setdefault(name, spec)
                self._add_tag(source, i, written_out.score)
                self._add_tag(source, i, written_out.layers)
        self._check_roles()
        for name, tag in self.tags.items():
            if tag.fact is not None:
                self.facts[name] = tag.fact
                self.places[("fact", name)] = self.places[("tag", name)]

    def _check_roles(self) -> None:
        first: dict[TagRole, str] = {}
        for name, tag in self.tags.items():
            if tag.role is not None and (taken := first.setdefault(tag.role, name)) != name:
                there = f"has tag {taken!r} at {self._at(taken, 'role')}; one tag has a role"
                self._mistake(self._at(name, "role"), f"tag {name!r}", f"role {tag.role} {there}")

    def _priced(self, name: str, spec: Break) -> Break:
        try:
            return in_minor_units(spec, self.currency)
        except ValueError as e:
            self._mistake(self.places[("break", name)], f"break {name!r}", str(e))
            return spec

    def _add_tag(self, source: TagSource, i: int, tag: Tag) -> None:
        place, subject = source.place("tags", i), f"tag {tag.id!r}"
        try:
            tag = spoken(tag, self.breaks, self.currency)
        except ValueError as e:
            self._mistake(place, subject, str(e))
        if ("tag", tag.id) in self.places:
            self._mistake(place, subject, f"id is taken by the tag at {self.places[('tag', tag.id)]}")
        elif tag.id in self.facts:
            self._mistake(place, subject, f"id is taken by the fact at {self.places[('fact', tag.id)]}")
        elif tag.id in RESERVED or tag.id == "is_member":
            self._mistake(place, subject, "id is a fixed column of the profile; choose another")
        else:
            self.places[("tag", tag.id)] = place
            self.positions[tag.id] = (source, i)
            self.tags[tag.id] = tag

    def _add(self, kind: str, name: str, place: Place) -> None:
        node = (kind, name)
        if node in self.places:
            self._mistake(place, f"{kind} {name!r}", f"name is taken by the {kind} at {self.places[node]}")
        elif kind == "fact" and (name in self.attributes or name in RESERVED):
            self._mistake(place, f"fact {name!r}", "name is that of a user's attribute; choose another")
        self.places.setdefault(node, place)

    # --- one entry ---

    def _check_fact(self, name: str, fact: Fact) -> set[Node]:
        """A fact that waits for frozen numbers (the silence that makes a return) needs some that are there before facts."""
        found: set[Node] = set()
        for key in _FROM_BREAKS:
            wanted = getattr(fact, key, None)
            if wanted is None:
                continue
            place, subject = self.places[("fact", name)], f"fact {name!r}"
            if wanted not in self.breaks:
                known = [n for n, b in self.breaks.items() if b.estimate is not None]
                self._mistake(place, subject, f"{key}: unknown break {wanted!r}; {nearest(wanted, known)}")
            elif self.breaks[wanted].estimate is None and self.breaks[wanted].fixed is None:
                reason = "is made from facts, which would go round in a circle; name a break with an 'estimate'"
                self._mistake(place, subject, f"{key}: break {wanted!r} {reason}")
            else:
                found.add(("break", wanted))
        return found

    def _check_tag(self, name: str, tag: Tag) -> tuple[tuple[Expression, ...], set[Node]]:
        if tag.fact is not None:
            self._fits(self._at(name, "fact"), name, tag.fact.value_type, tag)
            return (), {("fact", name)}
        if tag.attribute is not None:
            return (), self._check_attribute(name, tag, tag.attribute)
        if tag.model is not None:
            return (), self._check_model_tag(name, tag, tag.model)
        scope = self._scope(name)
        if tag.expression is not None:
            place = self._at(name, "expression")
            expression = self._parsed(place, f"tag {name!r}", tag.expression, scope)
            if expression is None:
                return (), set()
            self._fits(place, name, expression.type, tag)
            if tag.unit and expression.unit and tag.unit != expression.unit:
                self._mistake(
                    place, f"tag {name!r}", f"unit mismatch: {tag.unit!r} is declared, it gives {expression.unit!r}"
                )
            return (expression,), self._nodes(expression, name)
        return self._check_rules(name, tag, scope)

    def _check_attribute(self, name: str, tag: Tag, attribute: str) -> set[Node]:
        place = self._at(name, "attribute")
        if attribute not in self.attributes:
            reason = f"unknown attribute {attribute!r}; {nearest(attribute, sorted(self.attributes))}"
            self._mistake(place, f"tag {name!r}", reason)
            return set()
        kind, unit = self.attributes[attribute]
        self._fits(place, name, kind, tag)
        if unit and tag.unit != unit:
            self._mistake(place, f"tag {name!r}", f"unit mismatch: {tag.unit!r} is declared, it gives {unit!r}")
        return {("attribute", attribute)}

    def _check_model_tag(self, name: str, tag: Tag, model: str) -> set[Node]:
        place = self._at(name, "model")
        if model not in self.models:
            self._mistake(place, f"tag {name!r}", f"unknown model {model!r}; {nearest(model, sorted(self.models))}")
            return set()
        labels = [f"cluster_{i}" for i in range(1, self.models[model].k[1] + 1)]
        missing = [v for v in [*labels, UNKNOWN] if v not in (tag.finite or ())]
        if missing:
            self._mistake(place, f"tag {name!r}", f"values lack {', '.join(missing)}, which the model can give")
        if tag.otherwise is None:
            self._mistake(place, f"tag {name!r}", "model without 'else': name the value of users outside its 'where'")
        return {("model", model)}

    def _check_rules(self, name: str, tag: Tag, scope: Scope) -> tuple[tuple[Expression, ...], set[Node]]:
        found: list[Expression] = []
        nodes: set[Node] = set()
        for i, rule in enumerate(tag.rules or ()):
            place = self._at(name, "rules", i)
            expression = self._parsed(place, f"tag {name!r}: rule {i + 1}", rule.when, scope)
            if expression is None:
                continue
            if expression.type not in ("bool", "null"):
                self._mistake(place, f"tag {name!r}: rule {i + 1}", f"gives {expression.type}; a condition is expected")
                continue
            found.append(expression)
            nodes |= self._nodes(expression, name)
        if len(found) == len(tag.rules or ()):
            for i, reason in sorted(never_first([e.tree for e in found], scope).items()):
                self._mistake(
                    self._at(name, "rules", i), f"tag {name!r}: rule {i + 1} can never match ({found[i].text})", reason
                )
        return tuple(found), nodes

    def _check_break(self, name: str, spec: Break, needs: dict[Node, set[Node]]) -> CheckedBreak | None:
        place, subject, scope = self.places[("break", name)], f"break {name!r}", self._scope(None)
        if spec.of is None:
            needs[("break", name)] = set()
            return CheckedBreak(spec, None, None)
        of = self._parsed(place, subject, spec.of, scope)
        where = None if spec.where is None else self._parsed(place, subject, spec.where, scope)
        needs[("break", name)] = set()
        if of is None or (spec.where is not None and where is None):
            return None
        if of.type not in NUMBERS:
            self._mistake(place, subject, f"'of' gives {of.type}; a number is expected")
        if where is not None and where.type != "bool":
            self._mistake(place, subject, f"'where' gives {where.type}; a condition is expected")
        if spec.currency is not None and of.unit != "minor":
            self._mistake(place, subject, f"'currency' says that it is money, but 'of' gives {of.unit or 'no unit'}")
        if spec.fixed is not None:
            # its numbers wait for nothing; ``of`` says what they are numbers of
            return CheckedBreak(spec, of, None)
        needs[("break", name)] = self._nodes(of, None) | (set() if where is None else self._nodes(where, None))
        return CheckedBreak(spec, of, where)

    def _check_model(self, name: str, spec: Model, needs: dict[Node, set[Node]]) -> CheckedModel | None:
        place, subject, scope = self.places[("model", name)], f"model {name!r}", self._scope(None)
        inputs = [self._parsed(place, subject, text, scope) for text in spec.inputs]
        where = self._parsed(place, subject, spec.where, scope)
        needs[("model", name)] = set()
        if where is None or any(i is None for i in inputs):
            return None
        checked = tuple(i for i in inputs if i is not None)
        for i in checked:
            if i.type not in NUMBERS:
                self._mistake(place, subject, f"input {i.text!r} gives {i.type}; a number is expected")
        if where.type != "bool":
            self._mistake(place, subject, f"'where' gives {where.type}; a condition is expected")
        for e in (*checked, where):
            needs[("model", name)] |= self._nodes(e, None)
        return CheckedModel(spec, checked, where)

    # --- shared ---

    def _scope(self, within: str | None) -> Scope:
        if within is None or (within not in self.attributes and within not in self.facts):
            return self._whole_scope
        return scope_of(self.tags, self.facts, self.breaks, self.attributes, within)

    @cached_property
    def _whole_scope(self) -> Scope:
        """Made when everything is declared, and the same for all."""
        return scope_of(self.tags, self.facts, self.breaks, self.attributes, None)

    def _at(self, name: str, *location: Any) -> Place:
        source, i = self.positions[name]
        return source.place("tags", i, *location)

    def _parsed(self, place: Place, subject: str, text: str, scope: Scope) -> Expression | None:
        try:
            return parse(text, scope)
        except ExpressionError as e:
            self._mistake(place, subject, str(e))
            return None

    def _fits(self, place: Place, name: str, given: str, tag: Tag) -> None:
        if not fits(given, tag.type):
            hint = "; use round(), floor() or ceil()" if given == "float64" and tag.type in NUMBERS else ""
            self._mistake(place, f"tag {name!r}", f"type {tag.type} is declared, it gives {given}{hint}")
        if isinstance(tag.values, ValuesOf):
            table, column = tag.values.column.split(".")
            try:
                contract(f"silver.{table}").column(column)
            except NotThereError as e:
                self._mistake(place, f"tag {name!r}", f"values from {tag.values.column!r}: {e}")

    def _nodes(self, expression: Expression, within: str | None) -> set[Node]:
        found: set[Node] = {("break", n) for n in expression.frozen}
        for column in expression.columns:
            own = column == within
            if column in self.tags and not (own and (column in self.attributes or column in self.facts)):
                found.add(("tag", column))
            elif column in self.facts:
                found.add(("fact", column))
            elif column in self.attributes:
                found.add(("attribute", column))
        return found

    def _ordered(self, needs: dict[Node, set[Node]]) -> tuple[Node, ...]:
        try:
            # sorted, so that the order is the same whatever the order of sets
            sorter = TopologicalSorter({n: sorted(needs[n]) for n in sorted(needs)})
            return tuple(sorter.static_order())
        except CycleError as e:
            circle = self._from_first(list(reversed(e.args[1]))[:-1])
            names = " -> ".join(f"{kind} {name}" if kind != "tag" else name for kind, name in circle)
            first = circle[0]
            self._mistake(self.places[first], f"{first[0]} {first[1]!r}", f"depends on itself: {names}")
            return ()

    def _from_first(self, circle: list[Node]) -> list[Node]:
        """The circle from the node that is declared first, and back to it."""
        start = min(range(len(circle)), key=lambda i: (self.places[circle[i]].path, self.places[circle[i]].line))
        return [*circle[start:], *circle[:start], circle[start]]
