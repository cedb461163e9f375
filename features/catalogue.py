"""The tag catalogue: every file of ``tags/`` as one checked dependency graph.

``catalogue_check.build`` refuses what cannot be meant and says file, line, tag and reason for every mistake at once: duplicate
ids, unknown columns and functions, types and units that do not fit, cycles, rules that can never match. What is only
doubtful (a window longer than the data) is a warning (``window_warnings``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from features.expressions import Expression
from features.facts import Fact
from features.sql_parts import Known, Scope
from features.tags import NUMBERS, Break, Model, Tag, TagFile
from schemas.arrow import ARROW
from schemas.configuration import nearest
from schemas.contracts import contract, contracts
from schemas.errors import ConfigurationError, NotThereError
from schemas.measures import MEASURES
from schemas.quarantine import quoted
from schemas.tag_roles import TagRole, no_tag_has

Node = tuple[str, str]
"""A node of the dependency graph: its kind (tag, fact, attribute, break, model) and its name."""

Attributes = dict[str, tuple[str, str | None]]
"""Type and unit of attributes by name."""

RESERVED = ("as_of", "bucket", "uid", "user_id")


def member_attributes() -> Attributes:
    """Type and unit of what is known of a user's state as of a day: member columns without contacts and ids.

    Stamps are given as business days under the name ``..._day``; ``is_member`` tells members from visitors.
    """
    found: Attributes = {
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


def user_tables() -> dict[str, Attributes]:
    """Attributes by the table that holds them (one row per user and day, ``describes_users``), members' aside.

    Every column beyond the key and the partitions is an attribute; users without a row have null.
    """
    return {
        name: {
            column.name: (column.field.type, column.field.unit)
            for column in c.columns
            if column.name not in (*c.key, *c.partitions)
        }
        for name, c in contracts().items()
        if c.describes_users
    }


def user_attributes() -> Attributes:
    """Every attribute that a tag may use: the members' (features/population.py) and those of ``user_tables``."""
    found = member_attributes()
    for table, columns in user_tables().items():
        if taken := sorted(set(columns) & set(found)):
            raise ConfigurationError(f"table {table}: {', '.join(taken)} is an attribute of another table already")
        found |= columns
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
    """A break with its expressions checked; ``of`` is None for an estimate, which comes from activity."""

    spec: Break
    of: Expression | None
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
    def roles(self) -> dict[TagRole, str]:
        """The tags that have a role, by it."""
        return {t.role: n for n, t in self.tags.items() if t.role is not None}

    def of_role(self, role: TagRole) -> str | None:
        """The tag that has a role; None where no tag has it."""
        return self.roles.get(role)

    def tag_of(self, role: TagRole) -> Tag:
        """The tag that has a role; NotThereError says how to give it to one."""
        found = self.of_role(role)
        if found is None:
            raise NotThereError(no_tag_has(role).en)
        return self.tags[found]

    def without(self, roles: Iterable[TagRole]) -> list[TagRole]:
        """Those of the roles that no tag has."""
        return [role for role in roles if role not in self.roles]

    def showing(self, attribute: str) -> str | None:
        """The first tag that is an attribute as it stands; None where no tag is."""
        return next((n for n, t in self.tags.items() if t.attribute == attribute), None)

    @cached_property
    def schemes(self) -> tuple[str, ...]:
        """Segmentations."""
        return tuple(n for n, t in self.tags.items() if t.scheme)

    @cached_property
    def kernel_facts(self) -> tuple[Fact, ...]:
        """Every fact under the id of its column: those of ``facts:`` and one per tag that is a fact itself."""
        return tuple(f.model_copy(update={"id": name}) for name, f in self.facts.items())

    @cached_property
    def estimates(self) -> dict[str, Break]:
        """Breaks that come from curves over activity; they are made before the facts."""
        return {n: b.spec for n, b in self.breaks.items() if b.spec.estimate is not None}

    @cached_property
    def fixed(self) -> dict[str, tuple[float, ...]]:
        """Breaks whose numbers are declared."""
        return {n: b.spec.fixed for n, b in self.breaks.items() if b.spec.fixed is not None}

    @cached_property
    def layerings(self) -> tuple[str, ...]:
        """Tags that are layers of a weighted score."""
        return tuple(n for n, t in self.tags.items() if t.layering is not None)

    @property
    def columns(self) -> pa.Schema:
        """Tag columns of the profile, in declared order."""
        return pa.schema([pa.field(n, ARROW[t.type]) for n, t in self.tags.items()])

    @cached_property
    def rounds(self) -> dict[Node, int]:
        """In which round a break or model can be made, and a tag computed: each frozen number opens the next round.

        Estimates and fixed numbers are there before the first round.
        """
        found: dict[Node, int] = {}
        for node in self.order:
            steps = [found.get(n, 0) + (1 if self._opens_round(n) else 0) for n in self.needs.get(node, ())]
            found[node] = max(steps, default=0)
        return found

    def _opens_round(self, node: Node) -> bool:
        return node[0] == "model" or (node[0] == "break" and node[1] not in {*self.estimates, *self.fixed})

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

    def made_from(self, tags: Iterable[str]) -> set[Node]:
        """The tags themselves and everything that is made from them: tags, frozen numbers, models."""
        found: set[Node] = {("tag", n) for n in tags}
        for node in self.order:
            if found & self.needs.get(node, frozenset()):
                found.add(node)
        return found

    def held_by(self, held: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The held tags that each tag comes from, a held one from itself; tags without any are left out."""
        found: dict[str, tuple[str, ...]] = {}
        for name in sorted(held):
            below = self.made_from([name])
            found |= {n: (*found.get(n, ()), name) for n in self.tags if ("tag", n) in below}
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

    def window_summary(self, observed_days: int) -> list[str]:
        """``window_warnings`` in one line per window, for a run that only has to say that they are there."""
        tags: dict[int, list[str]] = {}
        for n, w in self.windows.items():
            if w is not None and w > observed_days:
                tags.setdefault(w, []).append(n)
        return [
            f"{len(names)} tags look back {w} days, longer than the {observed_days} days of data: "
            + ", ".join(names[:3])
            + (" ... (`huaxiang tag check` lists them)" if len(names) > 3 else "")
            for w, names in sorted(tags.items())
        ]

    @cached_property
    def version(self) -> str:
        """SHA-256 of everything declared; equal catalogues give equal versions."""
        return hashlib.sha256(json.dumps(self.declared, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def declared(self) -> dict[str, dict[str, Any]]:
        """Every declaration as plain data, by kind and name, what is short for something else written out."""
        return {
            "tags": {n: t.model_dump(mode="json", by_alias=True) for n, t in self.tags.items()},
            "facts": {n: f.model_dump(mode="json", by_alias=True) for n, f in self.facts.items()},
            "breaks": {n: b.spec.model_dump(mode="json") for n, b in self.breaks.items()},
            "models": {n: m.spec.model_dump(mode="json") for n, m in self.models.items()},
        }

    def scope(self, tag: str | None = None) -> Scope:
        """Columns that an expression may name; within tag ``gender`` the attribute ``gender`` is meant by its name."""
        if tag is None or (tag not in self.attributes and tag not in self.facts):
            return self._scope
        return scope_of(self.tags, self.facts, self.breaks, self.attributes, tag)

    @cached_property
    def _scope(self) -> Scope:
        return scope_of(self.tags, self.facts, self.breaks, self.attributes, None)


def scope_of(
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
        counted = fact.value_type in NUMBERS
        unit = MEASURES[fact.measure].unit if counted else None
        # sums may be below zero (discounts, cash that went back), counts never are
        least = 0 if fact.agg in ("count", "distinct") else None
        columns[name] = Known(fact.value_type, quoted(f"fact.{name}"), unit, min=least)
    for name, t in tags.items():
        if name != within or name not in columns:
            low, high = t.bounds
            columns[name] = Known(t.type, quoted(name), t.unit, t.finite, low, high)
    specs: dict[str, Break] = {n: b.spec if isinstance(b, CheckedBreak) else b for n, b in breaks.items()}
    units = {n: columns[b.of].unit if b.of in columns else "days" for n, b in specs.items() if b.of in (None, *columns)}
    # an estimate, and what is fixed, is one number or several ascending ones, so it is both
    return Scope(
        columns,
        frozenset(n for n, b in specs.items() if b.statistic is None),
        frozenset(n for n, b in specs.items() if b.quantiles is None),
        {n: unit for n, unit in units.items() if unit},
    )


def observed_days(first_day: dt.date | None, as_of: dt.date) -> int:
    """Business days from the first one with data to ``as_of``, both included; 0 without data."""
    return 0 if first_day is None else max(0, (as_of - first_day).days + 1)
