"""Columns of one release that plans are judged by, and the judging: what a portal holds while people write audiences."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiences.bits import WORD, Bits, Kleene, flags, how_many, packed, truth_of_numbers
from audiences.evaluate import leaf_truth
from audiences.plan import Leaf, ListedBefore, Listing, Plan, Test, alert_column, walk
from audiences.tally import Sized, sized
from features.facts import Fact
from features.instants import day_number
from features.kernel import Products
from features.kernel.arrays import from_arrow, to_arrow
from features.kernel.products import Codes
from lake.lake import Lake
from lake.local_cache import LocalCache
from lake.releases import Release, lake_at
from project.audience import PROFILE, Meanings, alert_files, codes_of, days_to_come, facts_of, meanings_of, sequences_of
from project.listings import ListedPeople, Lister
from project.products import products_as_of, skus_named
from queries.preview.events import Events
from queries.preview.files import BucketedFiles, name_of
from queries.preview.profile_bits import ProfileBits
from schemas.contracts import Type
from schemas.measures import CATEGORY_KEYS, CODED_KEYS, PRODUCT_CONDITIONS

ACTIVITY = "activity.activity"
OF_EVERYBODY = ("uid", "user_id", "as_of")
"""Columns that conditions may name and that are no tags: they are judged as they are."""


class ReleaseColumns:
    """Columns are made or mapped when a plan first asks for them, and stay mapped while this object is there."""

    def __init__(self, lake: Lake, at: Release, cache: LocalCache):
        self.lake, self.at, self.cache = lake_at(lake, at), at, cache
        self.name = name_of(at)
        self._counts: dict[str, tuple[tuple[str, int], ...]] = {}
        self._named_so: dict[str, tuple[str, ...]] = {}
        self.profile = ProfileBits(at, BucketedFiles(lake, at, PROFILE, cache, as_of=at.as_of), cache, self.name)

    @cached_property
    def events(self) -> Events:
        return Events(
            BucketedFiles(self.lake, self.at, ACTIVITY, self.cache), self.cache, self.at.as_of, self.lake.zone
        )

    def judged(self, plan: Plan) -> tuple[Sized, tuple[str, ...]]:
        """Everybody judged by the plan, and names in it that never occur."""
        facts = {fact.column: fact for fact in facts_of(plan, self.at.as_of)}
        sequences = sequences_of(plan, self.at.as_of)
        asked = [*facts.values(), *(f for s in sequences.values() for f in (s.first, s.second))]
        names = meanings_of(
            asked, self.at.as_of, lambda: self._kept_codes, lambda: self._kept_products, self._skus_named
        )
        tags = {n.column: n.type for _, n in walk(plan.root) if isinstance(n, Leaf) and _is_tag(n, facts, plan)}
        columns = self.profile.columns(tags)
        alerts = alert_files(self.lake, self.at, plan.alerts)
        everybody, users = self.profile.everybody, len(self.profile.uid)
        people = {name: self._people(name, listing) for name, listing in plan.listings.items()}
        counts = {n: self._counted(fact, names) for n, fact in facts.items()}
        for name, sequence in sequences.items():
            counts[name] = self.events.followed(sequence, self.profile.uid, *self._named(names))

        def as_a_whole(node: Leaf) -> Kleene:
            if node.column in OF_EVERYBODY:
                return self._as_it_is(node)
            if node.column in people:
                return Kleene.certain(packed(among(self.profile.uid, people[node.column].uid)), everybody)
            return Kleene.certain(self._listed(alerts, node.column), everybody)

        others = {
            node.number: as_a_whole(node)
            for _, node in walk(plan.root)
            if isinstance(node, Leaf) and node.column not in columns and node.column not in counts
        }

        def leaf(node: Leaf, words: slice) -> Kleene:
            if node.column in columns:
                found = columns[node.column].cut(words).truth(node.tests, node.type, everybody[words])
            elif node.column in counts:
                values, known = counts[node.column]
                here = slice(words.start * WORD, words.stop * WORD)
                found = truth_of_numbers(node.tests, node.type, values[here], None if known is None else known[here])
            else:
                found = others[node.number].cut(words)
            return ~found if node.negated else found

        notes = [note for one in people.values() for note in one.notes]
        tally = sized(plan, users, everybody, leaf, self._cores)
        return tally, (*names.warnings, *days_to_come(plan, self.at.as_of), *notes)

    def value_counts(self, tag: str, type_: Type, most: int) -> tuple[tuple[str, int], ...]:
        """Values of a text or of true and false with their users, the most frequent first; held while this object is.

        Of a text with more values than ``most`` the most frequent; nothing for numbers and days, which have bands.
        """
        if tag not in self._counts:
            self._counts[tag] = self._count_values(tag, type_)
        return self._counts[tag][:most]

    def _count_values(self, tag: str, type_: Type) -> tuple[tuple[str, int], ...]:
        if type_ == "bool":
            column = self.profile.columns({tag: type_})[tag]
            everybody = self.profile.everybody
            asked = {
                str(v).lower(): column.truth((Test(op="is", values=(v,)),), type_, everybody) for v in (True, False)
            }
            return tuple((said, how_many(found.true)) for said, found in asked.items())
        if type_ != "string":
            return ()
        counted = pc.value_counts(self.profile.stored(tag).combine_chunks())
        values, users = counted.field("values"), counted.field("counts").to_pylist()
        texts = (values.dictionary_decode() if pa.types.is_dictionary(values.type) else values).to_pylist()
        found = [(t, n) for t, n in zip(texts, users, strict=True) if t]
        return tuple(sorted(found, key=lambda f: (-f[1], f[0])))

    def names_like(self, kind: str, typed: str, most: int) -> tuple[str, ...]:
        """Names of a condition on rows (``brand``, ``seller`` ...) that begin with, or hold, what somebody types."""
        wanted = typed.strip().lower()
        there = self._names(kind)
        first = [n for n in there if n.lower().startswith(wanted)]
        return tuple([*first, *(n for n in there if wanted in n.lower() and n not in set(first[:most]))][:most])

    def _names(self, kind: str) -> tuple[str, ...]:
        if kind not in self._named_so:
            if kind in CODED_KEYS:
                codes = self._kept_codes
                found = codes.filter(pc.equal(codes["code_kind"], kind))["code_value"].to_pylist()
            elif kind in PRODUCT_CONDITIONS:
                levels = CATEGORY_KEYS if kind == "in_category" else (kind,)
                found = [t for level in levels for t in pc.unique(self._kept_products[level]).to_pylist()]
            else:
                found = []
            self._named_so[kind] = tuple(sorted({t for t in found if t}))
        return self._named_so[kind]

    @cached_property
    def _cores(self) -> Executor | None:
        """Threads that judge blocks of users side by side: bits are compared outside Python's lock."""
        cores = len(os.sched_getaffinity(0))
        return ThreadPoolExecutor(cores, "preview") if cores > 1 else None

    def _people(self, name: str, listing: Listing) -> ListedPeople:
        """Whom a listing of that name lists, kept with the release's columns."""
        if isinstance(listing, ListedBefore):
            # What the log says of a day may change: that day can be built again.
            return self._lister.people(listing)

        def listed() -> pa.Table:
            found = self._lister.people(listing)
            made = pa.table([to_arrow(found.uid, None, pa.int64())], names=["uid"])
            return made.replace_schema_metadata({"notes": json.dumps(found.notes)})

        kept = self.cache.made(f"{self.name}/{name}", listed)
        notes = json.loads(kept.schema.metadata[b"notes"])
        return ListedPeople(from_arrow(kept["uid"], np.dtype(np.int64), None, "uid"), tuple(notes))

    @cached_property
    def _lister(self) -> Lister:
        return Lister(self.lake, self.at, self._uids_of)

    def _uids_of(self, plan: Plan) -> np.ndarray:
        tally, _ = self.judged(plan)
        return self.profile.uid[flags(tally.members, tally.users)]

    def members(self) -> Bits:
        """Who is a member of the shop; the others are visitors."""
        column = self.profile.columns({"is_member": "bool"})["is_member"]
        return column.truth((Test(op="is", values=(True,)),), "bool", self.profile.everybody).true

    def _counted(self, fact: Fact, names: Meanings) -> tuple[np.ndarray, np.ndarray | None]:
        return self.events.counted(fact, self.profile.uid, *self._named(names))

    def _named(self, names: Meanings) -> tuple[Products | None, Codes]:
        """Products, if something asks for them, and what the names in conditions stand for."""
        if names.products is None:
            return None, names.codes
        products, texts = self._products
        return products, {**names.codes, **texts}

    def _skus_named(self, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        return skus_named(self.lake, self.at.as_of, names)

    @cached_property
    def _kept_codes(self) -> pa.Table:
        return self.cache.made(f"{self.name}/_codes", lambda: codes_of(self.lake))

    @cached_property
    def _kept_products(self) -> pa.Table:
        return self.cache.made(f"{self.name}/_products", lambda: products_as_of(self.lake, self.at.as_of))

    @cached_property
    def _products(self) -> tuple[Products, dict[str, dict[str, int]]]:
        products, texts = Products.from_texts(self._kept_products)
        return products, {key: {text: i for i, text in enumerate(texts[key]) if text} for key in texts}

    def _as_it_is(self, node: Leaf) -> Kleene:
        if node.column == "user_id":
            return Kleene.of(leaf_truth(node.model_copy(update={"negated": False}), self.profile.stored("user_id")))
        uid = self.profile.uid
        values = uid if node.column == "uid" else np.full(len(uid), day_number(self.at.as_of), np.int32)
        return truth_of_numbers(node.tests, node.type, values, None)

    def _listed(self, alerts: Mapping[str, list[str]], column: str) -> Bits:
        """Whom an alert lists."""
        uid = self.profile.uid
        listed = np.zeros(len(uid), np.bool_)
        for name, paths in alerts.items():
            for path in self.lake.local(paths) if alert_column(name) == column else ():
                rows = pq.ParquetFile(path).read(["alert", "uid"])
                found = from_arrow(rows.filter(pc.equal(rows["alert"], name))["uid"], np.dtype(np.int64), None, "uid")
                listed |= np.isin(uid, found)
        return packed(listed)


def among(uid: np.ndarray, some: np.ndarray) -> np.ndarray:
    """A flag per uid: it is one of some others. Both ascend."""
    place = np.searchsorted(uid, some)
    place = place[place < len(uid)]
    found = np.zeros(len(uid), np.bool_)
    found[place] = uid[place] == some[: len(place)]
    return found


def _is_tag(node: Leaf, facts: Mapping[str, Any], plan: Plan) -> bool:
    return (
        node.column not in {*facts, *plan.sequences, *plan.listings}
        and node.column not in OF_EVERYBODY
        and not node.column.startswith(alert_column(""))
    )
