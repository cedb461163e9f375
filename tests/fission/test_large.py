"""The benchmark's two extreme shapes, small: a thousand levels and one hub go through the whole step."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fission import AS_OF, make, outcome
from features.fission.settings import FissionSettings
from jobs.fission.step import update_fission
from lake.lake import Lake
from tests.fission.lake_shop import Here

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("shape", "edges", "levels", "hub", "cards"),
    [("chain", 200_000, 1_000, 1, 200), ("star", 20_000, 1, 20_000, 1_000)],
)
def test_a_chain_of_a_thousand_levels_and_a_star_finish(
    shape: str, edges: int, levels: int, hub: int, cards: int, tmp_path: Path
) -> None:
    make(tmp_path / "lake", shape, shares=200_000, levels=1_000)
    lake = Lake(tmp_path / "lake", "Asia/Shanghai")
    update_fission(lake, Here(), AS_OF, FissionSettings(), run_id="step")
    assert outcome(tmp_path / "lake") == (edges, levels, hub, cards)
    trees = lake.dataset("fission.share_trees").to_table().to_pylist()
    if shape == "star":
        (tree,) = trees
        assert tree["community_structure"] == "umbrella"
        assert tree["structural_virality"] == pytest.approx(2 * hub / (hub + 1), abs=1e-6)
        breadth = lake.dataset("fission.roles").to_table(columns=["uid", "share_breadth"]).to_pylist()
        assert max(r["share_breadth"] for r in breadth) == hub
    else:
        assert {t["community_structure"] for t in trees} == {"tower"}
        assert {t["structural_virality"] for t in trees} == {round((levels + 2) / 3, 6)}
