"""The one-user card for a chat's side bar: a few milliseconds each, once a release was opened for them.

Whoever serves a customer needs the person at once. The rows of a release's profile are written once to this machine in
small compressed batches (``lake.local_cache``), of which a card reads one; ids find their person by a salted number.
Ids and contacts are not in it: whoever may see them asks ``queries.user``, which notes it first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from features.kernel.arrays import from_arrow
from features.kernel.rows import USERS_PER_BUCKET
from lake.budget import in_memory
from lake.lake import Lake
from lake.local_cache import LocalCache, SingleRows
from lake.releases import Release, lake_at, release
from project.advice import Advice, advised
from project.folder import Project
from project.held import marks_of
from queries.preview.files import BucketedFiles, name_of
from queries.user import IDENTIFIERS, PROFILE, TagValue, tag_groups
from schemas.errors import NotThereError

ROWS_AT_ONCE = 1024
"""Users of a batch: a card unpacks one."""
USER_ID = "user_id"
NUMBERED = "md5_number_lower($salt || ':' || id_kind || ':' || id_value) as number, uid"
OF_ALL = f"""
select {NUMBERED} from identifiers where until_day is null and id_value is not null
union all
select {NUMBERED} from (select '{USER_ID}' as id_kind, {USER_ID} as id_value, uid from profile)
order by 1, 2
"""


class SideCards:
    """Cards of one release. Several threads may ask at once; what is read stays mapped while this is there."""

    def __init__(self, project: Project, which: int | str | None = None):
        self.project = project
        self.at: Release = release(project.lake, which)
        self.lake: Lake = lake_at(project.lake, self.at)
        self.cache = LocalCache(project.lake.store, int(project.settings.preview_gb * 2**30))
        self.name = name_of(self.at)
        self.files = BucketedFiles(project.lake, self.at, PROFILE, self.cache, as_of=self.at.as_of)
        self._rows: dict[int, SingleRows | None] = {}
        self._salt = project.id_salt()

    def of(self, uid: int) -> dict[str, Any]:
        """The card of a person, ready for JSON: who, what to do first and why others say otherwise, and every known tag.

        Tags without a value are counted in ``unknown_tags``. NotThereError where the release does not have the person.
        """
        row = self._row(uid)
        if row is None:
            raise NotThereError(
                f"uid {uid} is not in release {self.at.number} ({self.at.as_of}); `huaxiang user {uid}` says what became of it"
            )
        settings, catalogue = self.project.settings, self.project.catalogue
        advice = advised(catalogue, settings.advice, row)
        return {
            "release": self.at.number,
            "as_of": self.at.as_of.isoformat(),
            "user_id": row[USER_ID],
            "uid": uid,
            "is_member": bool(row["is_member"]),
            "advice": _said(advice[0]) if advice else None,
            "others_say": [_said(a) for a in advice[1:]],
            "groups": self._groups(row),
            "unknown_tags": sum(row.get(n) is None for n in catalogue.tags),
            "held_tags": {n: list(by) for n, by in self._held.items() if row.get(n) is not None},
        }

    def uid_of(self, kind: str, value: str) -> int:
        """Whose an id is now: ``user_id``, or any kind of identity.identifiers (``openid``, ``unionid``, ``member``, ...).

        Whoever lets people search by an id of theirs notes it first (``queries.user.log_reveal``). NotThereError without
        the value where nobody has it.
        """
        number = _number(self._salt, kind, value)
        numbers, uids = self._index
        place = int(np.searchsorted(numbers, np.uint64(number)))
        if place == len(numbers) or int(numbers[place]) != number:
            raise NotThereError(f"nobody in release {self.at.number} ({self.at.as_of}) has that {kind}")
        return int(uids[place])

    def _row(self, uid: int) -> dict[str, Any] | None:
        bucket = uid // USERS_PER_BUCKET
        if bucket not in self._rows:
            self._rows[bucket] = self._of_bucket(bucket)
            self.cache.trim()
        rows = self._rows[bucket]
        return None if rows is None else rows.of("uid", uid)

    def _of_bucket(self, bucket: int) -> SingleRows | None:
        if bucket not in self.files.of_bucket:
            return None
        return self.cache.rows(f"{self.name}/_rows-{bucket}", "uid", ROWS_AT_ONCE, lambda: self._stored(bucket))

    def _stored(self, bucket: int) -> pa.Table:
        """The bucket's profile in order of uid, texts as numbers of a dictionary."""
        parts = []
        for path in self.files.local([bucket]):
            about = pq.read_metadata(path)
            schema = about.schema.to_arrow_schema()
            texts = [n for n in schema.names if pa.types.is_string(schema.field(n).type) and n != USER_ID]
            parts.append(pq.ParquetFile(path, metadata=about, read_dictionary=texts).read())
        return pa.concat_tables(parts, promote_options="default").unify_dictionaries().sort_by("uid")

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of all ids in ascending order, and whose they are."""
        kept = self.cache.made(f"{self.name}/_ids", self._numbered)
        self.cache.trim()
        return (
            from_arrow(kept["number"], np.dtype(np.uint64), None, "number"),
            from_arrow(kept["uid"], np.dtype(np.int64), None, "uid"),
        )

    def _numbered(self) -> pa.Table:
        with in_memory() as db:
            db.register("identifiers", self.lake.dataset(IDENTIFIERS))
            db.register("profile", pads.dataset(self.files.local()))
            table: pa.Table = db.sql(OF_ALL, params={"salt": self._salt}).to_arrow_table()
        return table.set_column(0, "number", pc.cast(table["number"], pa.uint64())).combine_chunks()

    @cached_property
    def _held(self) -> Mapping[str, tuple[str, ...]]:
        return marks_of(self.project.lake, self.project.catalogue, self.at).held_by

    def _groups(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The tags that have a value, by group."""
        found = (
            {"path": list(g.path), "tags": [_plain(t) for t in g.tags if t.value is not None]}
            for g in tag_groups(self.project, row)
        )
        return [group for group in found if group["tags"]]


def _plain(tag: TagValue) -> dict[str, Any]:
    return asdict(tag) | ({"value": tag.value.isoformat()} if isinstance(tag.value, date) else {})


def _number(salt: str, kind: str, value: str) -> int:
    """The number of an id as ``NUMBERED`` makes it."""
    made = hashlib.md5(f"{salt}:{kind}:{value}".encode(), usedforsecurity=False)
    return int.from_bytes(made.digest()[8:], "little")


def _said(advice: Advice) -> dict[str, Any]:
    return {
        "scheme": advice.scheme,
        "name": advice.name._asdict(),
        "value": advice.value,
        "label": advice.label._asdict(),
        "strategy": advice.strategy._asdict(),
        "window_days": advice.window_days,
        "window": advice.window._asdict(),
    }
