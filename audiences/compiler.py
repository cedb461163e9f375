"""From a definition and the catalogue to a plan; every mistake is reported with its line, all at once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from audiences.language import (
    AlertCondition,
    AllConditions,
    AnyConditions,
    Audience,
    AudienceCondition,
    Comparison,
    Condition,
    EventCondition,
    NotCondition,
    TagCondition,
    UsersCondition,
    contact_fields,
    definition_hash,
)
from audiences.plan import AllOf, AnyOf, Leaf, Member, Node, Not, Operand, Plan, Test, alert_column
from audiences.wording import compared, measured, negated
from schemas.alerts import ALERTS
from schemas.behaviours import CARRIES_MONEY
from schemas.configuration import Words, nearest
from schemas.contracts import Type, fields
from schemas.errors import ConfigurationError
from schemas.measures import COMPARED, MEASURES, mistake, value_type

NUMBERS = ("int32", "int64", "float64")


@dataclass(frozen=True)
class Attribute:
    """What the catalogue says of one column of the profile. No ``values`` means that any text may occur."""

    id: str
    type: Type
    name: Words
    description: Words
    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = None
    labels: Mapping[str, Words] = field(default_factory=dict)


def fixed_attributes() -> dict[str, Attribute]:
    """Columns that every profile has beside the catalogue's tags and that a condition or an export may name."""
    found = {}
    for name in ("is_member", "user_id", "uid", "as_of"):
        entry = fields()[name]
        words = Words(zh=entry.zh, en=entry.en)
        found[name] = Attribute(name, entry.type, words, words)
    return found


class _MistakeError(Exception):
    """One mistake at one place; becomes a line of the ConfigurationError."""

    def __init__(self, message: str, *key: Any):
        super().__init__(message)
        self.key = key


@dataclass
class _Compiler:
    catalogue: Mapping[str, Attribute]
    audiences: Mapping[str, Audience]
    currency: str
    problems: list[str] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    nodes: int = 0

    def next_number(self) -> int:
        self.nodes += 1
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
        include = self.node(audience, d.include, ("include",))
        exclude = None if d.exclude is None else self.node(audience, d.exclude, ("exclude",))
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
        try:
            return self._node(audience, condition, place)
        except _MistakeError as e:
            where = (*place, *e.key)
            self.problems.append(f"{audience.at(where)}: {_dotted(where)}: {e}")
            return _placeholder(place)

    def _node(self, audience: Audience, condition: Condition, place: tuple[Any, ...]) -> Node:
        if isinstance(condition, AudienceCondition):
            return self.reference(audience, condition, place)
        common: dict[str, Any] = {"number": self.next_number(), "place": self.placed(place)}
        if isinstance(condition, AllConditions):
            below = tuple(self.node(audience, c, (*place, "all", i)) for i, c in enumerate(condition.all))
            return AllOf(**common, text=Words(zh="全部满足", en="all of these"), parts=below)
        if isinstance(condition, AnyConditions):
            below = tuple(self.node(audience, c, (*place, "any", i)) for i, c in enumerate(condition.any))
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
        return self.event(condition, common)

    def reference(self, audience: Audience, condition: AudienceCondition, place: tuple[Any, ...]) -> Node:
        name = condition.audience
        if name not in self.audiences:
            raise _MistakeError(f"no audience {name!r}; {nearest(name, list(self.audiences))}", "audience")
        if name in self.path:
            circle = " -> ".join([*self.path[self.path.index(name) :], name])
            raise _MistakeError(f"audiences refer to each other in a circle: {circle}", "audience")
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
            raise _MistakeError(f"no alert {name!r}; {nearest(name, list(ALERTS))}", "alert")
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
        known = self.catalogue.get(condition.tag)
        if known is None:
            raise _MistakeError(f"no tag {condition.tag!r}; {nearest(condition.tag, list(self.catalogue))}", "tag")
        tests = _tests(condition, known)
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
        fact = _fact(condition, found.description.en)
        tests = _tests(condition, found)
        if not tests:
            if COMPARED[condition.measure] != ("count",):
                raise _MistakeError(
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
    return Plan(
        audience=audience.id,
        definition_hash=definition_hash(audience, c.audiences),
        root=root,
        columns=tuple(c.columns),
        facts=c.facts,
        alerts=tuple(c.alerts),
    )


def _dotted(place: tuple[Any, ...]) -> str:
    return ".".join(str(p) for p in place)


def _placeholder(place: tuple[Any, ...]) -> Leaf:
    # Stands where a mistake was noted, so that the rest is still judged; the plan is never returned.
    return Leaf(number=0, place=_dotted(place), text=Words(zh="?", en="?"), column="user_id", type="string", tests=())


def _measured(condition: EventCondition) -> Attribute:
    """What the condition measures as if it were a tag: type, least value, and words."""
    if wrong := mistake(condition.measure, condition.agg, condition.event, COMPARED):
        part, said = wrong
        raise _MistakeError(said, "event" if part == "behaviours" else part)
    measure, agg = MEASURES[condition.measure], condition.agg or COMPARED[condition.measure][0]
    if measure.unit in ("units", "minor") and (foreign := [e for e in condition.event if e not in CARRIES_MONEY]):
        raise _MistakeError(
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


def _fact(condition: EventCondition, agg: str) -> dict[str, Any]:
    """The condition's measure in the syntax of a declared fact."""
    made: dict[str, Any] = {"from": list(condition.event), "measure": condition.measure, "agg": agg}
    if condition.within_days is not None:
        made["window"] = condition.within_days
    if given := condition.where.given:
        made["where"] = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    if condition.view != "behaviour":
        made["view"] = condition.view
    return made


def _tests(condition: Comparison, known: Attribute) -> tuple[Test, ...]:
    """The comparisons with operands of the column's type; refuses what the column cannot be compared with."""
    found = []
    low, high = -math.inf, math.inf
    for key, values in condition.comparisons.items():
        if key == "known":
            continue
        if key not in ("is", "is_not") and known.type in ("string", "bool"):
            kind = "text" if known.type == "string" else "true or false"
            raise _MistakeError(f"{known.id!r} is {kind}; it can be compared with is and is_not, not with {key}", key)
        plain = tuple(_operand(v, known, key) for v in values)
        if key == "between" and plain[0] > plain[1]:  # type: ignore[operator]
            raise _MistakeError(
                f"between goes from the smaller to the greater value, given {plain[0]} and {plain[1]}", key
            )
        if known.type in NUMBERS:
            low, high = _narrowed(key, [float(v) for v in plain], low, high)
        found.append(Test(op=key, values=plain))
    least = -math.inf if known.minimum is None else known.minimum
    most = math.inf if known.maximum is None else known.maximum
    if max(low, least) > min(high, most):
        raise _MistakeError(
            f"can never match: {known.id!r} takes {_range(known)}" if low <= high else "can never match"
        )
    return tuple(found)


def _narrowed(key: str, values: list[float], low: float, high: float) -> tuple[float, float]:
    """The closed range that is left after a comparison; a strict one moves its end by the smallest float."""
    if key == "at_least":
        return max(low, values[0]), high
    if key == "at_most":
        return low, min(high, values[0])
    if key == "above":
        return max(low, math.nextafter(values[0], math.inf)), high
    if key == "below":
        return low, min(high, math.nextafter(values[0], -math.inf))
    if key == "between":
        return max(low, values[0]), min(high, values[1])
    return low, high


def _range(known: Attribute) -> str:
    if known.minimum is not None and known.maximum is not None:
        return f"values from {known.minimum:g} to {known.maximum:g}"
    return f"values from {known.minimum:g}" if known.minimum is not None else f"values up to {known.maximum:g}"


def _operand(value: Any, known: Attribute, key: str) -> Operand:
    """``value`` as the column's type holds it; a value that the column cannot take is refused."""
    if known.type == "string":
        return _text(value, known, key)
    if known.type == "bool":
        if not isinstance(value, bool):
            raise _MistakeError(f"{known.id!r} is true or false, given {value!r}", key)
        return value
    if known.type == "date":
        return _day(value, known, key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _MistakeError(f"{known.id!r} is a number, given {value!r}", key)
    if isinstance(value, float) and not math.isfinite(value):
        raise _MistakeError(f"{known.id!r} is a number, given {value!r}", key)
    if key in ("is", "is_not"):
        if known.type != "float64" and value != int(value):
            raise _MistakeError(f"{known.id!r} is a whole number, given {value!r}", key)
        least = -math.inf if known.minimum is None else known.minimum
        most = math.inf if known.maximum is None else known.maximum
        if not least <= value <= most:
            raise _MistakeError(f"{known.id!r} takes {_range(known)}, given {value!r}", key)
    return value


def _text(value: Any, known: Attribute, key: str) -> str:
    if not isinstance(value, str):
        raise _MistakeError(f"{known.id!r} is text, given {value!r}; write it in quotes if it is meant", key)
    if known.values and value not in known.values:
        labelled = [v for v, label in known.labels.items() if value in (label.zh, label.en)]
        hint = f"that is what {labelled[0]!r} is called" if labelled else nearest(value, list(known.values))
        raise _MistakeError(f"{known.id!r} never takes the value {value!r}; {hint}", key)
    return value


def _day(value: Any, known: Attribute, key: str) -> str:
    if isinstance(value, date):
        return value.isoformat()
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise _MistakeError(f"{known.id!r} is a date such as 2026-03-01, given {value!r}", key) from None
