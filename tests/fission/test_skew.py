"""One cascade of everybody has the numbers that its shape says, as many groups of ten have theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fission import AS_OF, outcome
from benchmarks.skew import GROUP, make
from features.fission.settings import FissionSettings
from jobs.fission.step import update_fission
from lake.lake import Lake
from tests.fission.lake_shop import Here

LEVELS = 3
PEOPLE = sum(GROUP**level for level in range(LEVELS + 1))


@pytest.mark.parametrize("form", ["groups", "cascade"])
def test_everybody_stands_in_the_tree_that_brought_them(form: str, tmp_path: Path) -> None:
    make(tmp_path / "lake", form, PEOPLE)
    lake = Lake(tmp_path / "lake", "Asia/Shanghai")
    update_fission(lake, Here(), AS_OF, FissionSettings(), run_id="step")
    groups, rest = divmod(PEOPLE, GROUP)
    edges, depth, hub = (PEOPLE - 1, LEVELS, GROUP) if form == "cascade" else (PEOPLE - groups - 1, 1, GROUP - 1)
    assert rest == 1, "one person is left over, who neither brought nor was brought"
    assert outcome(tmp_path / "lake")[:3] == (edges, depth, hub)
    trees = lake.dataset("fission.share_trees").to_table().to_pylist()
    assert len(trees) == (1 if form == "cascade" else groups)
    assert sum(t["tree_users"] for t in trees) == (PEOPLE if form == "cascade" else PEOPLE - 1)
    breadth = lake.dataset("fission.roles").to_table(columns=["uid", "share_descendants"]).to_pylist()
    assert max(r["share_descendants"] for r in breadth) == (edges if form == "cascade" else hub)
