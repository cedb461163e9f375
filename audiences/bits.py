"""Columns of users as bits, so that a condition is a handful of passes over one bit a user.

A column is a number per user in bit planes (a bit-sliced index: O'Neil and Quass, "Improved query performance with variant
indexes", SIGMOD 1997): plane i holds bit i of everybody's number, and ``known`` who has one. Numbers keep the order of the
values, so that every comparison is one or two comparisons of numbers, and of any of them each plane is read once.

Bits are words of 64 users, the first user in the lowest bit; beyond the last user they are 0.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import and_, or_
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from audiences.evaluate import UNKNOWN, Truth, held_against
from audiences.plan import Test

Bits: TypeAlias = npt.NDArray[np.uint64]
Value: TypeAlias = float | str
WORD = 64
"""Users of a word of bits."""
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Kleene:
    """Three-valued truth of everybody: who is in neither is unknown."""

    true: Bits
    false: Bits

    @classmethod
    def of(cls, truth: Truth) -> Kleene:
        """From 1 for true, 0 for unknown and -1 for false."""
        return cls(packed(truth == 1), packed(truth == -1))

    @classmethod
    def certain(cls, true: Bits, everybody: Bits) -> Kleene:
        """Never unknown."""
        return cls(true, everybody ^ true)

    def __and__(self, other: Kleene) -> Kleene:
        return Kleene(self.true & other.true, self.false | other.false)

    def __or__(self, other: Kleene) -> Kleene:
        return Kleene(self.true | other.true, self.false & other.false)

    def __invert__(self) -> Kleene:
        return Kleene(self.false, self.true)

    def cut(self, words: slice) -> Kleene:
        """That of some words of users."""
        return Kleene(self.true[words], self.false[words])


def packed(flags: npt.NDArray[np.bool_]) -> Bits:
    """A flag per user as bits."""
    found = np.zeros(-(-len(flags) // 64), np.dtype("<u8"))
    found.view(np.uint8)[: -(-len(flags) // 8)] = np.packbits(flags, bitorder="little")
    return found


def flags(bits: Bits, users: int) -> npt.NDArray[np.bool_]:
    """Bits as a flag per user."""
    return np.unpackbits(bits.view(np.uint8), count=users, bitorder="little").view(np.bool_)


def how_many(bits: Bits) -> int:
    """How many users are in."""
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def everybody(users: int) -> Bits:
    return packed(np.ones(users, np.bool_))


@dataclass(frozen=True)
class BitColumn:
    """A number per user in planes, the lowest bit first; who is not ``known`` has 0 there.

    The number is the place of the value among ``values`` (ascending), or, without them, the whole number less ``low``.
    """

    known: Bits
    planes: Sequence[Bits]
    low: int = 0
    values: Sequence[Value] | None = None

    def cut(self, words: slice) -> BitColumn:
        """The column of some words of users."""
        return BitColumn(self.known[words], [plane[words] for plane in self.planes], self.low, self.values)

    def truth(self, tests: Sequence[Test], kind: str, everybody: Bits) -> Kleene:
        """Truth of a leaf's comparisons, all of which must hold, as ``audiences/evaluate.py`` judges them."""
        return reduce(and_, (self._judged(test, kind, everybody) for test in tests))

    def quantiles(self, among: Bits, parts: int) -> list[Value]:
        """Values that part some people into so many parts of about as many, ascending, each above the least; fewer where many share one.

        Who has a value is in the part that it begins.
        """
        people = self.known & among
        many = how_many(people)
        numbers = {self._at(people, many * i // parts) for i in range(1, parts)} if many else set()
        above_least = sorted(numbers - {self._at(people, 0)}) if many else []
        return [n + self.low if self.values is None else self.values[n] for n in above_least]

    def _at(self, people: Bits, rank: int) -> int:
        """The number of the one at that place among people in order of theirs: bit by bit from the highest."""
        number = 0
        for i in reversed(range(len(self.planes))):
            without = _without(people, self.planes[i])
            if rank < (fewer := how_many(without)):
                people = without
            else:
                rank -= fewer
                people = people & self.planes[i]
                number |= 1 << i
        return number

    def _judged(self, test: Test, kind: str, everybody: Bits) -> Kleene:
        if test.op == "known":
            return Kleene.certain(self.known if test.values[0] else everybody ^ self.known, everybody)
        if test.op in ("is", "is_not"):
            places = (self._places(_plain(value, kind)) for value in test.values)
            hit = self._one_of([first for first, beyond in places if first < beyond])
        else:
            hit = self._between(test, kind)
        known = self.known
        if UNKNOWN in test.values and kind == "string":
            # Who is not known to be anything is what was asked for.
            hit, known = hit | (everybody ^ known), everybody
        # whoever is hit is known
        return Kleene(known ^ hit, hit) if test.op == "is_not" else Kleene(hit, known ^ hit)

    def _between(self, test: Test, kind: str) -> Bits:
        first, last = _plain(test.values[0], kind), _plain(test.values[-1], kind)
        if test.op in ("at_least", "between"):
            found = self._from(self._places(first)[0])
        elif test.op == "above":
            found = self._from(self._places(first)[1])
        else:
            found = self.known
        if test.op in ("at_most", "between"):
            return _without(found, self._from(self._places(last)[1]))
        return _without(found, self._from(self._places(first)[0])) if test.op == "below" else found

    def _places(self, value: Any) -> tuple[int, int]:
        """The numbers from which on values are at least, and greater than, a value; equal where it does not occur."""
        if self.values is not None:
            return bisect_left(self.values, value), bisect_right(self.values, value)
        return math.ceil(value) - self.low, math.floor(value) + 1 - self.low

    def _one_of(self, numbers: Sequence[int]) -> Bits:
        """Who has one of the numbers."""
        found = [self._is(n) for n in numbers if 0 <= n < 1 << len(self.planes)]
        return reduce(or_, found) if found else np.zeros_like(self.known)

    def _is(self, number: int) -> Bits:
        """Who has the number: has every bit of it, and no other."""
        found = self.known.copy()
        others = []
        for i, plane in enumerate(self.planes):
            if number >> i & 1:
                found &= plane
            else:
                others.append(plane)
        if not others:
            return found
        other = others[0] | others[-1]
        for plane in others[1:-1]:
            other |= plane
        return _without(found, other)

    def _from(self, number: int) -> Bits:
        """Who has the number or a greater one.

        From the lowest bit up: where both have the bit, or neither, what the lower bits say stands; who alone has it is
        greater.
        """
        if number <= 0:
            return self.known
        if number >= 1 << len(self.planes):
            return np.zeros_like(self.known)
        lowest = (number & -number).bit_length() - 1
        found = self.planes[lowest].copy()
        for i in range(lowest + 1, len(self.planes)):
            if number >> i & 1:
                found &= self.planes[i]
            else:
                found |= self.planes[i]
        return found


def truth_of_numbers(
    tests: Sequence[Test], kind: str, values: npt.NDArray[Any], known: npt.NDArray[np.bool_] | None
) -> Kleene:
    """The same of numbers as they are, one per user: ``known`` absent is everybody. For what is judged once."""
    there = np.ones(len(values), np.bool_) if known is None else known
    true, false = np.ones(len(values), np.bool_), np.zeros(len(values), np.bool_)
    for test in tests:
        if test.op == "known":
            hit = there == test.values[0]
            true &= hit
            false |= ~hit
            continue
        hit = held_against(test, kind, values)
        if test.op == "is_not":
            hit = ~hit
        true &= hit if known is None else hit & known
        false |= ~hit if known is None else ~hit & known
    return Kleene(packed(true), packed(false))


def _without(some: Bits, others: Bits) -> Bits:
    """Who is in the first and not in the second."""
    both = some & others
    both ^= some
    return both


def _plain(value: Any, kind: str) -> Any:
    """An operand as the column's values are held: days as numbers since 1970."""
    return date.fromisoformat(value).toordinal() - _EPOCH if kind == "date" else value
