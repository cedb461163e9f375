"""What a definition is compiled to: a tree of conditions over columns, and the event facts that make some of them.

A plan is plain data (``model_dump(mode="json")`` and ``model_validate``), so that it can travel to bucket tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    """``columns`` of the profile, ``facts`` (in the syntax of declared facts, by id) and ``alerts`` that conditions need."""

    audience: str
    definition_hash: str
    root: Member
    columns: tuple[str, ...]
    facts: dict[str, dict[str, Any]]
    alerts: tuple[str, ...] = ()


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
