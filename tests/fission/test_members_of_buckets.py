"""What fission reads of member records is the same whether it fits into memory or not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pytest

import jobs.fission.inputs
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.inputs import FissionInputs
from lake.folder_store import FolderStore
from lake.lake import Lake

USERS = 300_000


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two versions of every member's record, of whom every third was invited."""
    ids = [f"m{n:09d}" for n in range(USERS)]
    stamps = pa.array(np.arange(USERS) * 1_000 + 1_767_225_600_000_000, pa.timestamp("us", "UTC"))
    inviter = pa.array([None if n % 3 else ids[n // 2] for n in range(USERS)], pa.string())
    version = pa.table(
        {
            "member_id": ids,
            "registered_at": stamps,
            "distributor_level": pa.array(np.arange(USERS) % 4, pa.int32()),
            "inviter_member_id": inviter,
            "source_time": stamps,
            "_ingested_at": stamps,
            "_file": pa.repeat("first.csv", USERS),
            "_row": np.arange(USERS),
        }
    )
    later = version.set_column(6, "_file", pa.repeat("second.csv", USERS)).set_column(
        2, "distributor_level", pa.array(np.arange(USERS) % 3, pa.int32())
    )
    uid = np.arange(USERS)
    tables = {
        "silver.members": pa.concat_tables([version, later]),
        "identity.identifiers": pa.table(
            {
                "id_kind": pa.repeat("member", USERS),
                "id_value": ids,
                "uid": uid,
                "until_day": pa.nulls(USERS, pa.date32()),
            }
        ),
        "identity.users": pa.table(
            {"uid": uid, "merged_into_uid": pa.nulls(USERS, pa.int64()), "retired_day": pa.nulls(USERS, pa.date32())}
        ),
    }
    return cast(
        Lake,
        SimpleNamespace(
            zone="UTC",
            store=FolderStore(tmp_path_factory.mktemp("lake")),
            dataset=lambda table: pads.dataset(tables[table]),
        ),
    )


def members(lake: Lake, folder: Path) -> list[dict[str, Any]]:
    found = FissionInputs(lake, dt.date(2026, 12, 1), None, folder).people()
    tables = [pads.dataset(paths).to_table().sort_by("uid") for _, paths in sorted(found.items())]
    for bucket, table in zip(sorted(found), tables, strict=True):
        assert set((table["uid"].to_numpy() // USERS_PER_BUCKET).tolist()) == {bucket}
    return [table.to_pydict() for table in tables]


@pytest.mark.slow
def test_what_does_not_fit_goes_to_the_scratch_folder_and_changes_nothing(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = members(lake, tmp_path / "whole")
    monkeypatch.setattr(jobs.fission.inputs, "MEMORY", 200 << 20)
    assert members(lake, tmp_path / "spilled") == whole
    assert [len(bucket["uid"]) for bucket in whole] == [USERS_PER_BUCKET] * 3
