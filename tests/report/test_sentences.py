"""What the page says follows from the figures: with contrary ones a sentence changes, or is not written."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.quality import QualitySettings
from project.loading import load_catalogue
from report.blocks import Block, Section
from report.data import Figure, ReportData
from report.sections import aipl, lifecycle, methods, movement, others, rfm, tags, value
from report.words import Vocabulary
from schemas.text import Text
from tests import shipped

D = date(2026, 3, 31)
SECTIONS = Path(aipl.__file__).parent


def told(catalogue: Any = None, settings: dict[str, Any] | None = None, **parts: Any) -> ReportData:
    """What a release of the shipped shop holds; ``figures`` as {topic: {figure: {item: number or Figure}}}."""
    known = catalogue or shipped.catalogue()

    def method(name: str, kind: Any) -> Any:
        return kind(**(settings or {}).get(name, {}))

    project: Any = SimpleNamespace(catalogue=known, method=method, currency="CNY")
    d = ReportData(project, SimpleNamespace(as_of=D), Vocabulary(known), frozenset())  # type: ignore[arg-type]
    for topic, figures in parts.pop("figures", {}).items():
        for name, items in figures.items():
            d.figures.setdefault(topic, {})[name] = {
                k: n if isinstance(n, Figure) else Figure(n) for k, n in items.items()
            }
    for name, found in parts.items():
        setattr(d, name, found)
    return d


def block(section: Section, title: str) -> Block:
    return next(b for b in section.blocks if title in b.title.en)


def said(text: Text | None) -> str:
    assert text is not None
    return f"{text.zh} {text.en}"


def points(rows: list[tuple[float, float, int]]) -> list[dict[str, Any]]:
    return [{"x": x, "y": y, "low": None, "high": None, "sample_users": n} for x, y, n in rows]


def cuts(kind: str, days: list[float], bases: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """Figures and breaks of one level, a number by class of purchase days 1, 2, 3-7, 8+."""
    figures = {f"{kind}/{i}": Figure(n, 500) for i, n in enumerate(days, 1)}
    figures |= {f"purchase_days/{i}": Figure(float(n), 900) for i, n in enumerate((1, 2, 7), 1)}
    by_day = [days[0], days[1], *[days[2]] * 5, days[3]]
    of_class = [0, 1, *[2] * 5, 3]
    rows = [
        {"position": i, "number": n, "fitted_on": D, "basis": (bases or ["curve"] * 4)[c], "sample_users": 500, **more}
        for i, (n, c) in enumerate(zip(by_day, of_class, strict=True), 1)
    ]
    return {"figures": {"lifecycle": {"cut": figures}}, "breaks": {f"{kind}_after": rows}}


# --- lifecycle ---


@given(st.lists(st.integers(2, 400), min_size=4, max_size=4))
def test_the_more_the_sooner_is_said_only_where_the_cuts_fall(days: list[int]) -> None:
    d = told(**cuts("churned", [float(n) for n in days]))
    note = said(block(lifecycle.lifecycle(d), "Cuts in force").note)
    falls = all(b <= a for a, b in pairwise(days)) and days[-1] < days[0]
    assert ("the sooner" in note) == ("越早" in note) == falls
    if falls:
        assert f"{days[0]} → {days[-1]} days" in note


def test_which_cuts_are_defaults_and_which_the_horizon_decided_is_shown() -> None:
    bases = ["at_horizon", "curve", "default_few_cases", "default_few_cases"]
    d = told(**cuts("churned", [360, 221, 180, 180], bases, share_beyond_horizon=None, horizon_to_try_days=None))
    d.breaks["churned_after"][0] |= {"share_beyond_horizon": 0.42, "horizon_to_try_days": 730}
    section = lifecycle.lifecycle(d)
    assert "Of 4 cuts 2 come from the shop's own curves, 2 are defaults" in section.intro.en
    found = block(section, "Cuts in force")
    assert found.table is not None
    rests = [said(row[3]) for row in found.table.rows if row[0].en == "churned"]  # type: ignore[union-attr,arg-type]
    assert "decided by the horizon: 42% come back later, try 730 days" in rests[0]
    assert "the shop's curve" in rests[1] and "default: too few cases" in rests[2]
    assert "Numbers decided by the horizon grow" in found.note.en


def test_a_curve_of_few_users_is_not_called_one_of_thirty() -> None:
    few = told(curves={"repurchase": {"": points([(1, 0.5, 11), (2, 0.4, 5), (3, 0.3, 1)])}})
    found = block(lifecycle.lifecycle(few), "Repurchase")
    assert found.chart is None and found.table is not None
    assert "No point rests on 30 users" in found.note.en
    mixed = told(curves={"repurchase": {"": points([(1, 0.5, 4_000), (2, 0.4, 29), (3, 0.3, 1)])}})
    assert (
        "2 points of fewer than 30 users stand in the table only"
        in block(lifecycle.lifecycle(mixed), "Repurchase").note.en
    )
    many = told(curves={"repurchase": {"": points([(1, 0.5, 4_000), (2, 0.4, 300)])}})
    assert "30" not in block(lifecycle.lifecycle(many), "Repurchase").note.en


def test_a_recovery_without_a_knee_says_why_and_one_with_says_how_many_still_come_back() -> None:
    none = told(figures={"lifecycle": {"no_cut": {"recovery/straight": Figure(None, 12_000)}}})
    note = block(lifecycle.lifecycle(none), "Cuts in force").note
    assert "gives no number: the curve runs straight, without a knee" in note.en and "没有拐点" in note.zh
    curve = {"recovery": {"": points([(117, 0.5, 900), (118, 0.44, 880)])}}
    there = told(figures={"lifecycle": {"cut": {"recovery": Figure(118.0, 12_000)}}}, curves=curve)
    note = block(lifecycle.lifecycle(there), "Cuts in force").note
    assert "at 118 days: of those silent until then 44.0% still come back" in note.en


def test_the_shares_of_the_gap_curve_are_those_of_the_catalogue(tmp_path: Path) -> None:
    catalogue = shipped.catalogue()
    spec = catalogue.breaks["churned_after"].spec
    curve = {"purchase_gap": {"1": points([(1, 0.5, 900), (2, 0.6, 880)])}}
    d = told(**cuts("churned", [9, 8, 7, 6]), curves=curve)
    d.breaks["dormant_after"] = d.breaks["churned_after"]
    note = block(lifecycle.lifecycle(d), "purchase gaps").note.en
    assert f"{spec.share:.0%} are counts as churned" in note and "80% are counts as dormant" in note
    assert "%" not in block(lifecycle.lifecycle(told(curves=curve)), "purchase gaps").note.en.replace("95 %", "")


def test_a_curve_that_cannot_be_followed_says_what_it_needs_by_the_shops_settings() -> None:
    d = told(settings={"lifecycle": {"min_at_risk": 77}})
    assert "Fewer than 77 gaps" in said(block(lifecycle.lifecycle(d), "purchase gaps").missing)


def test_a_gap_curve_that_is_missing_says_nobody_came_back_only_where_nobody_did() -> None:
    def missing(repurchase: list[tuple[float, float, int]]) -> str:
        d = told(curves={"repurchase": {"": points(repurchase)}})
        return said(block(lifecycle.lifecycle(d), "purchase gaps").missing)

    nobody = missing([(1, 0.0, 1_000)])
    assert "Nobody has bought on a second day yet" in nobody and "第二个购买日" in nobody and "Fewer" not in nobody
    assert "Fewer than 30 gaps" in missing([(1, 0.5, 20), (2, 0.0, 9)])
    late = missing([(1, 0.01, 1_000), (2, 0.0, 10)])
    assert "Nobody bought again while 30 or more gaps" in late and "Fewer" not in late


def test_nobody_bought_is_said_only_where_nobody_did_and_fixed_cuts_are_named() -> None:
    shop = shipped.catalogue()
    fixed = replace(shop, breaks={n: b for n, b in shop.breaks.items() if n not in shop.estimates})
    buyers = {True: {"buyers": 3, "amount": 900}}
    for title in ("Repurchase", "purchase gaps", "Recovery"):
        missing = said(block(lifecycle.lifecycle(told(fixed, buyers=buyers)), title).missing)
        assert "cuts are fixed" in missing and "固定" in missing
        assert "Nobody" not in missing and "Fewer" not in missing
        unknown = said(block(lifecycle.lifecycle(told(buyers=buyers)), title).missing)
        assert "This release has no such curve" in unknown and "Nobody" not in unknown
    none = told(buyers={True: {"buyers": 0, "amount": 0}})
    assert "Nobody has bought yet" in said(block(lifecycle.lifecycle(none), "Repurchase").missing)


# --- verdicts of tags ---


def verdicts(first_quality: date | None = date(2026, 3, 30), **counts: int) -> str:
    """What is said of the tags where none is to be looked at; ``counts``: tags by verdict."""
    each = [v for v, n in counts.items() for _ in range(n)]
    quality = {f"t{i}": {True: {"verdict": v, "held_since": None}} for i, v in enumerate(each)}
    d = told(quality=quality, first_quality=first_quality)
    d.project.settings = SimpleNamespace(quality=QualitySettings())  # type: ignore[misc]
    return said(tags._verdicts(d).missing)


def test_tags_that_were_not_compared_are_not_called_stable() -> None:
    text = verdicts(stable=2, no_reference=3, first=34)
    assert "Of 39 tags 2 are stable" in text and "3 moved" in text and "34 were not compared" in text
    assert "2 个稳定" in text and "3 个有变化" in text and "34 个没有可比" in text
    text = verdicts(no_reference=3, first=34)
    assert "stable" not in text and "3 moved" in text and "34 were not compared" in text
    assert "moved" not in verdicts(stable=2) and "not compared" not in verdicts(stable=2)


def test_a_first_run_is_one_without_an_earlier_day_and_not_one_of_new_declarations() -> None:
    assert "First run" in verdicts(first_quality=None, first=9) and "First run" in verdicts(D, first=9)
    anew = verdicts(first=9)
    assert "First run" not in anew and "首次" not in anew and "9 were not compared" in anew


# --- moves ---


def alert(**more: Any) -> dict[str, Any]:
    row = {
        "alert": "moving_to_rare_low",
        "number": None,
        "limit_number": None,
        "sample_users": None,
        "is_raised": False,
    }
    return row | {"from_as_of": None, "alert_reason": "no_earlier_day"} | more


def test_what_a_period_needs_is_the_day_that_is_missing_and_not_days_of_history() -> None:
    d = told(alerts=[alert()], settings={"migration": {"period_days": 14}})
    missing = said(block(movement.quadrants(d), "Quadrant transitions").missing)
    assert f"Needs the profile of {D - timedelta(days=14)}" in missing
    refitted = told(alerts=[alert(from_as_of=D - timedelta(days=7), alert_reason="refitted")])
    for title in ("Quadrant transitions", "Share moving"):
        missing = said(block(movement.quadrants(refitted), title).missing)
        assert "the cuts were made anew" in missing and "Needs" not in missing
    assert "has not judged" in said(block(movement.quadrants(told()), "Quadrant transitions").missing)


@given(st.integers(0, 12), st.booleans())
def test_the_limit_names_the_periods_that_it_is_made_of(earlier: int, judged: bool) -> None:
    share = [{"x": -7.0 * i, "y": 0.1} for i in range(earlier, -1, -1)]
    curves = {"share": share} | ({"upper": share, "mean": share} if judged else {})
    d = told(alerts=[alert(number=0.1)], curves={"quadrant_drift": curves}, settings={"migration": {"k": 2.5}})
    note = block(movement.quadrants(d), "Share moving").note.en
    assert (f"mean of the {earlier} periods before + 2.5" in note) == judged
    assert (f"Only {earlier} earlier periods compare" in note) == (not judged)


# --- AIPL ---


def test_money_that_no_stage_explains_is_said_with_its_share() -> None:
    rates = {"conversion": {"purchase": 0.1, "none": 0.5}, "horizon_days": {"": 28.0}}
    with_none = rates | {"stage_amount_minor": {"purchase": 530.0, "none": 470.0}}
    note = block(aipl.aipl(told(figures={"aipl": with_none})), "Conversion").note.en
    assert "within the 28 days after" in note and "47.0% of the money" in note
    without = {**rates, "conversion": {"purchase": 0.1}, "stage_amount_minor": {"purchase": 530.0}}
    assert "no stage" not in block(aipl.aipl(told(figures={"aipl": without})), "Conversion").note.en


def test_fast_says_nothing_of_a_window_that_was_seen_whole_or_of_days_that_were_not_compared() -> None:
    observed = {"observed_days": [{"number": 400.0}]}
    whole = told(figures={"aipl": {"fast": {"fertility": 9.0, "thriving": 0.4}}}, breaks=observed)
    note = block(aipl.aipl(whole), "FAST").note.en
    assert "data covers" not in note and "days before" not in note
    short = told(figures={"aipl": {"fast": {"thriving": 0.4}}}, breaks={"observed_days": [{"number": 60.0}]})
    note = block(aipl.aipl(short), "FAST").note.en
    assert "T looks back 180 days, data covers 60" in note and "too high" not in note


def test_what_the_rates_need_is_the_day_that_is_missing() -> None:
    d = told(settings={"aipl": {"horizon_days": 60}})
    assert f"Needs the profile of {D - timedelta(days=60)}" in said(block(aipl.aipl(d), "Conversion").missing)


# --- the rest ---


def test_the_super_users_threshold_is_the_catalogues_in_the_lakes_currency() -> None:
    yen = load_catalogue(sorted(shipped.TAGS.glob("*.yaml")), "JPY")
    d = told(yen, segments={"super_user": {"super": {True: 3}, "ordinary": {True: 9}}})
    note = said(block(value.distribution(d), "Super users").note)
    assert "5,000 JPY" in note and "CNY" not in note and "5,000 日元" in note


def test_no_spend_is_said_only_where_nobody_spent() -> None:
    spent = told(buyers={True: {"buyers": 3, "amount": 900}})
    assert "No spend" not in said(block(value.distribution(spent), "Lorenz").missing)
    nothing = told(buyers={True: {"buyers": 0, "amount": 0}})
    assert "No spend" in said(block(value.distribution(nothing), "Lorenz").missing)


def test_declared_cuts_of_rfm_are_not_called_the_buyers() -> None:
    rows = [{"number": 7.0, "fitted_on": D, "sample_users": 812}]
    found = block(rfm.rfm_report(told(breaks={"rfm_recency": rows})), "breaks")
    assert found.table is not None and said(found.table.rows[0][2]).endswith("812 buyers of the window")  # type: ignore[arg-type]
    fixed = shipped.catalogue()
    spec = fixed.breaks["rfm_recency"].spec.model_copy(update={"quantiles": None, "fixed": (7.0,)})
    breaks = {**fixed.breaks, "rfm_recency": replace(fixed.breaks["rfm_recency"], spec=spec)}
    declared = replace(fixed, breaks=breaks)
    found = block(rfm.rfm_report(told(declared, breaks={"rfm_recency": rows})), "breaks")
    assert found.table is not None and said(found.table.rows[0][2]) == "固定切分 declared"  # type: ignore[arg-type]


def test_baskets_are_those_of_the_settings() -> None:
    d = told(settings={"cross_purchase": {"window": 90, "min_joint_baskets": 5}})
    (found,) = methods.cross_purchase(d).blocks
    assert "within 90 days" in found.note.en and "has 5 joint baskets" in said(found.missing)


def test_a_segmentation_of_ones_own_has_a_table() -> None:
    d = told(
        segments={"user_kind": {"member": {True: 7}, "anonymous": {False: 2}}, "lifecycle": {"new": {True: 9}}},
        base={True: 7, False: 2},
    )
    section = others.other_segmentations(d)
    titles = [b.title.en for b in section.blocks]
    assert len(titles) == 2 and all("User kind" in t or "kind" in t.lower() for t in titles)
    whole = section.blocks[1].table
    assert whole is not None and [row[1] for row in whole.rows][:1] == ["7"]
    assert not others.other_segmentations(told(segments={"lifecycle": {"new": {True: 9}}})).blocks


NUMBER = re.compile(r"\d+(\.\d+)? ?(%|天|days?\b|期|periods|人|users|CNY|元|orders|单|people|levels)")
FIXED = re.compile(r"365 (天|days)|95 ?%|180 (天|days)|PSI.{1,2}28 (天|days)|\.\d%")
"""Windows that are part of a tag's or figure's name, intervals, formats."""


@pytest.mark.parametrize("path", sorted(p.name for p in SECTIONS.glob("*.py")))
def test_no_sentence_has_a_threshold_typed_into_it(path: str) -> None:
    """A number of days, users or money in a text is that of the settings, the catalogue or the figures."""
    tree = ast.parse((SECTIONS / path).read_text(encoding="utf-8"))
    documentation = {
        id(n.body[0].value)
        for n in ast.walk(tree)
        if isinstance(n, ast.Module | ast.FunctionDef | ast.ClassDef) and n.body and isinstance(n.body[0], ast.Expr)
    }
    typed = [
        f"{path}:{n.lineno}: {n.value}"
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in documentation
        if NUMBER.search(FIXED.sub("", n.value))
    ]
    assert not typed
