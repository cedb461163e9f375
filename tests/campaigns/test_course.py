"""How far campaigns have come by a release's day, over what the campaign's own steps wrote, held against counts by hand."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.language import HELD_OUT
from jobs.campaigns.assign import assign_arms
from jobs.campaigns.deliver import deliver_stage
from jobs.campaigns.learn import learn
from jobs.campaigns.results import campaign_results
from lake.releases import release
from queries.campaign_course import CampaignCourse, CampaignsCourse, PeopleReached, campaigns_course
from tests.audiences.lake_shop import EARLY, Shop, silver
from tests.campaigns.campaign_shop import END, SPRING, START, UIDS, WINDOW, campaign_shop, define, people, users
from tests.campaigns.test_campaign_jobs import arms
from tests.campaigns.test_deliver import CHANGES, LIST

WOMEN = [u for u in UIDS if u % 3]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that nobody was assigned to."""
    return campaign_shop(tmp_path_factory.mktemp("bare") / "shop").folder


@pytest.fixture(scope="module")
def template(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages delivered on START; touches of five people; results and what was learnt as of END."""
    folder = tmp_path_factory.mktemp("template") / "shop"
    shutil.copytree(bare, folder)
    shop = Shop.at(folder)
    (folder / "platforms").mkdir()
    (folder / "platforms" / "plain.yaml").write_text(LIST, encoding="utf-8")
    (folder / "methods").mkdir()
    (folder / "methods" / "campaigns.yaml").write_text("least_value_users: 20\n", encoding="utf-8")
    for stage in ("grow", "harvest"):
        deliver_stage(shop.project, "spring", to="plain", stage=stage, which=1, requested_by="li")
    given = arms(shop)
    a, b = (u for u in WOMEN if given[u] == "coupon"), (u for u in WOMEN if given[u] == HELD_OUT)
    first, second, held = next(a), next(a), next(b)
    shop.put("identity.identifiers", [{"id_kind": "member", "id_value": "B", "uid": second}])
    told = [
        touch(1, first, "sent"),
        touch(2, first, "clicked"),
        touch(3, first, "exposed", stage="harvest"),
        {**touch(4, first, "sent"), "user_id": None, "member_id": "B"},
        touch(5, held, "exposed"),
        {**touch(6, first, "exposed"), "user_id": "nobody"},
        {**touch(7, second, "exposed"), "campaign": "other"},
    ]
    shop.put("silver.touches", told)
    shop.release(END, people(), number=2)
    campaign_results(shop.project, "spring")
    learn(shop.project, "spring")
    return folder


def touch(n: int, uid: int, state: str, stage: str = "grow") -> dict[str, Any]:
    at = datetime(2026, 3, 12, 3, tzinfo=UTC)
    made = {"event_id": f"e{n}", "occurred_at": at, "campaign": "spring", "channel": "app", "touch_state": state}
    return silver(EARLY, n, **made, stage=stage, user_id=f"m{uid:06d}")


def course(shop: Shop, which: int | str | None = None) -> CampaignsCourse:
    return campaigns_course(shop.project, release(shop.lake, which))


def only(found: CampaignsCourse) -> CampaignCourse:
    (one,) = found.told
    return one


def test_a_shop_without_a_campaign_has_none(bare: Path, tmp_path: Path) -> None:
    shutil.copytree(bare, tmp_path / "shop")
    shutil.rmtree(tmp_path / "shop" / "campaigns")
    assert course(Shop.at(tmp_path / "shop")) == CampaignsCourse(report_days=90)


def test_a_campaign_that_nobody_was_assigned_to_has_its_days_and_nothing_else(bare: Path) -> None:
    found = only(course(Shop.at(bare)))
    assert (found.assigned, found.over_on, found.results, found.touched) == ({}, None, (), None)
    days = [(s.stage, s.first, s.last, s.users) for s in found.stages]
    d_day = date(2026, 3, 20)
    assert days == [
        ("grow", d_day - timedelta(9), d_day - timedelta(1), None),
        ("harvest", d_day, d_day, None),
    ]


def test_every_stage_goes_from_its_audience_over_the_arms_to_what_left_and_was_seen(shop: Shop) -> None:
    found, given = only(course(shop)), arms(shop)
    assert found.assigned == dict(sorted(Counter(given.values()).items()))
    assert (found.assigned_from, found.over_on) == (START, START + timedelta(WINDOW))
    grow, harvest = found.stages
    assert grow.by_arm == Counter(given[u] for u in WOMEN) and grow.users == len(WOMEN)
    assert harvest.by_arm == Counter(given.values()) and harvest.built == START
    left = {(s.stage, x.arm): (x.audience, x.platform, x.rows) for s in found.stages for x in s.deliveries}
    women = Counter(given[u] for u in WOMEN)
    everybody = Counter(given.values())
    assert left == {
        ("grow", "coupon"): ("women", "plain", women["coupon"]),
        ("grow", "message"): ("women", "plain", women["message"]),
        ("harvest", "coupon"): ("everybody", "plain", everybody["coupon"]),
        ("harvest", "message"): ("everybody", "plain", everybody["message"]),
    }
    assert grow.touched == {"coupon": PeopleReached(2, 1), HELD_OUT: PeopleReached(1, 1)}
    assert harvest.touched == {"coupon": PeopleReached(1, 1)}
    assert found.touched == {"coupon": PeopleReached(2, 1), HELD_OUT: PeopleReached(1, 1)}, (
        "a person of two stages is one person"
    )
    assert {r["arm"] for r in found.results} == {"coupon", "message"} and found.progress and found.learnt


def test_an_earlier_release_knows_nothing_of_what_came_later(shop: Shop) -> None:
    found = only(course(shop, which=1))
    assert found.assigned and found.stages[0].deliveries
    assert (found.results, found.progress, found.learnt, found.touched) == ((), (), (), None)


def test_people_who_have_no_arm_yet_are_counted_as_such(bare: Path, tmp_path: Path) -> None:
    shutil.copytree(bare, tmp_path / "shop")
    shop = Shop.at(tmp_path / "shop")
    (shop.folder / "platforms").mkdir()
    (shop.folder / "platforms" / "plain.yaml").write_text(LIST, encoding="utf-8")
    deliver_stage(shop.project, "spring", to="plain", stage="grow", which=1, requested_by="li")
    size = {"audience": "everybody", "as_of": START, "release": 1, "definition_hash": "h", "users": len(UIDS)}
    shop.put("audiences.sizes", [size], replace=None)
    member = {"audience": "everybody", "as_of": START, "change": "enter", "reason": "first build"}
    shop.put("audiences.membership_log", [{**member, "uid": u} for u in UIDS], replace=None)
    grow, harvest = only(course(shop)).stages
    assert None not in grow.by_arm
    assert harvest.by_arm[None] == len(UIDS) - len(WOMEN) and harvest.users == len(UIDS)


def test_of_two_merged_persons_the_elders_arm_counts_once(shop: Shop) -> None:
    given = arms(shop)
    elder, younger = next((a, b) for a in WOMEN for b in WOMEN if a < b < 100_000 and given[a] != given[b])
    shop.put("identity.users", users({younger: elder}))
    shop.release(END, people(without=[younger]), number=3)
    found = only(course(shop))
    left = Counter(arm for u, arm in given.items() if u != younger)
    assert found.assigned == dict(sorted(left.items()))
    assert found.stages[0].by_arm == Counter(given[u] for u in WOMEN if u != younger)
    assert found.assigned == assign_arms(shop.project, "spring", stages=["grow", "harvest"], dry_run=True).users


def test_a_stage_delivered_anew_has_its_newest_rows_once_by_platform(shop: Shop) -> None:
    (shop.folder / "platforms" / "changes.yaml").write_text(CHANGES, encoding="utf-8")
    (row, *_) = (
        r
        for r in shop.lake.dataset("exports.deliveries").to_table().to_pylist()
        if (r["stage"], r["arm"]) == ("grow", "coupon")
    )
    again = {**row, "delivery_id": "again", "as_of": END, "release": 2, "rows": 7}
    other = {**row, "delivery_id": "other", "platform": "changes", "rows": 3}
    shop.put("exports.deliveries", [again, other], replace=None)
    grow = only(course(shop)).stages[0]
    mine = [(x.platform, x.rows, x.is_changes) for x in grow.deliveries if x.arm == "coupon"]
    assert mine == [("changes", 3, True), ("plain", 7, False)]


def test_a_campaign_whose_file_is_gone_is_told_by_what_people_were_assigned_by(shop: Shop) -> None:
    (shop.folder / "campaigns" / "spring.yaml").unlink()
    found = only(course(shop))
    assert (found.id, found.definition.name.en, found.definition.d_day) == ("spring", "Spring", date(2026, 3, 20))


def test_a_campaign_long_over_is_in_the_calendar_only(shop: Shop) -> None:
    define(shop, SPRING.replace("2026-03-20", "2025-06-01"), "old")
    found = course(shop)
    assert list(found.definitions) == ["old", "spring"]
    assert [c.id for c in found.told] == ["spring"]
    (shop.folder / "methods" / "campaigns.yaml").write_text("report_days: 0\n", encoding="utf-8")
    assert course(shop).told == (), "the last window ended before END"


def test_definitions_with_mistakes_leave_those_that_people_were_assigned_to(shop: Shop) -> None:
    define(shop, SPRING.replace("d_day", "dday"), "wrong")
    found = course(shop)
    assert found.has_mistakes and list(found.definitions) == ["spring"]
