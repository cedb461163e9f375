"""Pages find tags by their roles: renamed ones keep their parts, and a part whose role no tag has says so."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.insights import marks
from jobs.insights.step import TOPICS
from jobs.steps import Given, step_named
from queries.flow import flow
from queries.gap import gap
from queries.user import card
from report.card import card_html
from report.data import ReportData, report_data
from report.page import attention, html, sections
from schemas.errors import NotThereError
from schemas.tag_roles import ROLES, TagRole, used_by
from tests.lifecycle.lake import InThisProcess
from tests.renamed import PREFIX
from tests.report.made_shop import D, MadeShop

PART_OF = {
    TagRole.RFM: "rfm",
    TagRole.RFM_VALUE: "rfm",
    TagRole.RECENCY_SCORE: "rfm",
    TagRole.PYRAMID: "pyramid",
    TagRole.SUPER_USER: "pyramid",
    TagRole.AIPL: "aipl",
    TagRole.LIFECYCLE: "lifecycle",
    TagRole.QUADRANT: "quadrants",
    TagRole.PROMOTION: "promotion",
}
"""The part of the page that says that a role has no tag."""


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    return MadeShop(tmp_path_factory.mktemp("renamed") / "shop", renamed=True)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    return MadeShop(tmp_path_factory.mktemp("without") / "shop", roles=False)


def data(shop: MadeShop) -> ReportData:
    return report_data(shop.project, shop.made)


def test_renamed_tags_keep_their_parts_value_for_value(made: MadeShop, renamed: MadeShop) -> None:
    mine, yours = data(made), data(renamed)
    assert yours.of(TagRole.LIFECYCLE) == f"{PREFIX}lifecycle"
    for one, other in zip(sections(mine), sections(yours), strict=True):
        assert repr(one) == repr(other).replace(PREFIX, ""), one.id
    assert attention(mine) == attention(yours)


def test_the_card_of_renamed_tags_is_the_same(made: MadeShop, renamed: MadeShop) -> None:
    mine, yours = (card_html(s.project, card(s.project, 4)) for s in (made, renamed))
    assert mine == yours.replace(PREFIX, "")


@pytest.mark.parametrize("role", PART_OF)
def test_a_part_without_its_tag_says_in_both_languages_how_to_give_the_role(without: MadeShop, role: TagRole) -> None:
    part = next(s for s in sections(data(without)) if s.id == PART_OF[role])
    told = [b.missing for b in part.blocks if b.missing is not None and f"role: {role}`" in b.missing.en]
    assert len(told) == 1
    assert f"No tag has the role {role}" in told[0].en and f"没有标签担任角色 {role}" in told[0].zh
    assert ROLES[role].without.en in told[0].en and ROLES[role].without.zh in told[0].zh


def test_the_page_without_roles_is_made_and_says_so_first(without: MadeShop) -> None:
    d = data(without)
    first = attention(d)[0]
    assert all(role in first.en and role in first.zh for role in used_by("report"))
    assert "No tag has these roles" in html(d)[0]
    (note,) = {
        b.note.en
        for s in sections(d)
        if s.id == "segmentations"
        for b in s.blocks
        if "value_layer" in b.title.en
        if b.chart
    }
    assert "No tag has the role recency, frequency, monetary" in note


def test_the_card_without_roles_says_that_rfm_is_not_known(without: MadeShop) -> None:
    page = card_html(without.project, card(without.project, 4))
    assert "No tag has the role recency_score" in page and "没有标签担任角色 rfm" in page


def test_gap_and_flow_without_the_role_of_the_stage_say_how_to_give_it(without: MadeShop) -> None:
    for ask in (
        lambda: gap(without.project, Decimal(1_000), D),
        lambda: flow(without.project, None, D, D),
    ):
        with pytest.raises(NotThereError, match=r"No tag has the role aipl .*`role: aipl`"):
            ask()


def test_insights_without_roles_are_told_and_the_rest_is_made(tmp_path: Path) -> None:
    without = MadeShop(tmp_path / "shop", full=False, users=30, roles=False)
    step = step_named("insights")
    assert step is not None
    given = Given(without.project, cast("Any", InThisProcess()), D, "run-without-roles")
    done = step.run(given, lambda *_: None)
    (told,) = done.warnings
    assert all(f"{role} (" in told for role in used_by("insights")) and "huaxiang tag check" in told
    rows = without.project.lake.dataset("segments.figures").to_table().to_pylist()
    # users of segmentations need no role
    assert {(r["topic"], r["figure"]) for r in rows} == {("segments", "users"), ("segments", "users_share")}


def test_figures_of_roles_without_a_tag_have_no_marks() -> None:
    nothing: Any = SimpleNamespace(of_role=lambda role: None, showing=lambda attribute: None)
    for topic in TOPICS:
        row = {"topic": topic, "figure": "fast", "item": "kept/x"}
        assert set(marks.tags_of_figure(nothing, row)) <= {"kept"}


def test_a_gap_of_stages_without_labels_calls_them_by_their_values(tmp_path: Path) -> None:
    from queries.gap import _called

    tag: Any = SimpleNamespace(labels={})
    assert _called(tag, "purchase") == ("purchase", "purchase")
