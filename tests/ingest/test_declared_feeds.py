"""Questionnaires and tags by hand: taken, refused with a reason that helps, taken once, and linking only whom they may."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import yaml

from cli.drafting import draft
from features.sources import Mapping, mistakes
from jobs.identity.step import SOURCES
from schemas.contracts import contract
from tests.ingest.shop import Shop, csv

CONF = Path(__file__).parents[2] / "conf" / "sources"
NOTE = ["用户标识", "会员号", "标签", "值", "作者", "到期日", "记录时间"]
ANSWER = ["答案编号", "问卷", "提交时间", "会员号", "openid", "unionid", "题目", "答案"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    names = ("surveys", "manual_tags")
    return Shop(tmp_path / "shop", {n: yaml.safe_load((CONF / f"{n}.yaml").read_text(encoding="utf-8")) for n in names})


def a_note(**cells: str) -> list[str]:
    whole = dict(
        zip(NOTE, ["", "000100007", "service_priority", "complaint", "李", "2026/3/31", "2026/3/1 8:05"], strict=True)
    )
    return list({**whole, **cells}.values())


def an_answer(**cells: str) -> list[str]:
    whole = dict(
        zip(ANSWER, ["q1", "会员调研", "2026/3/1 8:05:09", "000100007", "", "", "家庭人数", "3人"], strict=True)
    )
    return list({**whole, **cells}.values())


def reasons(shop: Shop, feed: str) -> list[str]:
    return [r for (r,) in shop.rows(f"quarantine.{feed}", "reasons")]


def test_a_note_names_its_user_by_either_id(shop: Shop) -> None:
    shop.deliver("manual_tags/1.csv", csv(NOTE, a_note(), a_note(用户标识="c_0a1b", 会员号="", 到期日="")))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_quarantined")) == (2, 0)
    assert shop.rows("silver.manual_tags", "user_id, member_id, tag, value, author, expires_on") == [
        ("c_0a1b", None, "service_priority", "complaint", "李", None),
        (None, "000100007", "service_priority", "complaint", "李", date(2026, 3, 31)),
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"会员号": ""}, "no id of the person: user_id, member_id empty, or on the guest list"),
        ({"标签": " "}, "tag: empty but a value is required (column 标签)"),
        ({"值": ""}, "value: empty but a value is required (column 值)"),
        ({"作者": ""}, "author: empty but a value is required (column 作者)"),
        ({"到期日": "月底"}, "expires_on: '月底' is no date (auto) (column 到期日)"),
        ({"记录时间": ""}, "noted_at: empty but a value is required (column 记录时间)"),
    ],
)
def test_a_note_that_cannot_be_taken_says_why(shop: Shop, cells: dict[str, str], reason: str) -> None:
    shop.deliver("manual_tags/1.csv", csv(NOTE, a_note(), a_note(**cells)))
    assert shop.ingest().rows("rows_silver") == 1
    assert reasons(shop, "manual_tags") == [reason]


def test_a_sheet_saved_again_with_one_row_more_adds_one_note(shop: Shop) -> None:
    rows = [a_note(会员号=f"m{n}") for n in range(3)]
    shop.deliver("manual_tags/monday.csv", csv(NOTE, *rows))
    shop.ingest()
    shop.deliver("manual_tags/tuesday.csv", "\ufeff" + csv(NOTE, *rows, a_note(会员号="m9")))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_duplicate")) == (1, 3)
    assert shop.count("silver.manual_tags") == 4


def test_a_note_links_nobody_and_an_answer_its_own_person() -> None:
    assert "manual_tags" not in SOURCES
    assert "surveys" in SOURCES
    assert contract("silver.manual_tags").needed_ids == ("user_id", "member_id")
    assert contract("silver.surveys").needed_ids == ("member_id", "phone", "unionid", "openid")


def test_a_mapping_without_any_id_of_the_user_is_refused() -> None:
    mapping = yaml.safe_load((CONF / "manual_tags.yaml").read_text(encoding="utf-8"))
    for name in ("user_id", "member_id"):
        del mapping["fields"][name]
    [(_, said)] = mistakes(Mapping.model_validate(mapping))
    assert said == "feed manual_tags needs an id of the person: one of user_id, member_id"


def test_questions_and_answers_become_attributes_and_values(shop: Shop) -> None:
    rows = [an_answer(), an_answer(答案编号="q2", 会员号="", openid="o1", 题目="年龄段", 答案="25至34岁")]
    refused = an_answer(答案编号="q3", 答案="不方便透露")
    shop.deliver("surveys/1.csv", csv(ANSWER, *rows, refused))
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_quarantined")) == (2, 0), "no answer is no row"
    assert shop.rows("silver.surveys", "event_id, member_id, openid, attribute, answer") == [
        ("q1", "000100007", None, "household_size", "3"),
        ("q2", None, "o1", "age_band", "25-34"),
    ]


def test_an_answer_that_nobody_mapped_waits_in_quarantine_and_shows_no_personal_value(shop: Shop) -> None:
    odd = an_answer(答案编号="q2", 题目="星座", 答案="白羊座")
    shop.deliver("surveys/1.csv", csv(ANSWER, an_answer(), odd, an_answer(答案编号="q3", 会员号="")))
    assert shop.ingest().rows("rows_silver") == 1
    by_asked, by_nobody = sorted(reasons(shop, "surveys"))
    assert "attribute: '星座' is no value of the map" in by_asked
    assert "白羊座" not in by_asked
    assert by_nobody.startswith("no id of the person: member_id, unionid, openid empty")

    mapping = yaml.safe_load((CONF / "surveys.yaml").read_text(encoding="utf-8"))
    mapping["fields"]["attribute"]["values"]["星座"] = "zodiac"
    mapping["fields"]["answer"]["values"]["白羊座"] = "aries"
    shop.map("surveys", mapping)
    shop.replay()
    assert ("zodiac", "aries") in shop.rows("silver.surveys", "attribute, answer")


def test_a_corrected_answer_is_another_version_of_it(shop: Shop) -> None:
    shop.deliver("surveys/1.csv", csv(ANSWER, an_answer()))
    shop.ingest()
    shop.deliver("surveys/2.csv", csv(ANSWER, an_answer(答案="4人")))
    shop.ingest()
    assert shop.rows("silver.surveys", "event_id, answer") == [("q1", "3"), ("q1", "4")]


def test_both_feeds_are_recognised_when_a_mapping_is_drafted(tmp_path: Path) -> None:
    sheet = tmp_path / "客户备注.csv"
    sheet.write_text(csv(NOTE, a_note()), encoding="utf-8")
    (found,) = draft(sheet).parts
    assert (found.feed, found.missing) == ("manual_tags", [])
    assert yaml.safe_load(found.mapping)["fields"] == {
        "noted_at": "记录时间", "user_id": "用户标识", "member_id": "会员号", "tag": "标签", "value": "值",
        "author": "作者", "expires_on": "到期日",
    }  # fmt: skip
    exported = tmp_path / "导出.csv"
    exported.write_text(csv(ANSWER, an_answer(答案="高血压")), encoding="utf-8")
    (found,) = draft(exported).parts
    assert (found.feed, found.missing) == ("surveys", [])
    assert "高血压" not in json.dumps(found.preview.rows, ensure_ascii=False), "an answer is personal"
