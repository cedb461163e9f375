"""The campaign chapter: what it says follows from what the campaign's steps wrote, or it says why there is nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from queries.campaign_course import CampaignCourse, CampaignsCourse
from report.blocks import Block
from report.data import ReportData, report_data
from report.sections.campaigns import campaigns
from tests.report.made_shop import GIVEN, D, MadeShop
from tests.report.test_sentences import said


@pytest.fixture(scope="module")
def data(made: MadeShop) -> ReportData:
    return report_data(made.project, made.made)


def told(data: ReportData, **parts: Any) -> dict[str, Block]:
    """The chapter's blocks by the end of their titles, of the shop's campaign with other parts."""
    (one,) = data.campaigns.told
    return blocks(replace(data, campaigns=replace(data.campaigns, told=(replace(one, **parts),))))


def blocks(d: ReportData) -> dict[str, Block]:
    return {b.title.en.split(": ")[-1].split(" <")[0]: b for b in campaigns(d).blocks}


def cells(block: Block) -> list[list[str]]:
    assert block.table is not None
    return [[c if isinstance(c, str) else "" if c is None else c.en for c in row] for row in block.table.rows]


def results(data: ReportData, **more: Any) -> tuple[dict[str, Any], ...]:
    (one,) = data.campaigns.told
    return tuple(r | more for r in one.results)


def test_a_shop_without_campaigns_gets_one_true_sentence(data: ReportData) -> None:
    (block,) = campaigns(replace(data, campaigns=CampaignsCourse())).blocks
    assert block.chart is None and block.table is None
    assert "This shop has no campaign yet" in said(block.missing) and "还没有营销活动" in said(block.missing)


def test_campaigns_that_cannot_be_read_are_not_called_none(data: ReportData) -> None:
    (block,) = campaigns(replace(data, campaigns=CampaignsCourse(has_mistakes=True))).blocks
    assert "huaxiang campaign check" in said(block.missing) and "no campaign yet" not in said(block.missing)


def test_a_campaign_that_nobody_was_assigned_to_says_so_and_keeps_its_days(data: ReportData) -> None:
    found = told(
        data, assigned={}, assigned_from=None, over_on=None, results=(), progress=(), learnt=(), attribution=()
    )
    assert len(found) == 2
    calendar, block = found.values()
    assert f"Nobody has been given an arm by {D}: huaxiang campaign assign spring" in said(block.missing)
    assert calendar.chart is not None and len(cells(calendar)) == 2


def test_the_calendar_has_every_stage_with_its_days_and_how_it_stands(data: ReportData) -> None:
    calendar = blocks(data)["Calendar of campaigns"]
    rows = cells(calendar)
    d_day = D - timedelta(3)
    assert [r[1:6] for r in rows] == [
        ["Harvest", str(d_day), str(d_day), str(d_day), "over"],
        ["Nurture", str(d_day + timedelta(1)), str(d_day + timedelta(30)), str(d_day), "running"],
    ]
    assert [r[8] for r in rows] == ["500", "–"]
    assert calendar.chart is not None
    first, second, aims, today = calendar.chart.data
    day = 86_400_000
    assert (first["base"], first["x"], second["x"]) == ([str(d_day)], [day], [30 * day])
    assert aims["x"] == [f"{d_day} 12:00"] * 2 and today["x"] == [str(D)] * 2


@pytest.mark.parametrize(
    ("after", "said_of"), [(-1, "in 1 day"), (-2, "in 2 days"), (0, "today"), (1, "1 day ago"), (3, "3 days ago")]
)
def test_d_day_is_told_from_the_day_of_the_page(data: ReportData, after: int, said_of: str) -> None:
    (one,) = data.campaigns.told
    moved = one.definition.model_copy(update={"d_day": D - timedelta(after)})
    (people,) = (
        b
        for b in told(data, definition=moved).values()
        if b.title.en.startswith("Spring") and b.tiles and b.tiles[0].label.en == "D-day"
    )
    assert people.tiles[0].note is not None and people.tiles[0].note.en == said_of


def test_what_is_over_for_long_stands_in_the_calendars_table_only(data: ReportData) -> None:
    calendar = campaigns(replace(data, campaigns=replace(data.campaigns, told=()))).blocks[0]
    assert calendar.chart is None and calendar.shown and len(cells(calendar)) == 2
    assert "Over for more than 90 days, and in the table only: 1." in calendar.note.en


def test_the_funnel_goes_from_the_audience_to_who_bought(data: ReportData) -> None:
    rows = cells(blocks(data)["funnel by stage"])
    assert rows == [
        ["Harvest", "Coupon", "300", "100", "sms 90", "2", "2", "–"],
        ["Harvest", "message", "300", "100", "sms 80", "1", "1", "–"],
        ["Harvest", "Held out", "300", "100", "–", "0", "0", "–"],
        ["Nurture", "Coupon", "300", "100", "–", "0", "0", "–"],
        ["Nurture", "message", "300", "100", "–", "0", "0", "–"],
        ["Nurture", "Held out", "300", "100", "–", "0", "0", "–"],
        ["Whole campaign", "Coupon", "–", "100", "–", "2", "2", "40"],
        ["Whole campaign", "message", "–", "100", "–", "1", "1", "40"],
        ["Whole campaign", "Held out", "–", "100", "–", "0", "0", "30"],
    ]


def test_without_touches_nobody_is_said_to_have_seen_nothing(data: ReportData) -> None:
    (one,) = data.campaigns.told
    stages = tuple(replace(s, touched={}) for s in one.stages)
    block = told(data, touched=None, stages=stages)["funnel by stage"]
    assert block.table is not None and [c.en for c in block.table.columns][4:] == ["Delivered (rows)", "Bought"]
    assert "tells of no touches" in block.note.en and block.chart is not None and len(block.chart.data) == 2


def test_an_audience_that_was_never_built_has_no_number(data: ReportData) -> None:
    (one,) = data.campaigns.told
    stages = tuple(replace(s, built=None, by_arm={}) for s in one.stages)
    assert {tuple(r[2:4]) for r in cells(told(data, stages=stages)["funnel by stage"])[:6]} == {("–", "–")}


def test_results_of_the_day_of_the_assignment_say_nothing_of_who_bought(data: ReportData) -> None:
    block = told(data, results=results(data, as_of=GIVEN))["funnel by stage"]
    assert block.table is not None and "Bought" not in [c.en for c in block.table.columns]


def test_metrics_stand_against_their_targets(data: ReportData) -> None:
    block = blocks(data)["metrics of the stages"]
    assert [r[1:] for r in cells(block)] == [
        ["buyers", "over", "40", "30", "75%"],
        ["net money (CNY)", "over", "900", "1,200", "133%"],
        ["people who wrote a review", "running", "10", "1", "10%"],
    ]
    assert block.chart is not None and block.chart.data[0]["x"] == [0.75, 120_000 / 90_000, 0.1]


def test_a_stage_that_had_not_begun_reached_nothing_rather_than_zero(data: ReportData) -> None:
    (one,) = data.campaigns.told
    early = tuple(r | {"as_of": GIVEN, "reached": 0.0} for r in one.progress)
    block = told(data, progress=early)["metrics of the stages"]
    assert {r[4] for r in cells(block)} == {"–"} and block.chart is None
    assert "No stage had begun by then" in block.note.en
    assert (
        "Not counted yet: huaxiang campaign results spring" in told(data, progress=())["metrics of the stages"].note.en
    )


def test_a_verdict_stands_in_words_with_its_interval(data: ReportData) -> None:
    block = blocks(data)["lift and verdict"]
    assert [(t.label.en, t.value.zh, t.value.en) for t in block.tiles] == [
        ("Coupon", "有提升", "it lifted"),
        ("message", "尚不能判断", "cannot be told yet"),
    ]
    reasons = [said(t.note) for t in block.tiles]
    assert "1.00 a user (0.20 – 1.80)" in reasons[0]
    assert "the interval -0.20 – 1.80 holds 0; smallest lift to be seen 50.0%" in reasons[1]
    assert block.chart is not None and block.chart.data[0]["x"] == [1.0, 1.0]
    assert block.chart.data[0]["error_x"]["arrayminus"] == pytest.approx([0.8, 1.2])
    assert len(cells(block)) == 6


def test_while_a_window_runs_the_interval_that_decides_is_the_one_drawn(data: ReportData) -> None:
    block = told(data, results=results(data, is_over=False))["lift and verdict"]
    assert "always-valid interval decides" in block.note.en and "随时有效" in block.note.zh
    assert block.chart is not None and block.chart.data[0]["error_x"]["arrayminus"] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"lift_verdict": "sample_ratio", "sample_ratio_p": 0.0002}, "sample ratio p = 0.0002"),
        ({"lift_verdict": "too_small", "users": 80}, "80 users and 100 held out; each needs 100"),
        ({"lift_verdict": "too_small", "held_users": 0}, "nobody is held out"),
        ({"lift_verdict": "too_small", "visible_lift": None}, "the held out have brought nothing yet"),
        ({"lift_verdict": "undecided", "difference_low": None}, "nothing to compare yet"),
    ],
)
def test_why_there_is_no_verdict_is_said(data: ReportData, parts: dict[str, Any], reason: str) -> None:
    tile = told(data, results=results(data, **parts))["lift and verdict"].tiles[0]
    assert reason in said(tile.note) and "it lifted" not in said(tile.value)


def test_a_lift_that_was_asked_for_and_cannot_be_seen_is_named(data: ReportData) -> None:
    (one,) = data.campaigns.told
    asked = one.definition.model_copy(update={"smallest_lift": 0.2})
    rows = results(data, lift_verdict="too_small")
    tile = told(data, definition=asked, results=rows)["lift and verdict"].tiles[0]
    assert "the smallest lift to be seen is 50.0%; 20.0% was asked for" in said(tile.note)


def test_without_results_the_verdict_says_what_comes_first(data: ReportData) -> None:
    assert "huaxiang campaign results spring" in said(told(data, results=())["lift and verdict"].missing)
    none = told(data, results=(), assigned={"coupon": 3})["lift and verdict"]
    assert "Nobody is held out, so no lift can be told" in said(none.missing)


def test_what_was_learnt_is_shown_where_something_was(data: ReportData) -> None:
    block = blocks(data)["what was learnt"]
    assert "The lift of 1 is above the campaign's own, of 2" in block.note.en
    assert [(r[1], r[2], r[3]) for r in cells(block)] == [("yes", "60", "50"), ("–", "60", "50")]
    (one,) = data.campaigns.told
    none = told(data, learnt=tuple(r | {"is_found": False} for r in one.learnt))["what was learnt"]
    assert "none has a lift above the campaign's own" in none.note.en
    assert "what was learnt" not in told(data, learnt=())


def test_every_found_value_is_shown_and_what_is_cut_is_said(data: ReportData) -> None:
    (one,) = data.campaigns.told

    def many(found: int) -> CampaignCourse:
        return replace(one, learnt=tuple(one.learnt[0] | {"value": f"v{n}", "is_found": n < found} for n in range(40)))

    for found, shown in ((0, 15), (20, 20)):
        block = told(data, learnt=many(found).learnt)["what was learnt"]
        assert len(cells(block)) == shown and f"The surest {shown} are shown." in block.note.en


def test_costs_and_credit_stand_where_there_are_touches(data: ReportData) -> None:
    found = blocks(data)
    priced = found["what it cost"].tiles[0]
    assert (priced.value.en, said(priced.note)) == ("5.00 CNY", "每个增量订单 0.50 0.50 an added order")
    credit = found["orders credited to touches"]
    assert sorted(r[3:] for r in cells(credit)) == [["2.5"] * 6, ["4"] * 6]
    assert "Credit is no cause" in credit.note.en
    none = told(data, attribution=(), results=results(data, cost_minor=None))
    assert not {"what it cost", "orders credited to touches"} & set(none)
    free = told(data, results=results(data, cost_per_added_order_minor=None))["what it cost"]
    assert "no added order" in said(free.tiles[0].note)


def test_rows_of_the_calendar_name_the_campaign_where_there_are_several(data: ReportData) -> None:
    (one,) = data.campaigns.told
    both = dict.fromkeys(("spring", "other"), one.definition)
    told_of = (one, replace(one, id="other"))
    several = replace(data, campaigns=replace(data.campaigns, definitions=both, told=told_of))
    for d, rows in ((data, ["Harvest", "Nurture"]), (several, [" · Harvest", " · Nurture"] * 2)):
        calendar = blocks(d)["Calendar of campaigns"]
        assert calendar.chart is not None
        labels = [t.en for t in calendar.chart.layout["yaxis"]["ticktext"]]
        assert [label[-len(row) :] for label, row in zip(labels, rows, strict=True)] == rows
        assert all(("Spring" in label) == (d is several) for label in labels)


def test_differences_of_shares_are_in_percentage_points(data: ReportData) -> None:
    (one,) = data.campaigns.told
    converted = one.definition.model_copy(update={"outcome": "converted"})
    block = told(data, definition=converted)["lift and verdict"]
    assert "10.00 pp a user (2.00 – 18.00 pp)" in said(block.tiles[0].note)
    assert "10.00 个百分点（2.00 – 18.00 个百分点）" in said(block.tiles[0].note)
    assert block.chart is not None and block.chart.data[0]["x"] == pytest.approx([10.0, 10.0])
    first = cells(block)[0]
    assert (first[3], first[4], first[8]) == ("40.00% / 30.00%", "10.00 pp", "-10.00 – 30.00 pp")
