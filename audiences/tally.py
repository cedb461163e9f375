"""How many people a plan would hold, condition by condition, over bits: the same people as ``audiences/evaluate.py`` finds.

Users are judged in blocks: what lies between two conditions then stays in the processor's cache, and two cores share the
blocks. Every number of a funnel is a count, so those of the blocks are added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_, or_

import numpy as np

from audiences.bits import WORD, Bits, Kleene, how_many
from audiences.plan import AllOf, AnyOf, Leaf, Node, Not, Plan, parts, walk

BLOCK_WORDS = 1 << 14
"""Words of bits that are judged at a time: 128 KiB of each plane (1,048,576 users)."""


@dataclass(frozen=True)
class FunnelStep:
    """One node in a funnel: for how many users it is true, unknown and false.

    The parts that narrow the audience one after the other have two numbers more: ``remaining`` are left after them and
    those before, ``alone`` is how many more the audience would hold without this part.
    """

    number: int
    place: str
    depth: int
    zh: str
    en: str
    true: int
    unknown: int
    false: int
    remaining: int | None
    alone: int | None


@dataclass(frozen=True)
class Sized:
    """Who a plan holds among ``users``, and its funnel: every node in the order of reading with its counts."""

    users: int
    members: Bits
    steps: tuple[FunnelStep, ...]


@dataclass(frozen=True)
class Tally:
    """Truth of every node of a plan, by its number, and what follows from it."""

    plan: Plan
    users: int
    truth: dict[int, Kleene] = field(repr=False)

    @property
    def members(self) -> Bits:
        return self.truth[self.plan.root.number].true

    def steps(self) -> tuple[FunnelStep, ...]:
        """Every node in the order of reading with its counts."""
        remaining, alone = self._narrowing()
        found = []
        for depth, node in walk(self.plan.root):
            true, false = (how_many(bits) for bits in (self.truth[node.number].true, self.truth[node.number].false))
            found.append(
                FunnelStep(
                    number=node.number,
                    place=node.place,
                    depth=depth,
                    zh=node.text.zh,
                    en=node.text.en,
                    true=true,
                    unknown=self.users - true - false,
                    false=false,
                    remaining=remaining.get(node.number),
                    alone=alone.get(node.number),
                )
            )
        return tuple(found)

    def _narrowing(self) -> tuple[dict[int, int], dict[int, int]]:
        """By part that narrows: users left after it, and users whom nothing else keeps out."""
        root = self.plan.root
        narrowing = root.include.parts if isinstance(root.include, AllOf) else (root.include,)
        kept = [(part.number, self.truth[part.number].true) for part in narrowing]
        if root.exclude is not None:
            everybody = self.members | self.truth[root.number].false
            kept.append((root.exclude.number, everybody & ~self.truth[root.exclude.number].true))
        before = [kept[0][1]]
        for _, bits in kept[1:]:
            before.append(before[-1] & bits)
        remaining = {number: how_many(left) for (number, _), left in zip(kept, before, strict=True)}
        members, alone, after = remaining[kept[-1][0]], {}, None
        for i, (number, bits) in reversed(list(enumerate(kept))):
            others = [b for b in (before[i - 1] if i else None, after) if b is not None]
            without = how_many(reduce(and_, others)) if others else self.users
            alone[number] = without - members
            after = bits if after is None else after & bits
        return remaining, alone


def sized(
    plan: Plan, users: int, everybody: Bits, leaf: Callable[[Leaf, slice], Kleene], cores: Executor | None = None
) -> Sized:
    """Judge everybody; ``leaf`` gives the truth of a leaf for words of bits, turned round where the leaf is.

    Blocks are judged by ``cores`` side by side, or one after the other.
    """
    blocks = [slice(at, at + BLOCK_WORDS) for at in range(0, max(len(everybody), 1), BLOCK_WORDS)]

    def judged(words: slice) -> Sized:
        here = min(users - words.start * WORD, BLOCK_WORDS * WORD)
        tally = tallied(plan, here, everybody[words], lambda node: leaf(node, words))
        return Sized(here, tally.members, tally.steps())

    return _together(list(map(judged, blocks) if cores is None or len(blocks) == 1 else cores.map(judged, blocks)))


def _together(parts: Sequence[Sized]) -> Sized:
    if len(parts) == 1:
        return parts[0]
    steps = tuple(_added(same) for same in zip(*(p.steps for p in parts), strict=True))
    return Sized(sum(p.users for p in parts), np.concatenate([p.members for p in parts]), steps)


def _added(same: Sequence[FunnelStep]) -> FunnelStep:
    """One step of several blocks; what one block does not count, none does."""
    remaining, alone = (
        None if one is None else sum(getattr(s, name) for s in same)
        for name, one in (("remaining", same[0].remaining), ("alone", same[0].alone))
    )
    return replace(
        same[0],
        true=sum(s.true for s in same),
        unknown=sum(s.unknown for s in same),
        false=sum(s.false for s in same),
        remaining=remaining,
        alone=alone,
    )


def tallied(plan: Plan, users: int, everybody: Bits, leaf: Callable[[Leaf], Kleene]) -> Tally:
    """Judge everybody; ``leaf`` gives the truth of a leaf, turned round where the leaf is."""
    truth: dict[int, Kleene] = {}
    _judge(plan.root, everybody, leaf, truth)
    return Tally(plan, users, truth)


def _judge(node: Node, everybody: Bits, leaf: Callable[[Leaf], Kleene], truth: dict[int, Kleene]) -> Kleene:
    below = [_judge(part, everybody, leaf, truth) for part in parts(node)]
    if isinstance(node, Leaf):
        found = leaf(node)
    elif isinstance(node, AllOf):
        found = reduce(and_, below)
    elif isinstance(node, AnyOf):
        found = reduce(or_, below)
    elif isinstance(node, Not):
        found = ~below[0]
    else:
        member = below[0].true if node.exclude is None else below[0].true & ~below[1].true
        found = Kleene.certain(member, everybody)
    truth[node.number] = found
    return found
