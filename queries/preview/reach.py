"""Whom each platform's file would reach, of any people of a release: counted by bits that lie ready, in milliseconds.

A file is judged as ``project.audience_file`` judges it: contacts, consent and merges as they are now. What of that is the
same for every audience is made once and kept beside the release's columns until one of the tables moves: by kind and
form of an id, who has one that may leave, whose cannot, whose another refused, and which people share one. These are bits
and uids; no contact or id is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audiences.bits import Bits, how_many, packed
from audiences.contacts import NO_FORM, SHAPES
from audiences.funnel import (
    CAPPED,
    DO_NOT_CONTACT,
    INVALID,
    NO_CONTACT,
    NO_MEMBER,
    ONE_PERSON,
    REFUSED_BY_ANOTHER,
    REFUSED_MARKETING,
    REPEATED,
    SILENT,
)
from audiences.language import Audience
from audiences.platforms import OWN, PlatformColumn
from campaigns.touches import TOUCHES
from features.kernel.arrays import from_arrow, to_arrow
from lake.budget import in_memory
from project.audience import USERS, refuse_missing
from project.audience_file import IDENTIFIERS, MEMBERS, FoundContacts, refuse_lacking
from project.folder import Project
from project.platforms import Target, target_of
from project.suppressed import rules_mark, suppressed_people
from queries.preview.release_columns import ReleaseColumns
from schemas.errors import HuaxiangError
from schemas.quarantine import literal

OF_KIND = """
select uid, s{i} is not null as valid, r{i} is not null as invalid,
    coalesce(s{i} in (select text from read_parquet({refused})), false) as refused,
    case when s{i} is not null and count(*) over (partition by s{i}) > 1 then min(uid) over (partition by s{i}) end as elder
from read_parquet({shaped}) order by uid
"""
FOUND = """
select uid, refused, known, coalesce(suppressed = $listed, false) as listed, coalesce(suppressed = $capped, false) as capped
from found order by uid
"""
ALONE = -1
"""In place of the eldest person who has the same."""
OF_EVERY_MEMBER = PlatformColumn(id="member_id")
PEOPLE = ("is_member", "refused", "known", "listed", "capped")
KINDS = ("valid", "invalid", "refused")


@dataclass(frozen=True)
class PlatformReach:
    """How many of some people the file for a platform would hold, and how many others by the reason why not.

    ``ids`` are the kinds of contact or id that it is sent, none where the file has none and holds everybody. ``problem``
    says why nothing can be delivered there; then nothing is counted.
    """

    platform: str
    zh: str
    en: str
    ids: tuple[str, ...]
    users: int
    deliverable: int
    left_out: dict[str, int]
    problem: str | None = None


class _Kind(NamedTuple):
    """An id as it is written: ``country`` only where its form asks for one; ``is_hashed`` where a digest is judged by it.

    ``consent`` is the channel or purpose, whose refusals are others; empty: all marketing.
    """

    id: str
    shape: str
    is_hashed: bool
    country: str
    consent: str

    @classmethod
    def of(cls, column: PlatformColumn, country: str, consent: str | None) -> _Kind:
        kind = str(column.id)
        shape = column.shape or SHAPES.get(kind, ("as_is",))[0]
        return cls(
            kind,
            shape,
            column.hash != "clear" and kind not in NO_FORM,
            country if kind == "phone" else "",
            consent or "",
        )

    @property
    def column(self) -> PlatformColumn:
        shape = self.shape if self.id in SHAPES else None
        return PlatformColumn(id=self.id, shape=shape, hash="sha256" if self.is_hashed else "clear")

    @property
    def name(self) -> str:
        said = [self.id, self.shape, "hashed" * self.is_hashed or "clear", self.country or "any"]
        return "-".join([*said, *([self.consent] if self.consent else [])])


class _Groups(NamedTuple):
    """People of whom one may be there: their rows in ascending order, and a number that those of a group share."""

    rows: np.ndarray
    group: np.ndarray

    def after_the_first(self, inside: Bits, users: int) -> Bits:
        """Of who is inside all but the first of each group."""
        found = np.zeros(users, np.bool_)
        word, bit = self.rows >> 6, (self.rows & 63).astype(np.uint64)
        here = (inside[word] >> bit) & np.uint64(1) == 1
        rows, group = self.rows[here], self.group[here]
        again = np.ones(len(rows), np.bool_)
        again[np.unique(group, return_index=True)[1]] = False
        found[rows[again]] = True
        return packed(found)


class _Judged(NamedTuple):
    """Bits of everybody for one kind of id, and who share one."""

    valid: Bits
    invalid: Bits
    refused: Bits
    shared: _Groups


class ReachBits:
    """Counts of one release with contacts and consents as they are when this is made; ``is_current`` says when to make another."""

    def __init__(self, project: Project, columns: ReleaseColumns):
        self.project, self.columns = project, columns
        self.uid, self.users = columns.profile.uid, len(columns.profile.uid)
        self.versions = self._versions()
        mark = hashlib.sha256(json.dumps(self.versions).encode()).hexdigest()[:16]
        self.name = f"{columns.name}/_reach-{mark}"
        self._kinds: dict[_Kind, _Judged] = {}
        self._people: dict[str, list[Bits]] = {}

    @property
    def is_current(self) -> bool:
        """Whether no table of contacts has moved since."""
        return self.versions == self._versions()

    def of(
        self, audience: Audience, members: Bits, platforms: Sequence[str] | None = None
    ) -> tuple[PlatformReach, ...]:
        """The people ``members`` at these platforms (absent: the audience's own file, and every platform of the project)."""
        names = (None, *self.project.platforms) if platforms is None else platforms
        found: dict[str | None, Target | HuaxiangError] = {}
        for name in names:
            try:
                found[name] = self._target(audience, name)
            except HuaxiangError as e:
                found[name] = e
        targets = [t for t in found.values() if isinstance(t, Target)]
        self._make({k for t in targets for k in _kinds_of(t)})
        required = audience.definition.consent == "required"
        by_consent: dict[str, list[Target]] = {}
        for target in targets:
            by_consent.setdefault(target.platform.consent or "", []).append(target)
        counted = {c: self._counted_by_kind(members, required, c, those) for c, those in by_consent.items()}
        users = how_many(members)
        return tuple(self._one(audience, name, target, users, counted) for name, target in found.items())

    def _target(self, audience: Audience, name: str | None) -> Target:
        target = target_of(self.project, audience, name)
        wanted = [c.profile for c in target.columns if c.profile not in (None, "as_of")]
        if self._stored is not None:
            refuse_missing(self.columns.at, self._stored, [str(c) for c in wanted])
        refuse_lacking(self._kept_of_members, target)
        return target

    @cached_property
    def _kept_of_members(self) -> list[str]:
        """Columns of the table of members; to ask the table takes longer than to count."""
        return list(self.project.lake.dataset(MEMBERS).schema.names)

    @cached_property
    def _stored(self) -> list[str] | None:
        files = self.columns.profile.files.local()
        return list(pq.read_schema(files[0]).names) if files else None

    def _one(
        self,
        audience: Audience,
        name: str | None,
        target: Target | HuaxiangError,
        users: int,
        counted: dict[str, _Counted],
    ) -> PlatformReach:
        known = self.project.platforms.get(name or "")
        words = known.platform.name if known else audience.definition.name
        if isinstance(target, HuaxiangError):
            return PlatformReach(name or OWN, words.zh, words.en, (), users, 0, {}, str(target))
        ids = tuple(dict.fromkeys(str(c.id) for c in target.platform.ids))
        if not ids:
            return PlatformReach(target.id, words.zh, words.en, (), users, users, {})
        of_all = counted[target.platform.consent or ""]
        written, lost = of_all.at(_kinds_of(target))
        left_out = {reason: n for reason, n in {**of_all.before, **lost}.items() if n}
        return PlatformReach(target.id, words.zh, words.en, ids, users, written, left_out)

    def _counted_by_kind(self, members: Bits, required: bool, consent: str, targets: Sequence[Target]) -> _Counted:
        """What comes before any id: merges and consent; and of each kind, who is left and who stands in the file already."""
        if not any(t.platform.ids for t in targets):
            return _Counted({}, members, {})
        is_member, refused, known, listed, capped = self._people_of(consent)
        merged = self._merged.after_the_first(members, self.users)
        persons = members & ~merged
        asked = persons & is_member
        before = {ONE_PERSON: how_many(merged), NO_MEMBER: how_many(persons & ~is_member)}
        if required:
            before[REFUSED_MARKETING] = how_many(asked & refused)
            asked = asked & ~refused
            if self.project.settings.unknown_consent != "allow":
                before[SILENT] = how_many(asked & ~known)
                asked = asked & known
        for reason, held_back in ((DO_NOT_CONTACT, listed), (CAPPED, capped)):
            before[reason] = how_many(asked & held_back)
            asked = asked & ~held_back
        kinds = {}
        for kind in {k for t in targets for k in _kinds_of(t)}:
            judged = self._kinds[kind]
            valid = asked & judged.valid
            by_another = valid & judged.refused if required else np.zeros_like(valid)
            repeated = judged.shared.after_the_first(valid & ~by_another, self.users)
            kinds[kind] = _OfKind(valid & ~by_another & ~repeated, by_another, repeated, asked & judged.invalid)
        return _Counted(before, asked, kinds)

    # --- what is the same for every audience ---

    def prepare(self) -> None:
        """Make what every platform of the project needs, so that nobody who asks waits for it."""
        country = self.project.settings.default_country
        platforms = [p.platform for p in self.project.platforms.values()]
        have = self.project.lake.dataset(MEMBERS).schema.names
        self._make({_Kind.of(c, p.country or country, p.consent) for p in platforms for c in p.ids if c.id in have})

    def _versions(self) -> list[int | str | None]:
        tables = [self.project.lake.version(t) for t in (MEMBERS, IDENTIFIERS, USERS, TOUCHES)]
        return [*tables, *rules_mark(self.project)]

    @cached_property
    def _persons(self) -> np.ndarray:
        """Of everybody the uid of the person that they are one with by now."""
        person = self.uid.copy()
        for path in self.project.lake.local(self.project.lake.files(USERS)):
            rows = pq.ParquetFile(path).read(["uid", "merged_into_uid"]).drop_null()
            uid, into = (from_arrow(rows[c], np.dtype(np.int64), None, c) for c in ("uid", "merged_into_uid"))
            place = np.searchsorted(self.uid, uid)
            there = place < len(self.uid)
            there[there] = self.uid[place[there]] == uid[there]
            person[place[there]] = into[there]
        return person

    @cached_property
    def _merged(self) -> _Groups:
        """Rows that are one person with another row."""

        def made() -> pa.Table:
            distinct, at, many = np.unique(self._persons, return_inverse=True, return_counts=True)
            rows = np.flatnonzero(many[at] > 1)
            return _groups_to_table(rows, distinct[at[rows]])

        return _groups(self.columns.cache.made(f"{self.name}-merged", made))

    def _people_of(self, consent: str) -> list[Bits]:
        """Who is a member, refused the channel or all marketing, said anything of it, and is held back by a rule."""
        if consent not in self._people:
            kept = self.columns.cache.table(self._people_name(consent))
            made = self._judge([_Kind.of(OF_EVERY_MEMBER, "", consent)]) if kept is None else kept
            self._people[consent] = _bits(made, PEOPLE)
        return self._people[consent]

    def _people_name(self, consent: str) -> str:
        return f"{self.name}-people-{consent or 'all'}"

    def _make(self, wanted: Iterable[_Kind]) -> None:
        lacking = []
        for kind in sorted(set(wanted) - set(self._kinds)):
            if not self._map(kind):
                lacking.append(kind)
        for together in sorted({(k.country, k.consent) for k in lacking}):
            self._judge([k for k in lacking if (k.country, k.consent) == together])

    def _map(self, kind: _Kind) -> bool:
        bits = self.columns.cache.table(f"{self.name}-{kind.name}")
        shared = self.columns.cache.table(f"{self.name}-{kind.name}-shared")
        if bits is None or shared is None:
            return False
        self._kinds[kind] = _judged(bits, shared)
        return True

    def _judge(self, kinds: Sequence[_Kind]) -> pa.Table:
        """Everybody's ids of these kinds (of one country and channel) judged as for a file, and kept; what is kept of the people."""
        country, consent = kinds[0].country, kinds[0].consent
        columns = [k.column for k in kinds]
        lake, put = self.project.lake, self.columns.cache.put
        with TemporaryDirectory(prefix="huaxiang-") as scratch, in_memory() as con:
            for name, source in (("members", MEMBERS), ("identifiers", IDENTIFIERS), ("users", USERS)):
                con.register(name, lake.dataset(source))
            contacts = FoundContacts(con, Path(scratch), columns, country, consent or None)
            held_back, _ = suppressed_people(self.project, self.columns.at, Path(scratch))
            contacts.find(pa.array(np.unique(self._persons), pa.int64()), held_back)
            found = con.sql(FOUND, params={"listed": DO_NOT_CONTACT, "capped": CAPPED}).to_arrow_table()
            people = self._spread(found.append_column("is_member", pa.repeat(True, len(found))), PEOPLE)
            kept = put(self._people_name(consent), people)
            contacts.shape("true", refusals=True)
            for i, kind in enumerate(kinds):
                shaped, refused = (literal(str(Path(scratch) / f"{n}.parquet")) for n in ("shaped", f"refused{i}"))
                judged = con.sql(OF_KIND.format(i=i, shaped=shaped, refused=refused)).to_arrow_table()
                bits = put(f"{self.name}-{kind.name}", self._spread(judged, KINDS))
                shared = put(f"{self.name}-{kind.name}-shared", self._shared(judged))
                self._kinds[kind] = _judged(bits, shared)
        return kept

    def _spread(self, found: pa.Table, names: Sequence[str]) -> pa.Table:
        """Flags of persons as bits of everybody's rows."""
        at, there = self._places(found)
        arrays = []
        for name in names:
            held = np.zeros(self.users, np.bool_)
            held[there] = from_arrow(found[name], np.dtype(np.bool_), None, name)[at]
            arrays.append(to_arrow(packed(held), None, pa.uint64()))
        return pa.table(arrays, names=list(names))

    def _shared(self, found: pa.Table) -> pa.Table:
        at, there = self._places(found)
        elder = from_arrow(found["elder"], np.dtype(np.int64), ALONE, "elder")[at]
        return _groups_to_table(there[elder != ALONE], elder[elder != ALONE])

    def _places(self, found: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Where the persons of rows stand among those found, and the rows whose person is among them."""
        uid = from_arrow(found["uid"], np.dtype(np.int64), None, "uid")
        place = np.searchsorted(uid, self._persons)
        there = place < len(uid)
        there[there] = uid[place[there]] == self._persons[there]
        rows = np.flatnonzero(there)
        return place[rows], rows


def _kinds_of(target: Target) -> list[_Kind]:
    """The ids of a file, in the order of its columns."""
    return [_Kind.of(c, target.country, target.platform.consent) for c in target.platform.ids]


class _OfKind(NamedTuple):
    """Of who is asked: whose id leaves, whose another refused, whose stands in the file already, whose is none."""

    leaves: Bits
    by_another: Bits
    repeated: Bits
    invalid: Bits


@dataclass(frozen=True)
class _Counted:
    """People lost before any id is looked at, by reason; who is left; and what of them each kind of id says."""

    before: dict[str, int]
    asked: Bits
    kinds: dict[_Kind, _OfKind]

    def at(self, kinds: Sequence[_Kind]) -> tuple[int, dict[str, int]]:
        """How many a file with these ids holds, and why it does not hold the others: the first reason that is true of them."""
        of = [self.kinds[k] for k in kinds]
        leaves = reduce(or_, (k.leaves for k in of))
        lost, found = self.asked & ~leaves, {}
        reasons = {REFUSED_BY_ANOTHER: [k.by_another for k in of], REPEATED: [k.repeated for k in of]}
        for reason, those in {**reasons, INVALID: [k.invalid for k in of]}.items():
            here = lost & reduce(or_, those)
            found[reason], lost = how_many(here), lost & ~here
        return how_many(leaves), {**found, NO_CONTACT: how_many(lost)}


def _bits(table: pa.Table, names: Sequence[str]) -> list[Bits]:
    return [from_arrow(table[n], np.dtype(np.uint64), None, n) for n in names]


def _judged(bits: pa.Table, shared: pa.Table) -> _Judged:
    valid, invalid, refused = _bits(bits, KINDS)
    return _Judged(valid, invalid, refused, _groups(shared))


def _groups(table: pa.Table) -> _Groups:
    rows, group = (from_arrow(table[n], np.dtype(np.int64), None, n) for n in ("rows", "group"))
    return _Groups(rows, group)


def _groups_to_table(rows: np.ndarray, group: np.ndarray) -> pa.Table:
    arrays: list[Any] = [to_arrow(v.astype(np.int64), None, pa.int64()) for v in (rows, group)]
    return pa.table(arrays, names=["rows", "group"])
