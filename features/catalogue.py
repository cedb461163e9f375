"""The tag catalogue: every file of ``tags/`` as one checked dependency graph.

``load_catalogue`` refuses what cannot be meant and says file, line, tag and reason for every mistake at once: duplicate
ids, unknown columns and functions, types and units that do not fit, cycles, rules that can never match. What is only
doubtful (a window longer than the data) is a warning (``window_warnings``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from features.expressions import Expression, ExpressionError, Known, Scope, fits, parse, quoted
from features.facts import Fact
from features.reach import never_first
from features.tags import FACT_UNITS, NUMBERS, UNKNOWN, Break, Model, Tag, TagFile, ValuesOf
from schemas.arrow import ARROW
from schemas.configuration import line_of, nearest, read_yaml, validated
from schemas.contracts import contract
from schemas.errors import ConfigurationError, NotThereError

Node = tuple[str, str]
"""A node of the dependency graph: its kind (tag, fact, attribute, break, model) and its name."""

RESERVED = ("as_of", "bucket", "uid", "user_id")


def member_attributes() -> dict[str, tuple[str, str | None]]:
    """Type and unit of what is known of a user's state as of a day: member columns without contacts and ids.

    Stamps are given as business days under the name ``..._day``; ``is_member`` tells members from visitors.
    """
    found: dict[str, tuple[str, str | None]] = {
        "is_member": ("bool", None),
        "person_kind": ("string", None),
        "first_seen_day": ("date", None),
        "has_inviter": ("bool", None),
    }
    for column in contract("silver.members").feed_columns:
        entry = column.field
        if entry.personal in ("identifier", "contact") or column.name in ("source_time", "phone_verified"):
            continue
        if entry.type == "timestamp":
            found[column.name.removesuffix("_at") + "_day"] = ("date", None)
        else:
            found[column.name] = (entry.type, entry.unit)
    return found


@dataclass(frozen=True)
class Place:
    """Where something is declared."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class TagSource:
    """One validated file with the line of every key in it."""

    path: str
    file: TagFile
    line: Callable[[tuple[Any, ...]], int]

    def place(self, *location: Any) -> Place:
        return Place(self.path, self.line(location))


@dataclass(frozen=True)
class CheckedBreak:
    """A break with its expressions checked; ``round`` says which breaks must be known before (lower rounds)."""

    spec: Break
    of: Expression
    where: Expression | None


@dataclass(frozen=True)
class CheckedModel:
    """A model with its expressions checked."""

    spec: Model
    inputs: tuple[Expression, ...]
    where: Expression


@dataclass(frozen=True)
class Catalogue:
    """Checked tags in declared order, what they build on, and the order in which they can be computed."""

    tags: dict[str, Tag]
    facts: dict[str, Fact]
    breaks: dict[str, CheckedBreak]
    models: dict[str, CheckedModel]
    expressions: dict[str, tuple[Expression, ...]]
    attributes: dict[str, tuple[str, str | None]]
    needs: dict[Node, frozenset[Node]]
    order: tuple[Node, ...]
    places: dict[Node, Place] = field(repr=False)

    def tag(self, name: str) -> Tag:
        """NotThereError names the nearest tag."""
        try:
            return self.tags[name]
        except KeyError:
            raise NotThereError(f"no tag {name!r}; {nearest(name, sorted(self.tags))}") from None

    @cached_property
    def dynamic(self) -> tuple[str, ...]:
        """Tags whose process is kept."""
        return tuple(n for n, t in self.tags.items() if t.kind == "dynamic")

    @cached_property
    def schemes(self) -> tuple[str, ...]:
        """Segmentations."""
        return tuple(n for n, t in self.tags.items() if t.scheme)

    @cached_property
    def kernel_facts(self) -> tuple[Fact, ...]:
        """Every fact under the id of its column: those of ``facts:`` and one per tag that is a fact itself."""
        return tuple(f.model_copy(update={"id": name}) for name, f in self.facts.items())

    @property
    def columns(self) -> pa.Schema:
        """Tag columns of the profile, in declared order."""
        return pa.schema([pa.field(n, ARROW[t.type]) for n, t in self.tags.items()])

    @cached_property
    def rounds(self) -> dict[Node, int]:
        """In which round a break or model can be made, and a tag computed: each frozen number opens the next round."""
        found: dict[Node, int] = {}
        for node in self.order:
            steps = [found.get(n, 0) + (1 if n[0] in ("break", "model") else 0) for n in self.needs.get(node, ())]
            found[node] = max(steps, default=0)
        return found

    @cached_property
    def windows(self) -> dict[str, int | None]:
        """Longest window of days that each tag looks back on, through all that it builds on; None without any."""
        found: dict[Node, int | None] = {}
        for node in self.order:
            below = [found.get(n) for n in self.needs.get(node, ())]
            own = self.facts[node[1]].window if node[0] == "fact" else None
            found[node] = max((w for w in [own, *below] if w is not None), default=None)
        return {n: found[("tag", n)] for n in self.tags}

    def closure(self, nodes: Iterable[Node]) -> set[Node]:
        """The nodes and everything that they build on."""
        found: set[Node] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(self.needs.get(node, ()))
        return found

    def users_of(self, name: str) -> list[str]:
        """Tags that build on a tag, directly or not, in declared order."""
        return [n for n in self.tags if n != name and ("tag", name) in self.closure([("tag", n)])]

    def window_warnings(self, observed_days: int) -> list[str]:
        """Tags whose window is longer than the days that have been observed."""
        return [
            f"{self.places[('tag', n)]}: tag {n!r}: its window of {w} days is longer than the {observed_days} days of data"
            for n, w in self.windows.items()
            if w is not None and w > observed_days
        ]

    @cached_property
    def version(self) -> str:
        """SHA-256 of everything declared; equal catalogues give equal versions."""
        said = {
            "tags": [t.model_dump(mode="json", by_alias=True) for t in self.tags.values()],
            "facts": {n: f.model_dump(mode="json", by_alias=True) for n, f in self.facts.items()},
            "breaks": {n: b.spec.model_dump(mode="json") for n, b in self.breaks.items()},
            "models": {n: m.spec.model_dump(mode="json") for n, m in self.models.items()},
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def scope(self, tag: str | None = None) -> Scope:
        """Columns that an expression may name; within tag ``gender`` the attribute ``gender`` is meant by its name."""
        if tag is None or (tag not in self.attributes and tag not in self.facts):
            return self._scope
        return _scope(self.tags, self.facts, self.breaks, self.attributes, tag)

    @cached_property
    def _scope(self) -> Scope:
        return _scope(self.tags, self.facts, self.breaks, self.attributes, None)


def load_catalogue(paths: Sequence[Path]) -> Catalogue:
    """The catalogue of these files; ConfigurationError lists every mistake with file, line, tag and reason."""
    sources, mistakes = [], []
    for path in paths:
        try:
            content, node = read_yaml(path)
            sources.append(TagSource(str(path), validated(TagFile, content, node, path), _lines(node)))
        except ConfigurationError as e:
            mistakes.append(_with_tag_names(str(e), path))
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return build(sources)


def _lines(node: yaml.Node) -> Callable[[tuple[Any, ...]], int]:
    return lambda location: line_of(node, location)


def _with_tag_names(message: str, path: Path) -> str:
    """``tags.3.unit`` says little to who reads the file: the tag's id is put in its place."""
    try:
        content, _ = read_yaml(path)
    except ConfigurationError:
        return message
    tags = content.get("tags") if isinstance(content, dict) else None
    lines = []
    for line in message.splitlines():
        for i, t in reversed(list(enumerate(tags if isinstance(tags, list) else []))):
            name = t.get("id") if isinstance(t, dict) else None
            if name and f"tags.{i}" in line:
                line = line.replace(f"'tags.{i}.", f"tag {name!r}: '", 1).replace(f"tags.{i}.", f"tag {name!r}: ", 1)
                line = line.replace(f"tags.{i}:", f"tag {name!r}:", 1)
                break
        lines.append(line)
    return "\n".join(lines)


def build(sources: Sequence[TagSource], attributes: Mapping[str, tuple[str, str | None]] | None = None) -> Catalogue:
    """The catalogue of validated files; ConfigurationError lists every mistake."""
    return _Builder(sources, dict(attributes or member_attributes())).built()


_WORDS = {arrow: name for name, arrow in ARROW.items()}


def fact_type(fact: Fact) -> str:
    """The fact's type in words of the dictionary."""
    return _WORDS[fact.arrow_type]


def _scope(
    tags: Mapping[str, Tag],
    facts: Mapping[str, Fact],
    breaks: Mapping[str, Any],
    attributes: Mapping[str, tuple[str, str | None]],
    within: str | None,
) -> Scope:
    columns = {"as_of": Known("date", quoted("as_of"))}
    for name, (kind, unit) in attributes.items():
        columns[name] = Known(kind, quoted(f"attribute.{name}"), unit)
    for name, fact in facts.items():
        counted = fact_type(fact) in NUMBERS
        unit = FACT_UNITS.get(fact.measure) if counted else None
        columns[name] = Known(fact_type(fact), quoted(f"fact.{name}"), unit, min=fact.absent)
    for name, t in tags.items():
        if name != within or name not in columns:
            low, high = t.bounds
            columns[name] = Known(t.type, quoted(name), t.unit, t.finite, low, high)
    kinds = {n: (b.spec if isinstance(b, CheckedBreak) else b).quantiles is not None for n, b in breaks.items()}
    return Scope(
        columns, frozenset(n for n, many in kinds.items() if many), frozenset(n for n, many in kinds.items() if not many)
    )


class _Builder:
    """Collects declarations, then checks them against each other; mistakes are gathered, not raised one by one."""

    def __init__(self, sources: Sequence[TagSource], attributes: dict[str, tuple[str, str | None]]):
        self.sources = sources
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
        needs: dict[Node, set[Node]] = {("fact", n): set() for n in self.facts}
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
                self.breaks.setdefault(name, spec)
            for name, model in source.file.models.items():
                self._add("model", name, source.place("models", name))
                self.models.setdefault(name, model)
        for source in self.sources:
            for i, tag in enumerate(source.file.tags):
                place = source.place("tags", i)
                if ("tag", tag.id) in self.places:
                    self._mistake(place, f"tag {tag.id!r}", f"id is taken by the tag at {self.places[('tag', tag.id)]}")
                    continue
                if tag.id in self.facts:
                    self._mistake(place, f"tag {tag.id!r}", f"id is taken by the fact at {self.places[('fact', tag.id)]}")
                    continue
                if tag.id in RESERVED or (tag.id == "is_member"):
                    self._mistake(place, f"tag {tag.id!r}", "id is a fixed column of the profile; choose another")
                    continue
                self.places[("tag", tag.id)] = place
                self.positions[tag.id] = (source, i)
                self.tags[tag.id] = tag
        for name, tag in self.tags.items():
            if tag.fact is not None:
                self.facts[name] = tag.fact
                self.places[("fact", name)] = self.places[("tag", name)]

    def _add(self, kind: str, name: str, place: Place) -> None:
        node = (kind, name)
        if node in self.places:
            self._mistake(place, f"{kind} {name!r}", f"name is taken by the {kind} at {self.places[node]}")
        elif kind == "fact" and (name in self.attributes or name in RESERVED):
            self._mistake(place, f"fact {name!r}", "name is that of a user's attribute; choose another")
        self.places.setdefault(node, place)

    # --- one entry ---

    def _check_tag(self, name: str, tag: Tag) -> tuple[tuple[Expression, ...], set[Node]]:
        if tag.fact is not None:
            self._fits(self._at(name, "fact"), name, fact_type(tag.fact), tag)
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
        of = self._parsed(place, subject, spec.of, scope)
        where = None if spec.where is None else self._parsed(place, subject, spec.where, scope)
        needs[("break", name)] = set()
        if of is None or (spec.where is not None and where is None):
            return None
        if of.type not in NUMBERS:
            self._mistake(place, subject, f"'of' gives {of.type}; a number is expected")
        if where is not None and where.type != "bool":
            self._mistake(place, subject, f"'where' gives {where.type}; a condition is expected")
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
        return _scope(self.tags, self.facts, self.breaks, self.attributes, within)

    @cached_property
    def _whole_scope(self) -> Scope:
        """Made when everything is declared, and the same for all."""
        return _scope(self.tags, self.facts, self.breaks, self.attributes, None)

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


def observed_days(first_day: dt.date | None, as_of: dt.date) -> int:
    """Business days from the first one with data to ``as_of``, both included; 0 without data."""
    return 0 if first_day is None else max(0, (as_of - first_day).days + 1)
