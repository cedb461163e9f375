"""What a marketer sees of an audience: some people with contacts masked, whom files would reach, sizes of past days."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from audiences.contacts import masked_contact
from audiences.language import named, read_text
from jobs.audiences.step import build
from lake.releases import write_release
from queries.audience_people import audience_sample
from queries.audience_sizes import sizes_over_releases
from tests.audiences.lake_shop import BEIJING, EARLY, D, Shop, beijing_shop, people, phone_of, silver
from tests.audiences.test_audience_verbs import as_json, typed

METHOD = "sample_tags: [register_city, paid_amount_90d]\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = beijing_shop(tmp_path_factory.mktemp("people") / "shop")
    (made.folder / "methods").mkdir()
    (made.folder / "methods" / "audiences.yaml").write_text(METHOD, encoding="utf-8")
    later = [
        silver(
            EARLY + timedelta(days=1),
            50,
            member_id="M2",
            phone=phone_of(2),
            email="li.lei@shop.cn",
            marketing_consent=False,
        )
    ]
    made.put("silver.members", later, replace=None)
    build(made.project, "beijing", requested_by="li")
    moved = people(u2={"register_city": "上海"}, u4={"register_city": "北京"})
    made.release(D + timedelta(days=1), moved)
    return made


def test_people_are_recognised_and_their_contacts_are_not_told(shop: Shop) -> None:
    found = audience_sample(shop.project, "beijing", which=str(D))
    assert [p.uid for p in found.people] == [1, 2, 100_001] and found.users == 3
    assert found.people[0].contacts == {"phone": "138****0001"}
    assert found.people[1].contacts == {"phone": "138****0002", "email": "l***@shop.cn"}
    assert [(t.zh, t.value_zh) for t in found.people[1].tags] == [("注册城市", "北京"), ("近90天消费", "200.00 CNY")]
    assert "1380013" not in repr(found) and "li.lei" not in repr(found)
    assert len(audience_sample(shop.project, "beijing", which=str(D), most=1).people) == 1


def test_a_tag_that_the_release_does_not_have_is_named(shop: Shop) -> None:
    tags = shop.folder / "tags" / "all.yaml"
    before = tags.read_text(encoding="utf-8")
    new = before[before.index("  - id: gender") : before.index("  - id: paid_amount_90d")].replace(
        "id: gender", "id: sex"
    )
    tags.write_text(before + new, encoding="utf-8")
    found = audience_sample(shop.project, "beijing", tags=["register_city", "sex"])
    tags.write_text(before, encoding="utf-8")
    assert found.lacking == ("sex",) and [t.tag for t in found.people[0].tags] == ["register_city"]


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        ("phone", "+86 138 0013 8000", "138****8000"),
        ("phone", "+12015550123", "+12*******23"),
        ("phone", "123", "***"),
        ("email", "li@b.cn", "l***@b.cn"),
        ("openid", None, None),
    ],
)
def test_a_contact_is_masked_as_people_know_it(kind: str, text: str | None, shown: str | None) -> None:
    assert masked_contact(kind, text, "CN") == shown


def test_sizes_are_those_built_or_are_judged_at_the_release_of_the_day(shop: Shop) -> None:
    project = shop.project
    now, then = sizes_over_releases(project, named(project.audiences, "beijing"))
    assert (now.as_of, now.users, now.built_users, now.is_same_definition) == (D + timedelta(days=1), 3, None, None)
    assert (then.as_of, then.users, then.built_users, then.is_same_definition) == (D, 3, 3, True)
    written = BEIJING.replace("is: 北京", "is: 上海")
    draft = read_text(written, shop.folder / "audiences" / "beijing.yaml")
    assert [(s.users, s.built_users) for s in sizes_over_releases(project, draft)] == [(1, None), (1, 3)]
    assert [s.is_same_definition for s in sizes_over_releases(project, draft)] == [None, False]
    (only,) = sizes_over_releases(project, draft, most=1, judge=False)
    assert only.users is None and only.problem is None


def test_a_day_that_cannot_be_judged_says_why(shop: Shop) -> None:
    early = write_release(shop.lake, D - timedelta(days=9), "early", {"profile.profile": 999})
    project = shop.project
    last = sizes_over_releases(project, named(project.audiences, "beijing"))[-1]
    assert (last.release, last.users) == (early.number, None) and "its files are gone" in (last.problem or "")


def test_the_verbs_speak_to_people_and_machines(shop: Shop) -> None:
    day = ("--release", str(D))
    reach: dict[str, Any] = as_json(shop, "audience", "reach", "beijing", *day)
    assert [(p["platform"], p["deliverable"]) for p in reach["platforms"]] == [("own", 2)]
    assert reach["platforms"][0]["left_out"] == {"refused marketing": 1}
    said = typed(shop, "audience", "reach", "beijing", *day)
    assert "3 users" in said and "1 拒绝营销 refused marketing" in said
    assert "no platform 'sms'" in typed(shop, "audience", "reach", "beijing", "--to", "sms", code=7)
    assert len(as_json(shop, "audience", "sample", "beijing", *day)["people"]) == 3
    said = typed(shop, "audience", "sample", "beijing", *day)
    assert "138****0001" in said and "注册城市" in said
    assert [s["as_of"] for s in as_json(shop, "audience", "sizes", "beijing", "--most", "2")][1] == str(D)
    assert "built then" in typed(shop, "audience", "sizes", "beijing", "--built")
