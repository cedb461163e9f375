"""Which files a release's tables have in each bucket: asked of the tables' logs once, kept beside what is made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from features.kernel.rows import USERS_PER_BUCKET
from lake.lake import Lake, by_bucket
from lake.local_cache import LocalCache
from lake.releases import Release, lake_at

FORMAT = 2
"""What is made of the files changes with it."""


def name_of(at: Release) -> str:
    """What a release's own things are kept under; two lakes, or two releases, never share it."""
    said = [FORMAT, at.number, at.run_id, at.created_at.isoformat(), at.as_of.isoformat(), at.tables]
    return f"release-{at.as_of}-{_digest(said)}"


def _digest(said: object) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


class BucketedFiles:
    """A table's files by bucket, as the release has them; ``where`` narrows them to partitions."""

    def __init__(self, lake: Lake, at: Release, table: str, cache: LocalCache, **where: object):
        self.lake = lake

        def listed() -> pa.Table:
            found = by_bucket(lake_at(lake, at).files(table, where=where or None))
            names = {str(b): [lake.store.name(p) for p in paths] for b, paths in found.items()}
            return pa.table([pa.nulls(0)], names=["none"]).replace_schema_metadata({"files": json.dumps(names)})

        kept = cache.made(f"{name_of(at)}/_files-{table}", listed)
        named = json.loads(kept.schema.metadata[b"files"])
        self.of_bucket: dict[int, list[str]] = {
            int(b): [str(lake.store.path(n)) for n in names] for b, names in named.items()
        }

    def local(self, buckets: Iterable[int] | None = None) -> list[str]:
        """Files of the buckets (all if absent) in order of bucket, each of them a local file now."""
        wanted = self.of_bucket if buckets is None else [b for b in buckets if b in self.of_bucket]
        return self.lake.local(p for b in wanted for p in self.of_bucket[b])

    def key(self, bucket: int) -> str:
        """What the bucket's rows are known by: files never change, so the same files are the same rows."""
        return _digest([FORMAT, [self.lake.store.name(p) for p in self.of_bucket.get(bucket, [])]])

    @staticmethod
    def buckets_of(uid: np.ndarray) -> dict[int, slice]:
        """Buckets of ascending uids, and where each one's lie among them."""
        if not len(uid):
            return {}
        first, last = int(uid[0]) // USERS_PER_BUCKET, int(uid[-1]) // USERS_PER_BUCKET
        borders = np.searchsorted(uid, np.arange(first, last + 2) * USERS_PER_BUCKET).tolist()
        spans = zip(range(first, last + 1), borders, borders[1:], strict=False)
        return {bucket: slice(begin, end) for bucket, begin, end in spans if begin < end}
