"""From a definition and the catalogue to a plan; every mistake is reported with its line, all at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from audiences import listings
from audiences.conditions import (
    AlertCondition,
    AllConditions,
    AnyConditions,
    AudienceCondition,
    ChangedCondition,
    Condition,
    EventCondition,
    EventKind,
    EventRows,
    IdsCondition,
    NotCondition,
    SampleCondition,
    SequenceCondition,
    Succession,
    TagCondition,
    TopCondition,
    TreeCondition,
    UsersCondition,
    counts,
)
from audiences.language import Audience, contact_fields, definition_hash
from audiences.operands import Attribute, MistakeError, tests_of
from audiences.plan import (
    AllOf,
    AnyOf,
    Leaf,
    ListedBefore,
    Listing,
    Member,
    Node,
    Not,
    Plan,
    PlannedSequence,
    Test,
    alert_column,
)
from audiences.wording import compared, measured, negated, succession
from schemas.alerts import ALERTS
from schemas.behaviours import CARRIES_MONEY
from schemas.configuration import Words, nearest
from schemas.contracts import fields
from schemas.errors import ConfigurationError
from schemas.measures import COMPARED, MEASURES, mistake, value_type

MOST_CONDITIONS, MOST_DEEP = 5_000, 64
"""What a plan may have: a definition of a few lines can name audiences that name others, each twice."""


def fixed_attributes() -> dict[str, Attribute]:
    """Columns that every profile has beside the catalogue's tags and that a condition or an export may name."""
    found = {}
    for name in ("is_member", "user_id", "uid", "as_of"):
        entry = fields()[name]
        words = Words(zh=entry.zh, en=entry.en)
        found[name] = Attribute(name, entry.type, words, words)
    return found


@dataclass
class _Compiler:
    catalogue: Mapping[str, Attribute]
    audiences: Mapping[str, Audience]
    currency: str
    problems: list[str] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    sequences: dict[str, PlannedSequence] = field(default_factory=dict)
    listings: dict[str, Listing] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    nodes: int = 0
    depth: int = 0

    def next_number(self) -> int:
        self.nodes += 1
        if self.nodes > MOST_CONDITIONS:
            raise ConfigurationError(
                f"{self.audiences[self.path[0]].path}: more than {MOST_CONDITIONS:,} conditions, those of the audiences "
                "that it names among them; name fewer, or list users in a file (ids)"
            )
        return self.nodes

    def need(self, column: str) -> str:
        if column not in self.columns:
            self.columns.append(column)
        return column

    def placed(self, place: tuple[Any, ...]) -> str:
        """Where a condition stands; within a referenced audience its id goes before."""
        return _dotted(place) if len(self.path) == 1 else f"{self.path[-1]}: {_dotted(place)}"

    def member(self, audience: Audience, place: str) -> Member:
        self.path.append(audience.id)
        number = self.next_number()
        d = audience.definition
        if not counts(d.include):
            said = "every condition of it is switched off (disabled: true), which would mean everybody; switch one on"
            self.problems.append(f"{audience.at(('include',))}: include: {said}")
        include = self.node(audience, d.include, ("include",))
        exclude = None if d.exclude is None or not counts(d.exclude) else self.node(audience, d.exclude, ("exclude",))
        self.path.pop()
        return Member(
            number=number,
            place=place,
            text=Words(zh=f"人群 {d.name.zh}", en=f"audience {d.name.en}"),
            audience=audience.id,
            include=include,
            exclude=exclude,
        )

    def node(self, audience: Audience, condition: Condition, place: tuple[Any, ...]) -> Node:
        self.depth += 1
        try:
            if self.depth > MOST_DEEP:
                said = "those of the audiences that it names among them"
                raise MistakeError(f"conditions are nested more than {MOST_DEEP} deep, {said}")
            return self._node(audience, condition, place)
        except MistakeError as e:
            where = (*place, *e.key)
            self.problems.append(f"{audience.at(where)}: {_dotted(where)}: {e}")
            return _placeholder(place)
        finally:
            self.depth -= 1

    def _node(self, audience: Audience, condition: Condition, place: tuple[Any, ...]) -> Node:
        if isinstance(condition, AudienceCondition) and condition.as_of is None:
            return self.reference(audience, condition, place)
        common: dict[str, Any] = {"number": self.next_number(), "place": self.placed(place)}
        if isinstance(condition, AllConditions):
            below = tuple(self.node(audience, c, (*place, "all", i)) for i, c in enumerate(condition.all) if counts(c))
            return AllOf(**common, text=Words(zh="全部满足", en="all of these"), parts=below)
        if isinstance(condition, AnyConditions):
            below = tuple(self.node(audience, c, (*place, "any", i)) for i, c in enumerate(condition.any) if counts(c))
            return AnyOf(**common, text=Words(zh="满足任一", en="any of these"), parts=below)
        if isinstance(condition, NotCondition):
            part = self.node(audience, condition.not_, (*place, "not"))
            return Not(**common, text=Words(zh="不满足", en="not"), part=part)
        if isinstance(condition, UsersCondition):
            return self.users(condition, common)
        if isinstance(condition, AlertCondition):
            return self.alert(condition, common)
        if isinstance(condition, TagCondition):
            return self.tag(condition, common)
        if isinstance(condition, EventCondition):
            return self.event(condition, common)
        if isinstance(condition, SequenceCondition):
            return self.sequence(condition.sequence, common)
        return self.listed(*self._listing(audience, condition, place), common)

    def _listing(self, audience: Audience, condition: Condition, place: tuple[Any, ...]) -> tuple[Listing, Words]:
        """Whom a condition is true of that needs more than a person's own row."""
        if isinstance(condition, ChangedCondition):
            tag = listings.attribute_named(condition.changed.tag, self.catalogue, "changed", "tag")
            return listings.change_of(condition.changed, tag)
        if isinstance(condition, IdsCondition):
            return listings.ids_of_list(condition.ids, audience)
        if isinstance(condition, TreeCondition):
            return listings.below_of(condition.share_tree)
        if isinstance(condition, TopCondition):
            for key in ("by", "within"):
                if (name := getattr(condition.top, key)) is not None:
                    listings.attribute_named(name, self.catalogue, "top", key)
            among = self.among(audience, condition.top.among, (*place, "top", "among"))
            return listings.top_of(condition.top, self.catalogue, among)
        if isinstance(condition, SampleCondition):
            among = self.among(audience, condition.sample.among, (*place, "sample", "among"))
            return listings.sample_of(condition.sample, among)
        assert isinstance(condition, AudienceCondition) and condition.as_of is not None
        name, day = self._known_audience(condition.audience), condition.as_of
        called = self.audiences[name].definition.name
        words = Words(zh=f"{day} 在人群 {called.zh} 中", en=f"was in audience {called.en} on {day}")
        return ListedBefore(audience=name, as_of=day), words

    def sequence(self, sequence: Succession, common: dict[str, Any]) -> Leaf:
        second = sequence.then or sequence.without
        assert second is not None
        planned = PlannedSequence(
            first=_fact(sequence.first, "rows", "count"),
            second=_fact(second, "rows", "count"),
            within_days=sequence.within_days,
            without=sequence.then is None,
        )
        name = f"sequence_{hashlib.sha256(planned.model_dump_json().encode()).hexdigest()[:12]}"
        self.sequences[name] = planned
        words, test = succession(sequence), Test(op="is", values=(True,))
        return Leaf(**common, text=words, column=name, type="bool", tests=(test,))

    def listed(self, listing: Listing, words: Words, common: dict[str, Any]) -> Leaf:
        name = f"listed_{hashlib.sha256(listing.model_dump_json().encode()).hexdigest()[:12]}"
        self.listings[name] = listing
        return Leaf(**common, text=words, column=name, type="bool", tests=(Test(op="is", values=(True,)),))

    def among(self, audience: Audience, condition: Condition | None, place: tuple[Any, ...]) -> Plan | None:
        """A plan of its own for those among whom people are chosen."""
        if condition is None or not counts(condition):
            return None
        inner = replace(self, facts={}, columns=[], alerts=[], sequences={}, listings={})
        number = inner.next_number()
        include = inner.node(audience, condition, place)
        self.nodes = inner.nodes
        words = Words(zh="其中", en="among them")
        root = Member(number=number, place=self.placed(place), text=words, audience=audience.id, include=include)
        return inner.plan("", root)

    def plan(self, hash_: str, root: Member) -> Plan:
        return Plan(
            audience=root.audience,
            definition_hash=hash_,
            root=root,
            columns=tuple(self.columns),
            facts=self.facts,
            alerts=tuple(self.alerts),
            sequences=self.sequences,
            listings=self.listings,
        )

    def _known_audience(self, name: str) -> str:
        if name not in self.audiences:
            raise MistakeError(f"no audience {name!r}; {nearest(name, list(self.audiences))}", "audience")
        return name

    def reference(self, audience: Audience, condition: AudienceCondition, place: tuple[Any, ...]) -> Node:
        name = self._known_audience(condition.audience)
        if name in self.path:
            circle = " -> ".join([*self.path[self.path.index(name) :], name])
            raise MistakeError(f"audiences refer to each other in a circle: {circle}", "audience")
        return self.member(self.audiences[name], self.placed(place))

    def users(self, condition: UsersCondition, common: dict[str, Any]) -> Leaf:
        n = len(condition.users)
        return Leaf(
            **common,
            text=Words(zh=f"名单中的 {n} 个用户", en=f"one of {n} listed users"),
            column=self.need("user_id"),
            type="string",
            tests=(Test(op="is", values=condition.users),),
        )

    def alert(self, condition: AlertCondition, common: dict[str, Any]) -> Leaf:
        name = condition.alert
        if name not in ALERTS:
            raise MistakeError(f"no alert {name!r}; {nearest(name, list(ALERTS))}", "alert")
        if name not in self.alerts:
            self.alerts.append(name)
        zh, en = ALERTS[name]
        return Leaf(
            **common,
            text=Words(zh=f"预警名单：{zh}", en=f"listed by an alert: {en}"),
            column=alert_column(name),
            type="bool",
            tests=(Test(op="is", values=(True,)),),
        )

    def tag(self, condition: TagCondition, common: dict[str, Any]) -> Leaf:
        known = listings.attribute_named(condition.tag, self.catalogue, "tag")
        tests = tests_of(condition, known)
        if condition.known is not None:
            tests = (*tests, Test(op="known", values=(condition.known,)))
        return Leaf(
            **common,
            text=compared(known.name, tests, known.unit, self.currency, known.labels),
            column=self.need(known.id),
            type=known.type,
            unit=known.unit,
            tests=tests,
        )

    def event(self, condition: EventCondition, common: dict[str, Any]) -> Leaf:
        found = _measured(condition)
        fact = _fact(condition, condition.measure, found.description.en)
        tests = tests_of(condition, found)
        if not tests:
            if COMPARED[condition.measure] != ("count",):
                raise MistakeError(
                    f"measure {condition.measure} is compared with nothing; add at_least or another", "event"
                )
            tests = (Test(op="at_least", values=(1,)),)
        plain = json.dumps(fact, sort_keys=True, ensure_ascii=False)
        name = f"event_{hashlib.sha256(plain.encode()).hexdigest()[:12]}"
        self.facts[name] = fact
        text = compared(found.name, tests, found.unit, self.currency)
        if not condition.did:
            text = negated(text)
        return Leaf(
            **common,
            text=text,
            column=name,
            type=found.type,
            unit=found.unit,
            tests=tests,
            negated=not condition.did,
        )


def compile_audience(
    audience: Audience, audiences: Mapping[str, Audience], catalogue: Mapping[str, Attribute], *, currency: str
) -> Plan:
    """The plan of an audience; ConfigurationError lists every unknown tag, mismatch and circle with its line.

    Referenced audiences are compiled into the plan, so that all of it is judged at one release. ``currency`` is the lake's,
    in which the plan's words name money.
    """
    c = _Compiler({**fixed_attributes(), **catalogue}, {**audiences, audience.id: audience}, currency)
    root = c.member(audience, audience.id)
    for i, name in enumerate(audience.definition.export.columns):
        if name not in c.catalogue:
            where = audience.at(("export", "columns", i))
            if name in contact_fields():
                said = f"{name!r} is a contact, no tag; write `contacts: {{{name}: sha256}}` beside columns (or md5, clear)"
            else:
                said = f"no tag {name!r}; {nearest(name, list(c.catalogue))}"
            c.problems.append(f"{where}: export.columns.{i}: {said}")
    if c.problems:
        raise ConfigurationError("\n".join(c.problems))
    return c.plan(definition_hash(audience, c.audiences), root)


def _dotted(place: tuple[Any, ...]) -> str:
    return ".".join(str(p) for p in place)


def _placeholder(place: tuple[Any, ...]) -> Leaf:
    # Stands where a mistake was noted, so that the rest is still judged; the plan is never returned.
    return Leaf(number=0, place=_dotted(place), text=Words(zh="?", en="?"), column="user_id", type="string", tests=())


def _measured(condition: EventCondition) -> Attribute:
    """What the condition measures as if it were a tag: type, least value, and words."""
    if wrong := mistake(condition.measure, condition.agg, condition.event, COMPARED):
        part, said = wrong
        raise MistakeError(said, "event" if part == "behaviours" else part)
    measure, agg = MEASURES[condition.measure], condition.agg or COMPARED[condition.measure][0]
    if measure.unit in ("units", "minor") and (foreign := [e for e in condition.event if e not in CARRIES_MONEY]):
        raise MistakeError(
            f"{foreign[0]!r} carries no {condition.measure}; these do: {', '.join(CARRIES_MONEY)}", "measure"
        )
    kind = value_type(condition.measure, agg)
    words = measured(condition, agg)
    return Attribute(
        words.en,
        kind,
        words,
        Words(zh=agg, en=agg),
        minimum=None if kind == "date" or measure.negative else 0,
        unit="minor" if measure.unit == "minor" else None,
    )


def days_of(rows: EventRows) -> dict[str, Any]:
    """The days as a fact has them; ``days`` are two dates, of which a release's day makes a window."""
    if rows.on_days is not None:
        return {"days": [day.isoformat() for day in rows.on_days]}
    if rows.days_ago is not None:
        return {"window": rows.days_ago[1] + 1, "ago": rows.days_ago[0]}
    return {} if rows.within_days is None else {"window": rows.within_days}


def _fact(rows: EventKind, measure: str, agg: str) -> dict[str, Any]:
    """A measure of the rows in the syntax of a declared fact."""
    made: dict[str, Any] = {"from": list(rows.event), "measure": measure, "agg": agg}
    if isinstance(rows, EventRows):
        made |= days_of(rows)
    if given := rows.where.given:
        made["where"] = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    if rows.view != "behaviour":
        made["view"] = rows.view
    return made
