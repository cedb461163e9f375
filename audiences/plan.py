"""What a definition is compiled to: a tree of conditions over columns, and the event facts that make some of them.

A plan is plain data (``model_dump(mode="json")`` and ``model_validate``), so that it can travel to bucket tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from schemas.configuration import Settings, Words
from schemas.contracts import Type

Operand: TypeAlias = bool | int | float | str
Operator = Literal["is", "is_not", "at_least", "at_most", "above", "below", "between", "known"]


class Test(Settings):
    """One comparison; dates are ISO text."""

    __test__ = False  # pytest would take it for a test case

    op: Operator
    values: tuple[Operand, ...]


class _Node(Settings):
    """``number`` counts the nodes of a plan from 1 in the order of reading; ``place`` is where it stands in the file."""

    number: int
    place: str
    text: Words


class Leaf(_Node):
    """Comparisons of one column, all of which must hold; ``negated`` turns the leaf round (``did: false``).

    ``unit`` is that of the column's numbers: ``minor`` for money.
    """

    kind: Literal["leaf"] = "leaf"
    column: str
    type: Type
    unit: str | None = None
    tests: tuple[Test, ...]
    negated: bool = False


class AllOf(_Node):
    kind: Literal["all"] = "all"
    parts: tuple[Node, ...]


class AnyOf(_Node):
    kind: Literal["any"] = "any"
    parts: tuple[Node, ...]


class Not(_Node):
    kind: Literal["not"] = "not"
    part: Node


class Member(_Node):
    """Membership by a definition: ``include`` is true and ``exclude`` is not. Never unknown."""

    kind: Literal["member"] = "member"
    audience: str
    include: Node
    exclude: Node | None = None


Node = Annotated[Leaf | AllOf | AnyOf | Not | Member, Field(discriminator="kind")]
for _model in (AllOf, AnyOf, Not, Member):
    _model.model_rebuild()


class Plan(Settings):
    """``columns`` of the profile, ``facts`` (in the syntax of declared facts, by id) and ``alerts`` that conditions need.

    ``sequences`` are two facts each, of which one must follow the other. ``listings`` say, by column, whom a condition is
    true of that needs more than a person's own row (project/listings.py).
    """

    audience: str
    definition_hash: str
    root: Member
    columns: tuple[str, ...]
    facts: dict[str, dict[str, Any]]
    alerts: tuple[str, ...] = ()
    sequences: dict[str, PlannedSequence] = Field(default_factory=dict)
    listings: dict[str, Listing] = Field(default_factory=dict)

    def tags_read(self) -> tuple[str, ...]:
        """Profile columns that the plan judges by, those of its listings among them."""
        found = dict.fromkeys(self.columns)
        for one in self.listings.values():
            if isinstance(one, ListedChange):
                found[one.tag] = None
            if isinstance(one, (ListedTop, ListedSample)) and one.among is not None:
                found |= dict.fromkeys(one.among.tags_read())
            if isinstance(one, ListedTop):
                found |= dict.fromkeys(tag for tag in (one.by, one.within) if tag is not None)
        return tuple(found)


class PlannedSequence(Settings):
    """Rows of ``first`` and, within so many days after one, of ``second``, or ``without`` any: both as facts declare them."""

    first: dict[str, Any]
    second: dict[str, Any]
    within_days: int
    without: bool


class ListedChange(Settings):
    """``before`` and ``after`` are values as the process of the tag has them, None for unknown; absent is any."""

    kind: Literal["changed"] = "changed"
    tag: str
    before: tuple[str | None, ...] | None
    after: tuple[str | None, ...] | None
    within_days: int | None


class ListedIds(Settings):
    """``digest`` is that of the file's content."""

    kind: Literal["ids"] = "ids"
    project: str
    file: str
    id_kind: str
    column: str | None
    digest: str


class ListedTop(Settings):
    kind: Literal["top"] = "top"
    by: str
    within: str | None
    lowest: bool
    people: int | None
    share: float | None
    among: Plan | None


class ListedSample(Settings):
    kind: Literal["sample"] = "sample"
    seed: str
    people: int | None
    share: float | None
    among: Plan | None


class ListedBelow(Settings):
    kind: Literal["below"] = "below"
    user_id: str
    levels: int | None


class ListedBefore(Settings):
    """Who was in an audience on a day."""

    kind: Literal["before"] = "before"
    audience: str
    as_of: date


Listing = Annotated[
    ListedChange | ListedIds | ListedTop | ListedSample | ListedBelow | ListedBefore, Field(discriminator="kind")
]
for _listed in (ListedTop, ListedSample, Plan):
    _listed.model_rebuild()


def alert_column(alert: str) -> str:
    """The column that says who is listed by an alert."""
    return f"alert.{alert}"


def parts(node: Node) -> tuple[Node, ...]:
    """The nodes directly below a node, in order of reading."""
    if isinstance(node, Leaf):
        return ()
    if isinstance(node, Not):
        return (node.part,)
    if isinstance(node, Member):
        return (node.include,) if node.exclude is None else (node.include, node.exclude)
    return node.parts


def walk(node: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Every node with its depth, parents first."""
    yield depth, node
    for part in parts(node):
        yield from walk(part, depth + 1)
