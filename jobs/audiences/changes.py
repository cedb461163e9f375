"""Rows of the log of an audience: who came and who went, which condition decided, from what to what, and in which arms they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from audiences import evaluate as ev
from audiences.plan import Leaf, Plan, walk
from jobs.audiences.columns import Inputs, bucket_columns, columns_of
from jobs.campaigns.assigned import people_of
from schemas.money import money_cell

ABSENT, SAME_DATA, FIRST_BUILD = -1, -2, -3
"""In place of a node's number: not among the users judged; a member already by what the data of then says now; no build before."""


@dataclass(frozen=True)
class JudgedBucket:
    """Users of a bucket in order of uid: what they were judged by, whether each is a member, and the node that decided."""

    uid: np.ndarray
    columns: dict[str, pa.ChunkedArray]
    members: np.ndarray
    deciding: np.ndarray

    def places(self, uid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether each uid is among the users, and where those that are stand."""
        there = np.isin(uid, self.uid, assume_unique=True)
        return there, np.searchsorted(self.uid, uid[there])


def judged_bucket(plan: Plan, inputs: Inputs | None) -> JudgedBucket:
    """The bucket's users; without inputs there are none."""
    if inputs is None:
        return JudgedBucket(np.empty(0, np.int64), {}, np.empty(0, np.bool_), np.empty(0, np.int32))
    table = bucket_columns(inputs)
    columns = columns_of(table)
    outcome = ev.evaluate(plan, columns, len(table))
    return JudgedBucket(table["uid"].to_numpy(), columns, outcome.members, outcome.deciding())


def logged_changes(plan: Plan, item: Inputs, now: JudgedBucket, enters: np.ndarray, exits: np.ndarray) -> pa.Table:
    """Enters and then exits: uid, change, reason, the values before and now that the deciding condition looks at, arms.

    What kept each out at the build before and does so no more, and what keeps each out now.
    """
    is_known = item["before"] is not None and (len(enters) or len(exits))
    before = judged_bucket(plan, item["before"]) if is_known else None
    changed = "the definition changed" if item["definition_changed"] else "the data of then was corrected"
    why_in, why_out = _deciding_enters(plan, item, before, enters), _deciding(now, exits)
    came = _worded(plan, why_in, {ABSENT: "new in the base", SAME_DATA: changed, FIRST_BUILD: "first build"})
    went = _worded(plan, why_out, {ABSENT: "left the base (merged or erased)"})
    uid, number = np.concatenate([enters, exits]), np.concatenate([why_in, why_out])
    nobody = pa.nulls(len(uid), pa.string())
    return pa.table(
        {
            "uid": pa.array(uid, pa.int64()),
            "change": pa.concat_arrays([pa.repeat("enter", len(enters)), pa.repeat("exit", len(exits))]),
            "reason": pa.concat_arrays([came, went]),
            "value_before": nobody if before is None else _values(plan, before, uid, number, item["currency"]),
            "value_now": _values(plan, now, uid, number, item["currency"]),
            "split_group": _arms(item["arms"], uid),
        }
    )


def _deciding_enters(plan: Plan, item: Inputs, before: JudgedBucket | None, enters: np.ndarray) -> np.ndarray:
    """The node that kept each out at the build before; all of ``include`` where nobody can tell."""
    if item["first_build"]:
        return np.full(len(enters), FIRST_BUILD, np.int64)
    if before is None:
        return np.full(len(enters), plan.root.include.number, np.int64)
    there, at = before.places(enters)
    number = _deciding(before, enters)
    number[there] = np.where(before.members[at], SAME_DATA, number[there])
    return number


def _deciding(of: JudgedBucket, uid: np.ndarray) -> np.ndarray:
    there, at = of.places(uid)
    number = np.full(len(uid), ABSENT, np.int64)
    number[there] = of.deciding[at]
    return number


def _worded(plan: Plan, numbers: np.ndarray, other: dict[int, str]) -> pa.Array:
    """The reason of every number of a node, or what ``other`` says of a number that is none; each is worded once."""
    distinct, at = np.unique(numbers, return_inverse=True)
    texts = [other[n] if n in other else ev.reason(plan, n) for n in distinct.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(at))


def _values(plan: Plan, of: JudgedBucket, uid: np.ndarray, number: np.ndarray, currency: str) -> pa.Array:
    """What the leaf of each number looks at is for each uid; null where it is no leaf, or the uid is not there."""
    leaves = {node.number: node for _, node in walk(plan.root) if isinstance(node, Leaf)}
    texts = np.full(len(uid), None, object)
    for n in np.unique(number).tolist():
        if n not in leaves:
            continue
        here = np.flatnonzero(number == n)
        # By uid, and back: enters and exits are two runs of ascending uids.
        there = np.isin(uid[here], of.uid)
        rows = np.searchsorted(of.uid, uid[here[there]])
        found = of.columns[leaves[n].column].take(pa.array(rows, pa.int64())).combine_chunks()
        kept = found if isinstance(found, pa.DictionaryArray) else found.dictionary_encode(null_encoding="encode")
        words = np.array([_shown(v, leaves[n], currency) for v in kept.dictionary.to_pylist()], object)
        at = kept.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        texts[here[there]] = np.append(words, ev.UNKNOWN)[at]
    return pa.array(texts.tolist(), pa.string())


def _shown(value: Any, leaf: Leaf, currency: str) -> str:
    """A value as the condition's words show theirs."""
    if value is None or value != value:
        return ev.UNKNOWN
    if isinstance(value, bool):
        return str(value).lower()
    if leaf.unit == "minor":
        return money_cell(value, currency)
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _arms(given: dict[str, Inputs], uid: np.ndarray) -> pa.Array:
    """``CAMPAIGN:ARM`` of each uid in every campaign; null where there is none."""
    if not given:
        return pa.nulls(len(uid), pa.string())
    said: list[list[str]] = [[] for _ in uid]
    for campaign in sorted(given):
        holders = people_of(given[campaign])
        arms = holders.texts("arm")
        place = np.searchsorted(holders.uid, uid)
        for i, at in enumerate(place.tolist()):
            if at < len(holders.uid) and holders.uid[at] == uid[i]:
                said[i].append(f"{campaign}:{arms[at]}")
    return pa.array(["; ".join(arms) or None for arms in said], pa.string())
