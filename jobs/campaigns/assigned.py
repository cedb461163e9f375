"""The assignments of a campaign, bucket by bucket, as they stand at a release: whose they are after merges."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from campaigns.assignment import standing
from campaigns.language import ABOVE, CampaignDefinition
from campaigns.sample_ratio import sample_ratio_p
from features.kernel.rows import USERS_PER_BUCKET
from lake.lake import Lake, by_bucket
from lake.releases import Release, lake_at

PLANS, ASSIGNMENTS = "campaigns.plans", "campaigns.assignments"
USERS = "identity.users"
COLUMNS = ("uid", "arm", "stage", "audience", "definition_hash")
Inputs = dict[str, Any]


@dataclass(frozen=True)
class ArmHolders:
    """Persons of one bucket with an arm, ascending by uid; a value of each column of the row that counts, and its day."""

    uid: np.ndarray
    rows: pa.Table

    def texts(self, name: str) -> np.ndarray:
        return np.asarray(self.rows[name].to_numpy(zero_copy_only=False), dtype=object)

    @property
    def days(self) -> np.ndarray:
        """Day numbers of the assignments."""
        return np.asarray(self.rows["as_of"].cast(pa.int32()).to_numpy())


def assigned_inputs(lake: Lake, at: Release, campaign: str, scratch: Path) -> dict[int, Inputs]:
    """What a task needs to read a bucket's assignments, for every bucket that ever gave a uid by the release.

    Assignments are read as they are now, those made up to the release's day: they are no run's, and no release pins them.
    """
    seen = lake_at(lake, at)
    files = [f for f in lake.files(ASSIGNMENTS, where={"campaign": campaign}) if f.partition["as_of"] <= at.as_of]
    parts = [[f.partition["as_of"].isoformat(), path] for f, path in zip(files, lake.local(files), strict=True)]
    users = seen.files(USERS)
    merged = scratch / "merged.parquet"
    scratch.mkdir(parents=True, exist_ok=True)
    pq.write_table(_merged(seen.local(users)), merged)
    return {b: {"bucket": b, "assigned": parts, "merged": str(merged)} for b in by_bucket(users)}


def _merged(paths: Sequence[str]) -> pa.Table:
    """Who was merged into whom, in order of uid; a small part of all users, read file by file."""
    parts = [
        pads.dataset(p).to_table(columns=["uid", "merged_into_uid"], filter=pads.field("merged_into_uid").is_valid())
        for p in paths
    ]
    empty = pa.table({"uid": pa.array([], pa.int64()), "merged_into_uid": pa.array([], pa.int64())})
    return pa.concat_tables([empty, *parts]).sort_by("uid")


def people_of(item: Inputs) -> ArmHolders:
    """The bucket's persons who have an arm, also by an assignment of somebody of another bucket who was merged into them."""
    low = item["bucket"] * USERS_PER_BUCKET
    merged = pq.read_table(item["merged"])
    into = merged["merged_into_uid"]
    mine = merged.filter(pc.and_(pc.greater_equal(into, low), pc.less(into, low + USERS_PER_BUCKET)))
    parts = []
    for day, path in item["assigned"]:
        uid = pads.field("uid")
        wanted = ((uid >= low) & (uid < low + USERS_PER_BUCKET)) | uid.isin(mine["uid"].combine_chunks())
        part = pads.dataset(path).to_table(columns=list(COLUMNS), filter=wanted)
        parts.append(part.append_column("as_of", pa.array([date.fromisoformat(day)] * len(part), pa.date32())))
    if not parts:
        return ArmHolders(np.empty(0, np.int64), pa.table({n: pa.array([], pa.string()) for n in COLUMNS[1:]}))
    rows = pa.concat_tables(parts).combine_chunks()
    found = standing(rows["uid"].to_numpy(), merged["uid"].to_numpy(), merged["merged_into_uid"].to_numpy())
    # Who was merged into somebody of another bucket is that bucket's.
    here = (found.person >= low) & (found.person < low + USERS_PER_BUCKET)
    return ArmHolders(found.person[here], rows.take(pa.array(found.row[here])))


def given_of(people: ArmHolders) -> list[list[Any]]:
    """Users by the hash of the definition that gave them their arm, and by arm, as a task can return them."""
    if not len(people.uid):
        return []
    counts = Counter(zip(people.texts("definition_hash"), people.texts("arm"), strict=True))
    return [[h, arm, n] for (h, arm), n in counts.items()]


def sample_ratio_of(lake: Lake, campaign: str, given: Mapping[tuple[str, str], int]) -> float | None:
    """p of the sample-ratio test: everybody against the weights of the definition by which they were assigned.

    ``given`` are users by definition and arm; who is held out of every campaign is left out.
    """
    users: Counter[str] = Counter()
    shares: dict[str, float] = {}
    for h, weights in _weights(lake, campaign).items():
        mine = sum(n for (by, arm), n in given.items() if by == h and arm != ABOVE)
        for arm, w in weights.items():
            shares[arm] = shares.get(arm, 0.0) + mine * w
    for (_, arm), n in given.items():
        users[arm] += n
    return sample_ratio_p([users[a] for a in shares], list(shares.values()))


def _weights(lake: Lake, campaign: str) -> dict[str, dict[str, float]]:
    """Weights of the arms by the hash of every definition that people were assigned by."""
    found = {}
    for path in lake.local(lake.files(PLANS, where={"campaign": campaign})):
        for row in pq.ParquetFile(path).read(["definition_hash", "content"]).to_pylist():
            definition = CampaignDefinition.model_validate(json.loads(row["content"]))
            found[row["definition_hash"]] = definition.weights
    return found
