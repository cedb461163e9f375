"""Who matches, by which condition, and why: a plan over columns, in three-valued logic, all users at once.

Truth is an int8 of Kleene's order: 1 true, 0 unknown, -1 false. So *and* is the least, *or* the greatest and *not* the
opposite. A comparison with an absent value is unknown; so is one with the text ``unknown``, unless the condition names
``unknown`` itself. At the top of ``include`` and of ``exclude`` unknown counts as false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from audiences.plan import AllOf, AnyOf, Leaf, Member, Node, Not, Plan, Test, parts, walk
from schemas.arrow import ARROW

UNKNOWN = "unknown"
Truth = npt.NDArray[np.int8]
Column: TypeAlias = pa.Array | pa.ChunkedArray
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Outcome:
    """Truth of every node of a plan, by its number, in the order of the rows."""

    plan: Plan
    rows: int
    truth: dict[int, Truth] = field(repr=False)

    @property
    def members(self) -> npt.NDArray[np.bool_]:
        return self.truth[self.plan.root.number] == 1

    def deciding(self) -> npt.NDArray[np.int32]:
        """For every row the number of the node that decided membership (see ``decided_by``)."""
        return decided_by(self.plan.root, self.truth)


def evaluate(plan: Plan, columns: Mapping[str, Column], rows: int) -> Outcome:
    """Judge every row. ``columns`` holds the plan's profile columns and facts, each of ``rows`` values."""
    truth: dict[int, Truth] = {}
    _judge(plan.root, columns, rows, truth)
    return Outcome(plan, rows, truth)


def _judge(node: Node, columns: Mapping[str, Column], rows: int, truth: dict[int, Truth]) -> Truth:
    below = [_judge(part, columns, rows, truth) for part in parts(node)]
    if isinstance(node, Leaf):
        result = leaf_truth(node, columns[node.column])
    elif isinstance(node, AllOf):
        result = np.minimum.reduce(below)
    elif isinstance(node, AnyOf):
        result = np.maximum.reduce(below)
    elif isinstance(node, Not):
        result = np.negative(below[0])
    else:
        member = below[0] == 1
        if node.exclude is not None:
            member &= below[1] != 1
        result = np.where(member, 1, -1).astype(np.int8)
    truth[node.number] = result
    return result


def leaf_truth(leaf: Leaf, column: Column) -> Truth:
    """Truth of one leaf for every row of its column."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        array = array.cast(ARROW[leaf.type])
    truth = np.ones(len(array), np.int8)
    for test in leaf.tests:
        np.minimum(truth, _test_truth(test, leaf.type, array), out=truth)
    return np.negative(truth) if leaf.negated else truth


def _test_truth(test: Test, kind: str, array: pa.Array) -> Truth:
    absent = pc.is_null(array, nan_is_null=True).to_numpy(zero_copy_only=False)
    if kind == "string":
        absent |= pc.fill_null(pc.equal(array, UNKNOWN), False).to_numpy(zero_copy_only=False)
    if test.op == "known":
        return _truth(absent != test.values[0])
    if kind == "string":
        hit = pc.is_in(array, value_set=pa.array(test.values, array.type)).to_numpy(zero_copy_only=False)
        if UNKNOWN in test.values:
            hit, absent = hit | absent, np.zeros(len(array), np.bool_)
    else:
        hit = _compared(test, kind, array)
    return _truth(~hit if test.op == "is_not" else hit, absent)


def _compared(test: Test, kind: str, array: pa.Array) -> npt.NDArray[np.bool_]:
    if kind == "bool":
        values = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
    elif kind == "date":
        values = pc.fill_null(array.cast(pa.date32()).cast(pa.int32()), 0).to_numpy(zero_copy_only=False)
    else:
        values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    return held_against(test, kind, values)


def held_against(test: Test, kind: str, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """For which of the values a comparison holds; days are numbers since 1970. ``is_not`` is judged as ``is``."""
    operands: Sequence[Any] = test.values
    if kind == "date":
        operands = [date.fromisoformat(str(v)).toordinal() - _EPOCH for v in test.values]
    hit: npt.NDArray[np.bool_]
    if test.op in ("is", "is_not"):
        hit = np.logical_or.reduce([values == v for v in operands])
    elif test.op == "at_least":
        hit = values >= operands[0]
    elif test.op == "at_most":
        hit = values <= operands[0]
    elif test.op == "above":
        hit = values > operands[0]
    elif test.op == "below":
        hit = values < operands[0]
    else:
        hit = (values >= operands[0]) & (values <= operands[1])
    return hit


def _truth(hit: npt.NDArray[np.bool_], absent: npt.NDArray[np.bool_] | None = None) -> Truth:
    truth = np.where(hit, 1, -1).astype(np.int8)
    if absent is not None:
        truth[absent] = 0
    return truth


def decided_by(node: Node, truth: Mapping[int, Truth]) -> npt.NDArray[np.int32]:
    """For every row the number of the node that settled ``node``'s truth.

    A false *all* was settled by its first part that is as false as the whole, a true *any* by its first true part; a
    true *all* and a false *any* were settled by all their parts together, so they are named themselves. Who is not
    included was kept out by ``include``; who is excluded, by ``exclude``.
    """
    mine = truth[node.number]
    own = np.full(len(mine), node.number, np.int32)
    if isinstance(node, Leaf):
        return own
    below = parts(node)
    if isinstance(node, Member):
        decided = decided_by(node.include, truth)
        if node.exclude is None:
            return decided
        excluded = (truth[node.include.number] == 1) & (truth[node.exclude.number] == 1)
        return np.where(excluded, decided_by(node.exclude, truth), decided)
    if len(below) == 1:
        return decided_by(below[0], truth)
    together = 1 if isinstance(node, AllOf) else -1
    for part in reversed(below):
        settled = (mine != together) & (truth[part.number] == mine)
        own = np.where(settled, decided_by(part, truth), own)
    return own


TRUTH_WORDS = {1: "true", 0: "unknown", -1: "false"}


@dataclass(frozen=True)
class Judged:
    """One condition for one person: their value (absent for combinations), the truth, and whether it decided."""

    number: int
    place: str
    depth: int
    zh: str
    en: str
    value: Any
    truth: str
    decided: bool


def explain(outcome: Outcome, columns: Mapping[str, Column], row: int) -> list[Judged]:
    """Every node for the person in ``row``."""
    decided = int(outcome.deciding()[row])
    return [
        Judged(
            number=node.number,
            place=node.place,
            depth=depth,
            zh=node.text.zh,
            en=node.text.en,
            value=columns[node.column][row].as_py() if isinstance(node, Leaf) else None,
            truth=TRUTH_WORDS[int(outcome.truth[node.number][row])],
            decided=node.number == decided,
        )
        for depth, node in walk(outcome.plan.root)
    ]


def reason(plan: Plan, number: int) -> str:
    """The node as one line for a log: where it stands and what it asks."""
    for _, node in walk(plan.root):
        if node.number == number:
            return f"{node.place}: {node.text.en}"
    raise KeyError(number)
