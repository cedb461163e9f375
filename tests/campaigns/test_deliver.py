"""``campaign deliver``: every person of a stage's audiences in one file or in none, and the held out in none."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobs.campaigns.deliver import DeliveredStage, deliver_stage
from schemas.errors import HuaxiangError, UsageError
from tests.audiences.lake_shop import EARLY, Shop, silver
from tests.campaigns.campaign_shop import END, SPRING, START, UIDS, define
from tests.campaigns.test_campaign_verbs import as_json, typed

LIST = """\
name: {zh: 名单, en: List}
description: {zh: 每行一个用户, en: A user a line}
columns:
  - {profile: user_id}
"""
CHANGES = LIST.replace("{profile: user_id}", "{id: member_id}") + "sends: changes\n"


@pytest.fixture
def shop(template: Path, tmp_path: Path) -> Shop:
    shutil.copytree(template, tmp_path / "shop")
    found = Shop.at(tmp_path / "shop")
    (found.folder / "platforms").mkdir()
    (found.folder / "platforms" / "plain.yaml").write_text(LIST, encoding="utf-8")
    return found


def delivered(shop: Shop, stage: str = "harvest", **more: Any) -> DeliveredStage:
    return deliver_stage(shop.project, "spring", to="plain", stage=stage, which=1, requested_by="li", **more)


def people_in(found: DeliveredStage) -> dict[tuple[str, str], set[str]]:
    """The users in the files, by audience and arm."""
    files = {(d.audience, str(d.arm)): Path(d.file) for d in found.deliveries}
    return {k: {row["user_id"] for row in csv.DictReader(path.open(encoding="utf-8"))} for k, path in files.items()}


def arms(shop: Shop) -> dict[str, set[str]]:
    """Who has which arm, by SQL of its own."""
    with duckdb.connect() as db:
        db.register("a", shop.lake.dataset("campaigns.assignments"))
        rows = db.execute("select arm, uid from a where campaign = 'spring'").fetchall()
    return {arm: {f"m{uid:06d}" for other, uid in rows if other == arm} for arm, _ in rows}


def test_everybody_of_an_arm_is_in_its_file_and_the_held_out_in_none(shop: Shop) -> None:
    found = delivered(shop)
    given = arms(shop)
    assert people_in(found) == {("everybody", arm): given[arm] for arm in ("coupon", "message")}
    assert found.held_out == len(given["holdout"]) and 80 < found.held_out < 160
    assert sum(map(len, given.values())) == len(UIDS)
    assert found.assigned.added == {arm: len(who) for arm, who in given.items()}


def test_the_funnel_says_who_is_held_out_and_who_is_in_another_arm(shop: Shop) -> None:
    found, given = delivered(shop), arms(shop)
    coupon = next(d for d in found.deliveries if d.arm == "coupon")
    lost = {s["step"]: s["lost"] for s in coupon.funnel}["arm"]
    assert lost == {"held out of the campaign": len(given["holdout"]), "in another arm": len(given["message"])}
    manifest = json.loads(Path(coupon.manifest).read_text(encoding="utf-8"))
    told = {k: manifest[k] for k in ("campaign", "stage", "arm", "content")}
    assert told == {"campaign": "spring", "stage": "harvest", "arm": "coupon", "content": {"zh": "下单", "en": "Buy"}}
    (row,) = [r for r in shop.lake.dataset("exports.deliveries").to_table().to_pylist() if r["arm"] == "coupon"]
    assert (row["campaign"], row["stage"], row["rows"]) == ("spring", "harvest", len(given["coupon"]))


def test_files_of_two_arms_have_names_of_their_own(shop: Shop) -> None:
    names = [Path(d.file).name for d in delivered(shop).deliveries]
    assert len(set(names)) == 2 and all(arm in name for arm, name in zip(("coupon", "message"), names, strict=True))


def test_delivered_again_nothing_is_written_and_nobody_moves(shop: Shop) -> None:
    first, again = delivered(shop), delivered(shop)
    assert [d.already_delivered for d in again.deliveries] == [True, True]
    assert [d.delivery_id for d in again.deliveries] == [d.delivery_id for d in first.deliveries]
    assert sum(again.assigned.added.values()) == 0


def test_of_two_audiences_of_a_stage_the_first_speaks_to_who_is_in_both(shop: Shop) -> None:
    text = SPRING.replace("audiences: [everybody]", "audiences: [women, everybody]")
    text = text.replace("content: {everybody:", "content: {women: {zh: 她, en: Her}, everybody:")
    define(shop, text)
    found = people_in(delivered(shop))
    women = {f"m{u:06d}" for u in UIDS if u % 3}
    assert found["women", "coupon"] | found["women", "message"] <= women
    assert not (found["everybody", "coupon"] | found["everybody", "message"]) & women
    together = [who for people in found.values() for who in people]
    assert len(together) == len(set(together)) == len(UIDS) - len(arms(shop)["holdout"])


def test_of_two_stages_that_share_days_the_one_that_goes_first_speaks(shop: Shop) -> None:
    text = SPRING.replace("    days: {first: -9, last: -1}\n", "    days: {first: -9, last: 0}\n    priority: 1\n")
    define(shop, text.replace("  harvest:\n", "  harvest:\n    priority: 2\n"))
    found = people_in(delivered(shop))
    women = {f"m{u:06d}" for u in UIDS if u % 3}
    assert not (found["everybody", "coupon"] | found["everybody", "message"]) & women
    coupon = next(d for d in delivered(shop).deliveries if d.arm == "coupon")
    assert {s["step"]: s["lost"] for s in coupon.funnel}["arm"]["spoken to by another audience or stage"] > 100


def test_an_arm_is_a_list_of_its_own_to_a_platform_that_is_sent_changes(shop: Shop) -> None:
    (shop.folder / "platforms" / "plain.yaml").write_text(CHANGES, encoding="utf-8")
    ids = [{"id_kind": "member", "id_value": f"M{u}", "uid": u} for u in UIDS]
    shop.put("identity.identifiers", ids)
    shop.put("silver.members", [silver(EARLY, u, member_id=f"M{u}", marketing_consent=True) for u in UIDS])
    first = delivered(shop)
    assert all(d.changes is not None and d.changes["since"] is None for d in first.deliveries)
    later = deliver_stage(shop.project, "spring", to="plain", stage="harvest", which=2, requested_by="li")
    by_arm = {d.arm: d.delivery_id for d in first.deliveries}
    assert {d.arm: d.changes and d.changes["since"] for d in later.deliveries} == by_arm
    assert all(d.changes is not None and (d.changes["added"], d.changes["removed"]) == (0, 0) for d in later.deliveries)


def test_without_a_stage_it_is_the_first_that_is_not_over(shop: Shop) -> None:
    found = deliver_stage(shop.project, "spring", to="plain", which=1, requested_by="li")
    assert found.stage == "grow" and START < END
    with pytest.raises(HuaxiangError, match="is over"):
        deliver_stage(shop.project, "spring", to="plain", which=2, requested_by="li")
    with pytest.raises(UsageError, match="no stage 'harvets'; did you mean 'harvest'"):
        delivered(shop, "harvets")


def test_the_verb_says_it_in_both_languages(shop: Shop) -> None:
    at = ("--release", "1", "--to", "plain", "--stage", "harvest")
    said = typed(shop, "deliver", "spring", *at)
    assert "拔草 harvest" in said and "留出 held out" in said and "属于本组 are in this arm" in said
    assert [d["already_delivered"] for d in as_json(shop, "deliver", "spring", *at)["deliveries"]] == [True, True]
