"""How many people a plan would hold, condition by condition, over bits: the same people as ``audiences/evaluate.py`` finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_

from audiences.bits import Bits, Kleene, how_many
from audiences.plan import AllOf, AnyOf, Leaf, Node, Not, Plan, parts, walk


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
