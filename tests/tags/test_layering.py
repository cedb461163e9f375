"""Weighted layering: a declaration stands for breaks, a score and rules, and gives what it gives by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features.breaks import counted, quantiles
from features.catalogue import Catalogue
from features.expansion import _number, normalised
from features.layering import Input
from features.tagging import apply_recipe, make_recipe, profile_columns
from features.tags import layer_values
from project.loading import load_catalogue
from schemas.arrow import ARROW
from schemas.errors import ConfigurationError

AS_OF = dt.date(2026, 3, 31)
HEAD = """
defaults: {owner: crm, refresh: daily, version: 1, sources: [orders], kind: dynamic, method: rule, empty: none}
facts:
  spend: {from: [pay], measure: net_amount, agg: sum}
  days: {from: [pay], measure: days, agg: count}
tags:
  - id: worth
    name: {zh: 价值层, en: Worth}
    description: {zh: 说明, en: What}
    path: [消费特征, 消费总规模, 价值层]
    type: string
    values: [low, middle, high, none]
    else: none
    layering:
"""
INPUTS = """
      inputs:
        - {of: spend, weight: 0.75}
        - {of: days, weight: 0.25, normalise: min_max, direction: lower, absent: 0.5}
      where: days > 0
"""
SHARES = INPUTS + "      shares: [0.5, 0.3, 0.2]\n"
CUTS = INPUTS + "      cuts: [0.3, 0.6]\n"


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": "1"}) as opened:
        yield opened


def catalogue(tmp_path: Path, layering: str) -> Catalogue:
    path = tmp_path / "tags.yaml"
    path.write_text(HEAD + layering, encoding="utf-8")
    return load_catalogue([path])


def base(found: Catalogue, spend: list[int], days: list[int]) -> pa.Table:
    n = len(spend)
    columns: dict[str, Any] = {
        "uid": pa.array(range(n), pa.int64()),
        "user_id": pa.array([f"u{i}" for i in range(n)]),
        "is_member": pa.array([True] * n),
        "as_of": pa.array([AS_OF] * n, pa.date32()),
        "fact.spend": pa.array(spend, pa.int64()),
        "fact.days": pa.array(days, pa.int64()),
    }
    for name, (kind, _) in found.attributes.items():
        columns[f"attribute.{name}"] = pa.nulls(n, ARROW[kind])  # type: ignore[index]
    return pa.table(columns)


def test_a_layering_stands_for_breaks_a_published_score_and_ordered_rules(tmp_path: Path) -> None:
    found = catalogue(tmp_path, SHARES)
    assert list(found.tags) == ["worth_score", "worth"]
    assert set(found.breaks) == {"worth_points_1", "worth_least_2", "worth_greatest_2", "worth_cuts"}
    assert found.breaks["worth_cuts"].spec.quantiles == (0.5, 0.8)
    score, layers = found.tags["worth_score"], found.tags["worth"]
    assert (score.type, score.unit, score.bounds) == ("float64", "score", (0, 1))
    assert [r.value for r in layers.rules or ()] == ["high", "middle", "low"]
    assert layer_values(layers) == ("low", "middle", "high")
    assert found.layerings == ("worth",)
    # the cuts are made of the score, and the score of the other numbers
    assert found.rounds[("break", "worth_cuts")] == 1
    assert found.rounds[("tag", "worth")] == 2
    assert ("fact", "spend") in found.closure([("tag", "worth")])


def test_scores_and_layers_are_what_they_are_by_hand(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    found = catalogue(tmp_path, CUTS)
    spend, days = [0, 10, 100, 300, 1000], [0, 1, 2, 3, 5]
    points = quantiles(counted(np.array(spend[1:], float)), found.breaks["worth_points_1"].spec.quantiles or ())
    numbers = {"worth_points_1": points, "worth_least_2": (1.0,), "worth_greatest_2": (5.0,)}
    plan = make_recipe(found, AS_OF, numbers, {})
    table = apply_recipe(con, base(found, spend, days), plan, lambda c, v: np.zeros(0), profile_columns(plan))
    ranks = [(sum(p < x for p in points) + sum(p <= x for p in points)) / (2 * len(points)) for x in spend]
    expected = [None, *(0.75 * r + 0.25 * (1 - (d - 1) / 4) for r, d in zip(ranks[1:], days[1:], strict=True))]
    scores = table["worth_score"].to_pylist()
    assert scores[0] is None
    assert scores[1:] == pytest.approx(expected[1:], abs=1e-6)
    names = ["none" if s is None else "high" if s > 0.6 else "middle" if s > 0.3 else "low" for s in scores]
    assert table["worth"].to_pylist() == names
    assert len(set(names)) == 4


def test_shares_cut_the_layers_at_frozen_quantiles_of_the_score(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    found = catalogue(tmp_path, SHARES)
    rng = np.random.default_rng(1)
    spend = [0, *rng.permutation(np.arange(1, 101)).tolist()]
    users = base(found, spend, [0, *[1] * 100])
    points = quantiles(counted(np.array(spend[1:], float)), found.breaks["worth_points_1"].spec.quantiles or ())
    numbers: dict[str, tuple[float, ...]] = {
        "worth_points_1": points,
        "worth_least_2": (1.0,),
        "worth_greatest_2": (2.0,),
    }
    plan = make_recipe(found, AS_OF, numbers, {}, ["worth_score"])
    scores = apply_recipe(con, users, plan, lambda c, v: np.zeros(0))["worth_score"].to_numpy()
    numbers["worth_cuts"] = quantiles(counted(scores), found.breaks["worth_cuts"].spec.quantiles or ())
    plan = make_recipe(found, AS_OF, numbers, {})
    table = apply_recipe(con, users, plan, lambda c, v: np.zeros(0))
    counts = {v: table["worth"].to_pylist().count(v) for v in ("low", "middle", "high", "none")}
    assert counts == {"low": 50, "middle": 30, "high": 20, "none": 1}


def test_an_input_that_is_the_same_for_all_counts_as_absent(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    found = catalogue(tmp_path, CUTS)
    numbers = {"worth_points_1": (5.0,), "worth_least_2": (2.0,), "worth_greatest_2": (2.0,)}
    plan = make_recipe(found, AS_OF, numbers, {})
    table = apply_recipe(con, base(found, [5], [2]), plan, lambda c, v: np.zeros(0))
    assert table["worth_score"].to_pylist() == [pytest.approx(0.75 * 0.5 + 0.25 * 0.5)]


def test_normalised_inputs_can_be_read_and_computed_on_their_own(tmp_path: Path) -> None:
    layering = catalogue(tmp_path, CUTS).tags["worth"].layering
    assert layering is not None
    first, second = normalised("worth", layering)
    assert first == "coalesce(percentile_rank(spend, 'worth_points_1'), 0.0)"
    assert second.startswith("coalesce(1.0 - (case when ((days) - statistic('worth_least_2'))")


@pytest.mark.parametrize(
    ("layering", "message"),
    [
        (CUTS.replace("0.25", "0.35"), "the weights sum to 1.1; they must sum to 1"),
        (CUTS.replace("[0.3, 0.6]", "[0.6, 0.3]"), "cuts ascend strictly between 0 and 1"),
        (CUTS.replace("[0.3, 0.6]", "[0.3]"), "2 layers are cut, but the values name 3 (low, middle, high)"),
        (SHARES.replace("0.2]", "0.3]"), "shares are two or more, above 0, and sum to 1"),
        (CUTS + "      shares: [0.5, 0.5]\n", "exactly one of 'cuts' and 'shares' is expected"),
        (CUTS.replace("spend", "spent"), "unknown column 'spent'; did you mean 'spend'?"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, layering: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as e:
        catalogue(tmp_path, layering)
    assert message in str(e.value)
    assert "worth" in str(e.value)


def test_numbers_are_written_so_that_they_stay_decimals() -> None:
    assert [_number(x) for x in (0, 0.5, 1, 1e-6)] == ["0.0", "0.5", "1.0", "0.000001"]
    assert Input(of="x", weight=1).absent == 0
