"""How the values of a tag are spread, how far they moved since another run, and whether that is more than they usually do.

Values are put into bins that do not depend on the data, so that any two runs compare: texts and booleans as they are,
numbers into intervals of a 1-2-5 series, days by their age, and what is not known into a bin of its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from features.catalogue import Catalogue, Node
from features.instants import day_number
from features.kernel.arrays import from_arrow, numbers_and_known
from features.tags import UNKNOWN, Tag
from schemas.configuration import Settings

OTHER = "other"
"""Bin of the text values beyond the most frequent ones."""
MOST_VALUES = 50
MOST_VALUES_OF_A_BUCKET = 2_000
"""Distinct texts that one bucket names; rarer ones go to ``other``, which only the tail of a long list feels."""
FIRST, NO_REFERENCE = "first", "no_reference"
"""Verdicts without a verdict: nothing to compare with; values moved, and nobody knows yet how far they usually do."""
VERDICTS = (FIRST, "stable", NO_REFERENCE, "watch", "act")
"""From the least to the most that asks for somebody's eyes."""
Bins = dict[str, int]
"""Users by bin."""

_DECADES = range(-4, 16)
_EDGE_TEXTS = tuple(f"{Decimal(m).scaleb(e):f}" for e in _DECADES for m in (1, 2, 5))
_EDGES = np.array([float(t) for t in _EDGE_TEXTS])
_WORDS_OF_A_TAG = {
    *("name", "description", "path", "labels", "strategies", "needs", "resources"),
    *("owner", "refresh", "limits", "on_break", "sources", "kind", "log_bands", "scheme", "role"),
}
"""What a declaration says about a tag that changes no value."""


class QualitySettings(Settings):
    """``quality:`` of huaxiang.yaml: what PSI means, and what a tag usually does.

    A tag's values are compared with those of the run before. From ``watch`` and ``act`` on that is a verdict, where they
    moved more than ``times_usual`` times as far as they usually do: the 90th percentile of the moves between the runs of
    the trailing ``history_days`` that lie as many days apart, of which ``min_runs`` must be there.

    ``psi`` (null: none) and ``coverage_drop`` (share of the coverage before that may be lost) are the limits of tags that
    declare none. Fewer than ``min_users`` users are warned of and held by nothing: a small shop moves by itself. Nor is
    anything held more than ``max_gap_days`` after the run before. A feed is told of where it has less than
    ``feed_short`` of its usual rows, or more than the inverse.
    """

    psi: float | None = Field(default=0.25, gt=0)
    coverage_drop: float | None = Field(default=0.5, gt=0, le=1)
    min_users: int = Field(default=500, ge=1)
    max_gap_days: int = Field(default=7, ge=1)
    watch: float = Field(default=0.10, gt=0)
    act: float = Field(default=0.25, gt=0)
    history_days: int = Field(default=28, ge=1)
    min_runs: int = Field(default=7, ge=1)
    times_usual: float = Field(default=2.0, ge=1)
    feed_short: float = Field(default=0.5, gt=0, lt=1)


# --- bins ---


def users_by_bin(column: pa.Array, is_member: np.ndarray, as_of: dt.date) -> dict[str, list[int]]:
    """Visitors and members by bin, of one column in which null and the text ``unknown`` say the same.

    Texts may come encoded by a dictionary without doubles.
    """
    if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
        names, at = _texts(column)
    elif pa.types.is_boolean(column.type):
        names = ["false", "true", UNKNOWN]
        at = pc.fill_null(column.cast(pa.int8()), 2).to_numpy(zero_copy_only=False)
    else:
        names, at = _numbers(column, as_of)
    counts = np.bincount(at.astype(np.int64) * 2 + is_member, minlength=2 * len(names)).reshape(-1, 2)
    found: dict[str, list[int]] = {}
    for i in np.flatnonzero(counts.sum(axis=1)):
        into = found.setdefault(names[i], [0, 0])
        into[0] += int(counts[i, 0])
        into[1] += int(counts[i, 1])
    return found


def aged_distribution(
    column: pa.Array, is_member: np.ndarray, measured: dt.date, as_of: dt.date
) -> dict[str, list[int]]:
    """``users_by_bin`` on ``as_of`` of ages that were measured before and that nothing changed since.

    What only grew older since then is no move: a cohort that passes from one interval of ages into the next is the same.
    """
    if not pa.types.is_date(column.type):
        column = pc.add(column.cast(pa.int64()), (as_of - measured).days)
    return users_by_bin(column, is_member, as_of)


def _texts(column: pa.Array) -> tuple[list[str], np.ndarray]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = [*encoded.dictionary.to_pylist(), UNKNOWN]
    return names, from_arrow(encoded.indices, np.dtype(np.int32), len(names) - 1, "indices")


def _numbers(column: pa.Array, as_of: dt.date) -> tuple[list[str], np.ndarray]:
    """Bins by place: what lies below zero in falling size, zero, what lies above in rising size, unknown."""
    if pa.types.is_date(column.type):
        days = column.cast(pa.int32())
        column = pc.subtract(day_number(as_of), days)
    values, known = numbers_and_known(column)
    n = len(_EDGES) + 1
    place = np.full(len(values), n)
    # most users have none of most things: only the others are searched
    other = np.flatnonzero(values)
    sizes = values[other].astype(np.float64)
    place[other] += np.sign(sizes).astype(np.int64) * (1 + np.searchsorted(_EDGES, np.abs(sizes), side="right"))
    if known is not None:
        place[~known] = 2 * n + 1
    return _NUMBER_NAMES, place


def _interval(i: int) -> str:
    """Name of the i-th interval above zero (0: below the first edge)."""
    low = "0" if i == 0 else _EDGE_TEXTS[i - 1]
    high = _EDGE_TEXTS[i] if i < len(_EDGE_TEXTS) else None
    if high is None:
        return f">= {low}"
    return f"({low}, {high})" if i == 0 else f"[{low}, {high})"


def _below_zero(i: int) -> str:
    low = "0" if i == 0 else "-" + _EDGE_TEXTS[i - 1]
    high = "-" + _EDGE_TEXTS[i] if i < len(_EDGE_TEXTS) else None
    if high is None:
        return f"<= {low}"
    return f"({high}, {low})" if i == 0 else f"({high}, {low}]"


_NUMBER_NAMES = [
    *(_below_zero(i) for i in reversed(range(len(_EDGES) + 1))),
    "0",
    *(_interval(i) for i in range(len(_EDGES) + 1)),
    UNKNOWN,
]


def bins_of_bucket(slices: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """``users_by_bin`` of the slices of one bucket together, the most frequent texts by name.

    Cut here and not by slice: how many slices there are depends on the machine, and figures must not.
    """
    found: dict[str, list[int]] = {}
    for part in slices:
        for name, (visitors, members) in part.items():
            into = found.setdefault(name, [0, 0])
            into[0] += visitors
            into[1] += members
    if len(found) <= MOST_VALUES_OF_A_BUCKET:
        return found
    order = sorted(found, key=lambda b: (b != UNKNOWN, -sum(found[b]), b))
    kept = {b: found[b] for b in order[:MOST_VALUES_OF_A_BUCKET]}
    into = kept.setdefault(OTHER, [0, 0])
    for b in order[MOST_VALUES_OF_A_BUCKET:]:
        into[0] += found[b][0]
        into[1] += found[b][1]
    return kept


def merged_bins(parts: Iterable[Mapping[str, Iterable[int]]]) -> tuple[Bins, Bins]:
    """Visitors and members by bin over all buckets: the 50 most frequent values of each, the rest in ``other``."""
    sums: tuple[Bins, Bins] = ({}, {})
    for part in parts:
        for name, counts in part.items():
            for into, users in zip(sums, counts, strict=True):
                if users:
                    into[name] = into.get(name, 0) + users
    return _most_frequent(sums[0]), _most_frequent(sums[1])


def _most_frequent(bins: Bins) -> Bins:
    values = sorted((b for b in bins if b not in (UNKNOWN, OTHER)), key=lambda b: (-bins[b], b))
    if len(values) + (OTHER in bins) <= MOST_VALUES:
        return bins
    kept = {b: bins[b] for b in (*values[:MOST_VALUES], UNKNOWN) if b in bins}
    return kept | {OTHER: bins.get(OTHER, 0) + sum(bins[b] for b in values[MOST_VALUES:])}


# --- figures ---


def coverage(bins: Mapping[str, int]) -> float | None:
    """Share of the users with a value other than unknown; None of nobody."""
    users = sum(bins.values())
    return None if not users else 1 - bins.get(UNKNOWN, 0) / users


def psi(expected: Mapping[str, int], actual: Mapping[str, int]) -> float | None:
    """Population stability index: the sum over bins of (a - e) * ln(a / e), a and e being shares; None without users.

    A bin that one side has not counts there as half a user, the other bins staying as they are; otherwise the logarithm
    has no value. Where one side has cut its values to the most frequent ones, values that are not in both are
    ``other`` on both.
    """
    if _is_cut(expected) or _is_cut(actual):
        both = {*expected} & {*actual} | {UNKNOWN}
        expected, actual = _others_together(expected, both), _others_together(actual, both)
    n, m = sum(expected.values()), sum(actual.values())
    if not n or not m:
        return None
    terms = []
    for b in {*expected, *actual}:
        e, a = (expected.get(b) or 0.5) / n, (actual.get(b) or 0.5) / m
        terms.append((a - e) * math.log(a / e))
    return math.fsum(terms)


def _is_cut(bins: Mapping[str, int]) -> bool:
    """``other`` beside as many values as are named at most; a tag with few values may well have one of that name."""
    return OTHER in bins and len([b for b in bins if b not in (OTHER, UNKNOWN)]) >= MOST_VALUES


def _others_together(bins: Mapping[str, int], named: set[str]) -> Bins:
    found: Bins = {}
    for b, users in bins.items():
        into = b if b in named else OTHER
        found[into] = found.get(into, 0) + users
    return found


def usual_move(moves: Iterable[float]) -> float:
    """The 90th percentile (type 7) of PSI between runs: two weekends among ten days are as usual as the other days."""
    ordered = sorted(moves)
    place = 0.9 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


# --- verdicts ---


@dataclass(frozen=True)
class Judgement:
    """How far a tag's values moved, and what that means. ``usual``: as far as they usually move; None while unknown.

    ``cause``: what the verdict rests on where it is neither ``first`` nor ``stable`` (psi, coverage, few_runs), which
    ``reason`` says in words. ``breaks``: a limit is broken, so that a tag whose owner asks for it is held.
    """

    verdict: str
    psi: float | None = None
    usual: float | None = None
    cause: str | None = None
    reason: str | None = None
    breaks: bool = False


def judge(
    tag: Tag, good: Mapping[str, int] | None, now: Mapping[str, int], usual: float | None, settings: QualitySettings
) -> Judgement:
    """The verdict on values ``now`` against ``good`` ones, ``first`` without any.

    A tag's own PSI limit stands in the place of ``act``; where that is null its PSI is never more than watched. What it
    usually does is no break, however much that is; before that is known there is none either, save of the least
    coverage that the tag's owner declared: that counts where the values before kept it.
    """
    moved = None if good is None else psi(good, now)
    if good is None or moved is None:
        return Judgement(FIRST)
    was, known = coverage(good) or 0.0, coverage(now) or 0.0
    least = tag.limit("coverage", None)
    if least is not None and known < least <= was:
        return Judgement("act", moved, usual, "coverage", f"coverage {known:.1%} below its limit {least:.1%}", True)
    drop = None if tag.declares("coverage") else settings.coverage_drop
    lost = f"coverage {known:.1%} after {was:.1%}" if drop is not None and known < (1 - drop) * was else None
    line = tag.limit("psi", settings.act)
    if lost is None and moved < min(settings.watch, line or settings.watch):
        return Judgement("stable", moved, usual)
    if usual is None:
        return Judgement(
            NO_REFERENCE, moved, None, "few_runs", f"PSI {moved:.2f}, how far it usually moves is not known"
        )
    if moved <= settings.times_usual * usual:
        return Judgement("stable", moved, usual)
    said = f"PSI {moved:.2f}, usually up to {usual:.2f}"
    if lost is not None:
        return Judgement("act", moved, usual, "coverage", f"{lost}; {said}", True)
    if line is None or moved < line:
        return Judgement("watch", moved, usual, "psi", said)
    limit = tag.limit("psi", settings.psi)
    return Judgement("act", moved, usual, "psi", said, limit is not None and moved >= limit)


def causes(catalogue: Catalogue, broken: Iterable[str], held: Iterable[str]) -> list[str]:
    """Of tags that moved too far those that build on no other such tag, nor on a held one: the rest may only follow."""
    broken = list(broken)
    suspects = {("tag", n) for n in (*broken, *held)}
    return [n for n in broken if not (catalogue.closure([("tag", n)]) - {("tag", n)}) & suspects]


def declarations(catalogue: Catalogue, fits: Mapping[Node, str]) -> dict[str, str]:
    """Two hashes per tag, ``DECLARED.FITTED``, over all that its values come from.

    The first is of its declaration with version and of whatever it builds on, words aside: runs that differ in it are
    not compared, the values moved on purpose. The second is of ``fits``, which say when kept numbers and models that it
    builds on were made: runs that differ in it alone are compared, and nothing is held.
    """
    said: dict[Node, str] = {}
    for name, tag in catalogue.tags.items():
        said[("tag", name)] = _hashed(tag.model_dump(mode="json", by_alias=True, exclude=_WORDS_OF_A_TAG))
    for name, fact in catalogue.facts.items():
        said[("fact", name)] = fact.key
    for name, b in catalogue.breaks.items():
        said[("break", name)] = _hashed(b.spec.content())
    for name, model in catalogue.models.items():
        said[("model", name)] = _hashed(model.spec.model_dump(mode="json"))
    reached: dict[Node, set[Node]] = {}
    for node in catalogue.order:
        reached[node] = {node}.union(*(reached[n] for n in catalogue.needs.get(node, ())))
    found = {}
    for name in catalogue.tags:
        below = sorted(reached[("tag", name)])
        declared = _hashed([[*node, said.get(node, "")] for node in below])
        found[name] = f"{declared}.{_hashed([[*n, fits[n]] for n in below if n in fits])[:6]}"
    return found


def same_declaration(spec: str | None, other: str | None) -> bool:
    """Whether two specs of ``declarations`` may be compared."""
    return spec is not None and other is not None and spec.split(".")[0] == other.split(".")[0]


def _hashed(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]
