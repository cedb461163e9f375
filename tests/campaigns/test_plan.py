"""``huaxiang campaign plan``: the goal worked back to users, who could bring it, and what the holdout will see."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path

import pytest
import typer
from scipy.stats import binomtest
from typer.testing import CliRunner

from campaigns.language import HELD_OUT
from campaigns.power import smallest_share_difference
from cli import campaign as verbs
from lake.releases import write_release
from queries.campaign_plan import Z95, CampaignPlan, campaign_plan
from schemas.errors import ConfigurationError
from tests.aipl.test_gap import DAY, PER_USER, USERS, figures
from tests.audiences.lake_shop import Shop
from tests.campaigns.campaign_shop import SPRING, define
from tests.pipeline import shop as shipped

STAGES = ["awareness"] * 100 + ["interest"] * 100 + ["purchase"] * 60 + ["loyalty"] * 40
AUDIENCE = """\
name: {{zh: 人群, en: People}}
description: {{zh: 人群, en: People}}
owner: crm
include: {{tag: aipl_stage, is: [{stages}]}}
"""
PLANNED = (
    SPRING.replace("[women]", "[interested]")
    .replace("{women:", "{interested:")
    .replace("[everybody]", "[buyers, loyal]")
    .replace("{everybody: {zh: 下单, en: Buy}}", "{buyers: {zh: 下单, en: Buy}, loyal: {zh: 专享, en: Yours}}")
    .replace("{money: 1000}", "{money: 50000}")
    .replace("holdout: 0.3", "holdout: 0.2")
    .replace(
        "    channels: [app]\n    content: {buyers", "    channels: [app]\n    budget: 300.5\n    content: {buyers"
    )
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "shop"
    shipped.new_project(folder)
    shop = Shop.at(folder)
    for name, stages in {
        "interested": "interest",
        "aware": "awareness",
        "buyers": "purchase, loyalty",
        "loyal": "loyalty",
    }.items():
        shop.define(name, AUDIENCE.format(stages=stages))
    define(shop, PLANNED)
    shop.put("segments.figures", figures(), replace=[{"as_of": DAY}])
    rows = [
        {"as_of": DAY, "bucket": 0, "is_member": True, "uid": u, "user_id": f"m{u}", "aipl_stage": stage}
        for u, stage in enumerate(STAGES)
    ]
    shop.put("profile.profile", rows, replace=[{"as_of": DAY}])
    write_release(shop.lake, DAY, "run-1", shop.lake.versions())
    return folder


@pytest.fixture(scope="module")
def plan(template: Path) -> CampaignPlan:
    return campaign_plan(Shop.at(template).project, "spring")


def test_a_money_goal_is_worked_back_to_users_of_each_stage(plan: CampaignPlan) -> None:
    """5,000,000 minor at 1,000 a user need 5,000 users, shared as the period's money was."""
    whole = sum(USERS.values())
    assert {n.stage: n.needed_users for n in plan.needs} == {s: math.ceil(5_000 * n / whole) for s, n in USERS.items()}
    assert {n.stage: n.gap_users for n in plan.needs}["interest"] == 1_389 - 500


def test_audiences_that_can_fill_a_stage_are_named_also_those_that_the_campaign_does_not_speak_to(
    plan: CampaignPlan,
) -> None:
    needs = {n.stage: n for n in plan.needs}
    assert needs["interest"].fillers == {"aware": 100} and needs["interest"].inside == {"interested": 100}
    assert needs["purchase"].fillers == {"interested": 100}
    assert needs["loyalty"].inside == {"buyers": 40, "loyal": 40}
    assert [a.audience for a in plan.audiences] == ["interested", "buyers", "loyal"]


def test_people_of_two_audiences_are_counted_once(plan: CampaignPlan) -> None:
    assert sum(a.users for a in plan.audiences) == 240
    assert (plan.together.users, plan.together.by_aipl) == (200, {"interest": 100, "loyalty": 40, "purchase": 60})


def test_what_is_expected_has_the_spread_of_who_buys_and_of_the_rates(plan: CampaignPlan) -> None:
    e = plan.expected
    assert e is not None
    variance = 0.0
    for n, stage in ((100, "interest"), (60, "purchase"), (40, "loyalty")):
        ci = binomtest(USERS[stage] // 2, USERS[stage]).proportion_ci(method="wilson")
        variance += n / 4 + (n * (ci.high - ci.low) / (2 * Z95)) ** 2
    assert (e.buyers, e.money_minor) == pytest.approx((100, 200 * PER_USER))
    assert e.buyers_high - e.buyers == pytest.approx(Z95 * math.sqrt(variance))
    assert e.money_high - e.money_minor == pytest.approx(2 * PER_USER * Z95 * math.sqrt(variance))
    assert e.needed_lift == pytest.approx((5_000_000 - 200_000) / (200_000 * 0.8))


def test_the_smallest_lift_that_the_holdout_will_see_is_said_before_anything_is_assigned(plan: CampaignPlan) -> None:
    arms = {a.arm: a for a in plan.arms}
    assert (arms[HELD_OUT].users, arms["coupon"].users) == (40, 80)
    seen = smallest_share_difference(0.5, 40, 80)
    assert seen is not None and arms["coupon"].visible_lift == pytest.approx(seen / 0.5)
    assert arms[HELD_OUT].visible_lift is None and arms["coupon"].assigned == 0


def test_each_metric_says_what_is_missing_and_how_much_a_day(plan: CampaignPlan) -> None:
    grow, harvest = plan.stages
    assert (grow.first, grow.last, grow.metrics[0].days_left) == (date(2026, 3, 11), date(2026, 3, 19), 9)
    assert (grow.metrics[0].missing, grow.metrics[0].per_day) == (30, pytest.approx(30 / 9))
    assert (harvest.metrics[1].target, harvest.metrics[1].per_day) == (50_000, 50_000)
    assert harvest.budget_minor == plan.budget_minor == 30_050


def test_a_goal_in_users_asks_for_those_of_whom_so_many_buy(shop: Shop) -> None:
    define(shop, PLANNED.replace("{money: 50000}", "{users: 50}"))
    found = campaign_plan(shop.project, "spring")
    assert {n.stage: n.needed_users for n in found.needs} == {s: math.ceil(50 * n / 900) for s, n in USERS.items()}
    assert found.expected is not None and found.expected.needed_lift is None, "100 of them will buy anyway"


def test_without_rates_the_rest_of_the_plan_is_there_and_says_what_is_not(shop: Shop) -> None:
    tables = {n: v for n, v in shop.lake.versions().items() if n != "segments.figures"}
    write_release(shop.lake, DAY, "run-2", tables)
    found = campaign_plan(shop.project, "spring")
    assert (found.needs, found.expected, found.together.users) == ((), None, 200)
    assert any("is older than the figures of AIPL" in w for w in found.warnings)


def test_a_day_in_the_past_is_refused(shop: Shop) -> None:
    define(shop, PLANNED.replace("d_day: 2026-03-20", "d_day: 2026-03-10"))
    with pytest.raises(ConfigurationError, match=r"spring\.yaml:5: d_day 2026-03-10 is not after 2026-03-10"):
        campaign_plan(shop.project, "spring")


def test_an_audience_that_is_not_the_campaigns_and_cannot_be_judged_is_left_out(shop: Shop) -> None:
    shop.define("broken", AUDIENCE.format(stages="interest").replace("aipl_stage", "aipl_stge"))
    found = campaign_plan(shop.project, "spring")
    assert any(w.startswith("audience broken is left out") for w in found.warnings)
    define(shop, PLANNED.replace("[interested]", "[broken]").replace("{interested:", "{broken:"))
    with pytest.raises(ConfigurationError, match="aipl_stge"):
        campaign_plan(shop.project, "spring")


def test_a_marketer_reads_the_plan(shop: Shop) -> None:
    app = typer.Typer()
    app.add_typer(verbs.campaign, name="campaign")
    words = ["campaign", "plan", "spring", "--project", str(shop.folder)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    for said in (
        "目标 goal 50,000 元 | 50,000 CNY",
        "可补足 can fill",
        "aware 100",
        "2,000 CNY",
        "需要提升",
        "300.50 CNY",
    ):
        assert said in done.output
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).output)["together"]["users"] == 200
