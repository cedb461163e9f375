"""Bins, PSI, verdicts and limits, against figures made by hand."""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import Catalogue
from features.frozen_numbers import Break
from features.overrides import stated
from features.quality import (
    QualitySettings,
    aged_distribution,
    causes,
    coverage,
    declarations,
    judge,
    merged_bins,
    psi,
    same_declaration,
    users_by_bin,
    usual_move,
)
from project.frozen import break_hash
from tests.profile.small import catalogue_of

DAY = date(2026, 3, 31)
LIMITS = QualitySettings(min_users=20)


def spread(column: pa.Array) -> dict[str, int]:
    """Bins of members only."""
    return {b: n[1] for b, n in users_by_bin(column, np.ones(len(column), bool), DAY).items()}


def test_psi_is_the_sum_over_bins_worked_out_by_hand() -> None:
    expected, actual = {"a": 50, "b": 30, "c": 20}, {"a": 400, "b": 300, "c": 300}
    by_hand = (0.4 - 0.5) * math.log(0.4 / 0.5) + 0 + (0.3 - 0.2) * math.log(0.3 / 0.2)
    assert psi(expected, actual) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.0628609, abs=1e-7)
    assert psi(expected, {k: 7 * v for k, v in expected.items()}) == 0


def test_a_bin_that_one_side_has_not_counts_as_half_a_user() -> None:
    by_hand = (0.5 - 1) * math.log(0.5 / 1) + (0.5 - 0.5 / 100) * math.log(0.5 / (0.5 / 100))
    assert psi({"a": 100}, {"a": 50, "b": 50}) == pytest.approx(by_hand)
    assert psi({}, {"a": 1}) is None
    assert psi({"a": 1}, {}) is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1), st.permutations("abcdef"))
def test_psi_is_symmetric_and_never_negative(bins: dict[str, int], order: list[str]) -> None:
    other = dict(zip(order, [3, 5, 8, 13, 21, 34], strict=True))
    assert psi(bins, other) == pytest.approx(psi(other, bins))
    assert (psi(bins, other) or 0) >= 0


def test_numbers_lie_in_intervals_that_do_not_depend_on_the_data() -> None:
    values = pa.array([0, 1, 2, 4, 5, 9, 10, 1_000_000, -1, -3, None], pa.int64())
    assert spread(values) == {
        "0": 1,
        "[1, 2)": 1,
        "[2, 5)": 2,
        "[5, 10)": 2,
        "[10, 20)": 1,
        "[1000000, 2000000)": 1,
        "(-2, -1]": 1,
        "(-5, -2]": 1,
        "unknown": 1,
    }
    assert spread(pa.array([0.0, 0.1, 0.19, 0.00001, -0.3, 1e20])) == {
        "0": 1,
        "[0.1, 0.2)": 2,
        "(0, 0.0001)": 1,
        "(-0.5, -0.2]": 1,
        ">= 5000000000000000": 1,
    }


@given(st.integers(-(10**15), 10**15))
def test_every_number_lies_in_the_interval_that_is_named(value: int) -> None:
    (name,) = spread(pa.array([value], pa.int64()))
    if value == 0:
        assert name == "0"
        return
    low, high = (float(x) for x in name[1:-1].split(", "))
    assert (low <= value < high) if value > 0 else (low < value <= high)


def test_days_lie_by_their_age_and_other_values_as_they_are() -> None:
    assert spread(pa.array([DAY, date(2026, 3, 30), date(2026, 3, 27), date(2026, 4, 1), None])) == {
        "0": 1,
        "[1, 2)": 1,
        "[2, 5)": 1,
        "(-2, -1]": 1,
        "unknown": 1,
    }
    assert spread(pa.array([True, False, True, None])) == {"true": 2, "false": 1, "unknown": 1}
    assert spread(pa.array(["x", "unknown", None, "x"])) == {"x": 2, "unknown": 2}


@given(st.lists(st.integers(0, 500)), st.integers(1, 40))
def test_a_cohort_that_only_grows_older_has_not_moved(ages: list[int], step: int) -> None:
    later = DAY + timedelta(days=step)
    members = np.ones(len(ages), bool)
    days = pa.array([DAY - timedelta(days=n) for n in ages], pa.date32())
    assert aged_distribution(days, members, DAY, later) == users_by_bin(days, members, later)
    counted = pa.array(ages, pa.int32())
    grown = pa.array([n + step for n in ages], pa.int32())
    assert aged_distribution(counted, members, DAY, later) == users_by_bin(grown, members, later)


def test_members_and_visitors_are_spread_apart_and_parts_add_up() -> None:
    part = users_by_bin(pa.array(["x", "y", "x"]), np.array([True, False, False]), DAY)
    assert part == {"x": [1, 1], "y": [1, 0]}
    assert merged_bins([part, part]) == ({"x": 2, "y": 2}, {"x": 2})


def test_long_lists_are_cut_to_the_most_frequent_and_still_compare() -> None:
    cities = {f"c{i:03d}": [0, 1000 - i] for i in range(80)}
    _, members = merged_bins([cities, {"unknown": [0, 7]}])
    assert len(members) == 52
    assert members["other"] == sum(1000 - i for i in range(50, 80))
    assert members["unknown"] == 7
    swapped = {**members, "c079": members["c049"]}
    del swapped["c049"]
    # who drops out of the first fifty is among the others on both sides, not a value that vanished
    assert psi(members, swapped) == pytest.approx(0, abs=1e-4)
    # a tag with few values may have one of that name
    assert psi({"other": 10, "b": 90}, {"c": 90, "other": 10}) == pytest.approx(
        psi({"o": 10, "b": 90}, {"c": 90, "o": 10})
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return catalogue_of(tmp_path_factory.mktemp("tags"))


GOOD = {"[1, 2)": 60, "[2, 5)": 40}
MOVED = {"[1, 2)": 45, "[2, 5)": 55}
FAR = {"[1, 2)": 10, "[5, 10)": 90}
LOST = {"[1, 2)": 24, "[2, 5)": 16, "unknown": 60}


def test_verdicts_go_by_psi_where_a_tag_usually_stays_as_it_is(small: Catalogue) -> None:
    points = small.tags["points"]
    assert judge(points, None, GOOD, 0, LIMITS).verdict == "first"
    assert judge(points, GOOD, GOOD, 0, LIMITS).verdict == "stable"
    watched = judge(points, GOOD, {"[1, 2)": 42, "[2, 5)": 58}, 0, LIMITS)
    assert (watched.verdict, watched.cause, watched.breaks) == ("watch", "psi", False)
    far = judge(points, GOOD, FAR, 0.01, LIMITS)
    assert (far.verdict, far.breaks, far.reason) == ("act", True, "PSI 7.27, usually up to 0.01")


def test_what_a_tag_usually_does_is_no_break_however_much_it_is(small: Catalogue) -> None:
    points = small.tags["points"]
    moved = psi(GOOD, FAR)
    assert moved is not None
    assert judge(points, GOOD, FAR, moved / 2, LIMITS).verdict == "stable"
    assert judge(points, GOOD, FAR, moved / 2.1, LIMITS).verdict == "act"


@given(st.lists(st.floats(0, 9), min_size=1, max_size=28))
def test_what_is_usual_is_the_90th_percentile(moves: list[float]) -> None:
    assert usual_move(moves) == pytest.approx(float(np.quantile(moves, 0.9)))


def test_without_history_there_is_no_verdict_of_break(small: Catalogue) -> None:
    found = judge(small.tags["points"], GOOD, FAR, None, LIMITS)
    assert (found.verdict, found.cause, found.breaks) == ("no_reference", "few_runs", False)
    assert judge(small.tags["points"], GOOD, LOST, None, LIMITS).verdict == "no_reference"
    # what did not move needs no history
    assert judge(small.tags["points"], GOOD, MOVED, None, LIMITS).verdict == "stable"


def test_a_coverage_that_is_lost_breaks_though_psi_is_switched_off(small: Catalogue, tmp_path: Path) -> None:
    free = catalogue_of(tmp_path, points={"limits": {"psi": None}}).tags["points"]
    found = judge(free, GOOD, LOST, 0, LIMITS)
    assert (found.verdict, found.breaks) == ("act", True)
    assert found.reason == "coverage 40.0% after 100.0%; PSI 3.40, usually up to 0.00"
    assert coverage(LOST) == pytest.approx(0.4)
    assert judge(free, GOOD, FAR, 0, LIMITS).verdict == "watch"


def test_a_projects_limit_that_is_null_breaks_nothing(small: Catalogue) -> None:
    found = judge(small.tags["points"], GOOD, FAR, 0, QualitySettings(psi=None))
    assert (found.verdict, found.breaks) == ("act", False)


def test_a_tags_own_limits_stand_before_the_projects(small: Catalogue, tmp_path: Path) -> None:
    city = small.tags["city"]
    good, none = {"北京": 40, "unknown": 60}, {"上海": 29, "unknown": 71}
    assert judge(city, good, {"上海": 100}, 0, LIMITS).breaks is False, "psi is switched off"
    found = judge(city, good, none, None, LIMITS)
    assert (found.verdict, found.reason) == ("act", "coverage 29.0% below its limit 30.0%")
    assert judge(city, none, none, 0, LIMITS).verdict == "stable", "the last good values would mend nothing"
    wide = catalogue_of(tmp_path, points={"limits": {"psi": 8}}).tags["points"]
    assert judge(wide, GOOD, FAR, 0, LIMITS).verdict == "watch"


def test_everything_made_from_a_held_tag_is_found_through_frozen_numbers_too(small: Catalogue) -> None:
    assert small.made_from(["points"]) == {
        *(("tag", n) for n in ("points", "rich", "richer")),
        *(("break", n) for n in ("points_median", "kept_median")),
    }
    assert small.held_by(["points", "city"]) == {
        "points": ("points",),
        "city": ("city",),
        "rich": ("points",),
        "richer": ("points",),
    }


def test_of_broken_tags_those_are_held_that_the_others_build_on(small: Catalogue) -> None:
    assert causes(small, ["points", "rich", "city"], []) == ["points", "city"]
    assert causes(small, ["rich"], ["points"]) == []
    assert causes(small, ["rich"], []) == ["rich"]


def test_words_about_a_tag_change_no_spec_but_version_and_what_it_builds_on_do(
    small: Catalogue, tmp_path: Path
) -> None:
    def changed(**changes: Any) -> dict[str, str]:
        return declarations(catalogue_of(tmp_path, **changes), {})

    before = declarations(small, {})
    assert changed(points={"owner": "analytics", "name": {"zh": "分", "en": "Score"}}) == before
    newer = changed(points={"version": 2})
    assert {n for n in before if not same_declaration(before[n], newer[n])} == {"points", "rich", "richer"}
    refitted = declarations(small, {("break", "points_median"): "2026-03-01"})
    assert {n for n in before if refitted[n] != before[n]} == {"rich"}
    assert same_declaration(before["rich"], refitted["rich"])


def test_stated_values_are_read_as_their_tags_have_them(small: Catalogue) -> None:
    assert stated(small.tags["points"], " 42 ") == "42"
    assert stated(small.tags["opted"], "是") == "true"
    assert stated(small.tags["city"], "广州") == "广州"
    for tag, text, reason in (
        ("points", "4.5", "whole number"),
        ("points", "-1", "outside"),
        ("rich", "yess", "did you mean 'yes'"),
        ("opted", "maybe", "true or false"),
        ("city", "unknown", "a value is expected"),
    ):
        with pytest.raises(ValueError, match=reason):
            stated(small.tags[tag], text)


def test_a_declaration_that_says_nothing_new_keeps_the_hashes_that_older_versions_stored(small: Catalogue) -> None:
    """Or an upgrade would fit every kept number anew and compare no tag with the day before."""
    assert break_hash(small.breaks["kept_median"].spec) == "35ec8ac21528"
    assert {n: spec.split(".")[0] for n, spec in declarations(small, {}).items() if n in ("rich", "richer")} == {
        "rich": "8a1f150715f6",
        "richer": "4fd3e32b39a5",
    }
    fixed = Break(of="net_amount_365d", fixed=(5000,))
    assert break_hash(fixed) != break_hash(fixed.model_copy(update={"currency": "CNY"}))
