"""Audiences at releases of a hand-made shop: who is in, why, what a build logs, what leaves."""

from __future__ import annotations

import csv
import importlib
import io
import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

import jobs.audiences.build as step
from audiences.delivery import read_manifest
from jobs.audiences import columns as audience_columns
from jobs.audiences.build import LOG, MEMBERSHIP
from jobs.audiences.export import export
from jobs.audiences.step import build, list_audiences, why
from lake.local_cache import FOLDER
from lake.releases import latest, rollback
from project.audience_tables import builds, deliveries
from queries.preview import preview
from schemas.errors import HuaxiangError, NotThereError
from tests.audiences.lake_shop import BEIJING, EARLY, D, Shop, act, beijing_shop, people, phone_of, silver
from tests.audiences.shop import HEAD


def sql(shop: Shop, table: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as db:
        db.register("t", shop.lake.dataset(table))
        return db.execute(query).fetchall()


def members(shop: Shop, audience: str = "beijing") -> list[int]:
    rows = sql(shop, MEMBERSHIP, f"select uid from t where audience = '{audience}' order by uid")
    return [uid for (uid,) in rows]


def log(shop: Shop, day: date) -> list[tuple[Any, ...]]:
    return sql(shop, LOG, f"select uid, change, reason from t where as_of = date '{day}' order by uid")


ALWAYS = """\
name: {zh: 全体, en: Everybody}
description: {zh: 全体, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, known: true}
"""


def test_a_list_of_users_goes_on_to_the_persons_they_were_merged_into(shop: Shop) -> None:
    users = shop.lake.dataset("identity.users").to_table().to_pylist()
    for user in users:
        if user["uid"] == 2:
            user |= {"retired_day": D, "merged_into_uid": 1}
    listed = "{users: [m000002]}"
    shop.define("left_out", ALWAYS + f"exclude: {listed}\n")
    shop.define("chosen", ALWAYS.replace("{tag: paid_amount_90d, known: true}", listed))
    build(shop.project, "chosen")
    assert members(shop, "chosen") == [2]
    shop.put("identity.users", users, replace="all")
    shop.release(D + timedelta(days=1), [p for p in people() if p["uid"] != 2])
    assert build(shop.project, "left_out").users == 6
    assert members(shop, "left_out") == [3, 4, 5, 6, 7, 100_001]
    build(shop.project, "chosen")
    assert members(shop, "chosen") == [1]
    assert why(shop.project, "chosen", 1).is_in
    assert preview(shop.project, "left_out").users == 6


def test_the_source_materials_audience_has_exactly_its_people(shop: Shop) -> None:
    found = preview(shop.project, "beijing")
    assert (found.users, found.base_users, found.members, found.anonymous) == (3, 8, 3, 0)
    assert [row["user_id"] for row in found.sample] == ["m000001", "m000002", "m100001"]
    by_place = {s.place: (s.true, s.unknown, s.remaining) for s in found.steps}
    assert by_place["include.all.0"] == (6, 1, 6)
    assert by_place["include.all.1"] == (7, 0, 5)
    assert by_place["include.all.2"] == (7, 0, 4)
    assert by_place["include.all.3"] == (7, 0, 3)


def test_visitors_and_members_are_told_apart(shop: Shop) -> None:
    shop.release(D, people(u1={"is_member": False, "user_id": "c000001"}), number=2)
    found = preview(shop.project, "beijing")
    assert (found.users, found.members, found.anonymous) == (3, 2, 1)


def test_a_preview_writes_nothing_but_what_the_next_one_finds_ready(shop: Shop) -> None:
    def outside(made: str) -> list[Path]:
        paths = (p.relative_to(shop.lake.root) for p in shop.lake.root.rglob("*"))
        return sorted(p for p in paths if p.parts[0] != made)

    before = outside(FOLDER)
    preview(shop.project, "beijing")
    assert outside(FOLDER) == before


def test_a_brand_that_never_occurs_is_a_warning_with_the_nearest(shop: Shop) -> None:
    shop.define("beijing", BEIJING.replace("brand: 资生堂", "brand: 资生棠"))
    assert "did you mean '资生堂'?" in preview(shop.project, "beijing").warnings[0]


def test_a_sku_is_named_by_its_product_and_a_wrong_name_is_told_with_the_nearest(shop: Shop) -> None:
    def told(where: str) -> tuple[int, tuple[str, ...]]:
        shop.define("named", HEAD + f"include: {{event: pay, where: {{{where}}}}}\n")
        found = preview(shop.project, "named")
        assert build(shop.project, "named").users == found.users
        return found.users, found.warnings

    by_number = told("sku: S1")
    assert by_number[0] and told("sku: 雪花膏") == by_number == told("sku: [雪花膏, S1]")
    assert told("sku: S11") == (0, ("sku 'S11' never occurs; did you mean 'S1'?",))
    assert told("in_category: 彩妆") == (
        0,
        ("in_category '彩妆' is of no product on 2026-03-10; known are 护肤, 面霜",),
    )
    assert told("in_category: 护肤")[0] == told("in_category: [面霜]")[0] > 0


def test_a_seller_that_never_occurs_is_a_warning_and_matches_nobody(shop: Shop) -> None:
    shop.define("seller", ALWAYS.replace("{tag: paid_amount_90d, known: true}", "{event: pay, where: {seller: x}}"))
    found = preview(shop.project, "seller")
    assert (found.users, found.warnings) == (0, ("seller 'x' never occurs",))


@pytest.mark.parametrize(
    ("uid", "inside", "decided", "value"),
    [
        (1, True, "include: all of these", None),
        (3, False, "include.all.3", 1),
        (4, False, "include.all.0", "上海"),
        (5, False, "include.all.1", 2),
        (6, False, "include.all.2", 0),
        (7, False, "include.all.0", None),
    ],
)
def test_why_names_the_condition_that_decided(shop: Shop, uid: int, inside: bool, decided: str, value: Any) -> None:
    found = why(shop.project, "beijing", uid)
    assert (found.is_in, found.user_id) == (inside, f"m{uid:06d}")
    assert found.decided.startswith(decided)
    (only,) = [f for f in found.findings if f.decided]
    assert only.value == value


def test_why_says_unknown_where_there_is_no_value(shop: Shop) -> None:
    found = {f.place: f.truth for f in why(shop.project, "beijing", 7).findings}
    assert (found["include.all.0"], found["include"], found["beijing"]) == ("unknown", "unknown", "false")


@pytest.mark.parametrize("uid", [8, 99_999, 100_000, 5_000_000])
def test_why_of_a_user_that_is_not_there_says_so(shop: Shop, uid: int) -> None:
    with pytest.raises(NotThereError, match=f"uid {uid} is not in release 1"):
        why(shop.project, "beijing", uid)


def test_an_audience_that_is_not_there_is_named(shop: Shop) -> None:
    with pytest.raises(NotThereError, match="did you mean 'beijing'"):
        preview(shop.project, "beijin")


def test_a_tag_newer_than_the_release_is_an_error_with_its_remedy(shop: Shop) -> None:
    tags = shop.folder / "tags" / "all.yaml"
    more = tags.read_text(encoding="utf-8").split("tags:\n")[1].split("  - id: gender")[0]
    tags.write_text(tags.read_text(encoding="utf-8") + more.replace("register_city", "city_now"), encoding="utf-8")
    shop.define("new", ALWAYS.replace("paid_amount_90d", "city_now"))
    with pytest.raises(NotThereError, match=r"'city_now' is not in release 1.*huaxiang run --as-of 2026-03-10"):
        preview(shop.project, "new")


def test_without_a_release_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotThereError, match="huaxiang run"):
        preview(Shop(tmp_path / "new").project, "beijing")


def test_a_build_publishes_members_log_and_size(shop: Shop) -> None:
    built = build(shop.project, "beijing")
    assert (built.users, built.enters, built.exits, built.already_built) == (3, 3, 0, False)
    assert members(shop) == [1, 2, 100_001]
    assert log(shop, D) == [(uid, "enter", "first build") for uid in (1, 2, 100_001)]
    assert [(r["as_of"], r["release"], r["users"]) for r in builds(shop.lake)] == [(D, 1, 3)]


def test_building_twice_changes_nothing(shop: Shop) -> None:
    first = build(shop.project, "beijing")
    versions = shop.lake.versions()
    again = build(shop.project, "beijing")
    assert again.already_built and again.users == first.users
    assert shop.lake.versions() == versions


def test_the_log_says_which_condition_moved_whom(shop: Shop) -> None:
    build(shop.project, "beijing")
    next_day = D + timedelta(days=1)
    moved = [p for p in people(u1={"register_city": "上海"}, u4={"register_city": "北京"}) if p["uid"] != 2]
    shop.release(next_day, [*moved, {"uid": 8, "register_city": "北京"}])
    built = build(shop.project, "beijing")
    assert (built.users, built.enters, built.exits) == (2, 1, 2)
    assert log(shop, next_day) == [
        (1, "exit", "include.all.0: Registration city is 北京"),
        (2, "exit", "left the base (merged or erased)"),
        (4, "enter", "include.all.0: Registration city is 北京"),
    ]


def test_time_alone_moves_people_through_event_windows(shop: Shop) -> None:
    build(shop.project, "beijing")
    day = D + timedelta(days=5)
    shop.release(day, people())
    build(shop.project, "beijing")
    assert log(shop, day) == [(3, "enter", next(r for u, c, r in log(shop, day) if u == 3))]
    assert log(shop, day)[0][2].startswith("include.all.3: not: times of pay in 7 days (brand 资生堂)")


def test_the_log_names_a_changed_definition(shop: Shop) -> None:
    build(shop.project, "beijing")
    shop.define("beijing", BEIJING.replace("is: 北京", "is: [北京, 上海]"))
    shop.release(D + timedelta(days=1), people())
    build(shop.project, "beijing")
    assert log(shop, D + timedelta(days=1)) == [(4, "enter", "the definition changed")]


def test_someone_new_in_the_base_enters_as_such(shop: Shop) -> None:
    shop.define("everybody", ALWAYS)
    build(shop.project, "everybody")
    day = D + timedelta(days=1)
    shop.release(day, [*people(), {"uid": 9, "paid_amount_90d": 0}])
    build(shop.project, "everybody")
    assert log(shop, day) == [(9, "enter", "new in the base")]


def test_a_day_built_again_replaces_its_own_log_only(shop: Shop) -> None:
    build(shop.project, "beijing")
    day = D + timedelta(days=1)
    shop.release(day, people(u1={"register_city": "上海"}))
    build(shop.project, "beijing")
    shop.release(day, people(u2={"register_city": "上海"}), number=2)
    built = build(shop.project, "beijing")
    assert (built.release, built.enters, built.exits) == (3, 0, 1)
    assert members(shop) == [1, 100_001]
    assert [row[:2] for row in log(shop, day)] == [(2, "exit")]
    assert [r["release"] for r in builds(shop.lake)] == [1, 3]


def test_an_older_day_is_refused_and_allowed_after_a_rollback(shop: Shop) -> None:
    build(shop.project, "beijing")
    day = D + timedelta(days=1)
    shop.release(day, people(u1={"register_city": "上海"}))
    build(shop.project, "beijing")
    with pytest.raises(HuaxiangError, match="was built for 2026-03-11; building 2026-03-10 now would undo that"):
        build(shop.project, "beijing", which=1)
    rollback(shop.lake, 1, "back", "tester")
    built = build(shop.project, "beijing")
    assert (built.as_of, built.users) == (D, 3)
    assert members(shop) == [1, 2, 100_001]
    assert log(shop, day) == []
    assert [(r["as_of"], r["users"]) for r in builds(shop.lake)] == [(D, 3)]


@pytest.mark.slow
def test_members_are_those_before_plus_enters_minus_exits(shop: Shop) -> None:
    shop.define("rich", ALWAYS.replace("known: true", "at_least: 30000"))
    expected: set[int] = set()
    for i in range(8):
        day = D + timedelta(days=i)
        changed = {f"u{u}": {"paid_amount_90d": (u * 7919 * (i + 1)) % 60_000} for u in (1, 2, 3, 4, 5, 6, 7, 100_001)}
        there = [p for p in people(**changed) if (p["uid"] + i) % 5]
        shop.release(day, there, number=9)
        built = build(shop.project, "rich")
        for uid, change, _ in log(shop, day):
            assert (uid in expected) == (change == "exit")
            (expected.add if change == "enter" else expected.remove)(uid)
        assert sorted(expected) == members(shop, "rich")
        assert set(expected) == {p["uid"] for p in there if p["paid_amount_90d"] >= 30_000}
        assert built.users == len(expected)
    assert len(builds(shop.lake, "rich")) == 8


def test_an_audience_that_nobody_is_in_is_built_and_emptied(shop: Shop) -> None:
    build(shop.project, "beijing")
    day = D + timedelta(days=1)
    shop.release(day, [{**p, "register_city": "上海"} for p in people()])
    built = build(shop.project, "beijing")
    assert (built.users, built.exits, members(shop)) == (0, 3, [])
    assert build(shop.project, "beijing").already_built
    done = export(shop.project, "beijing", requested_by="me", which=None, force=True)
    assert done.rows == 0
    assert Path(done.file).read_bytes() == b"user_id,register_city,paid_amount_90d_CNY,phone\r\n"


def test_a_release_without_anybody_gives_an_empty_audience(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "empty")
    shop.release(D, [])
    assert preview(shop.project, "beijing").users == 0
    assert build(shop.project, "beijing").users == 0
    assert export(shop.project, "beijing", requested_by="li", force=True).rows == 0


def test_one_audience_does_not_touch_anothers(shop: Shop) -> None:
    shop.define("everybody", ALWAYS)
    build(shop.project, "everybody")
    build(shop.project, "beijing")
    assert len(members(shop, "everybody")) == 8
    assert members(shop) == [1, 2, 100_001]
    assert [(a.audience, a.users, a.is_current) for a in list_audiences(shop.project)] == [
        ("beijing", 3, True),
        ("everybody", 8, True),
    ]
    shop.define("everybody", ALWAYS.replace("known: true", "at_least: 1"))
    assert [a.is_current for a in list_audiences(shop.project)] == [True, False]


def test_another_audience_in_a_condition_is_judged_by_its_definition(shop: Shop) -> None:
    outside = ALWAYS.replace("{tag: paid_amount_90d, known: true}", "{not: {audience: beijing}}")
    shop.define("others", outside)
    assert preview(shop.project, "others").users == 5
    assert "beijing: include.all.0" in why(shop.project, "others", 4).decided


def test_the_order_of_rows_makes_no_difference(shop: Shop, tmp_path: Path) -> None:
    build(shop.project, "beijing")
    expected = log(shop, D)
    other = beijing_shop(tmp_path / "other")
    other.put("activity.activity", sql_rows(other, "activity.activity")[::-1])
    other.put("profile.profile", sql_rows(other, "profile.profile")[::-1])
    other.release(D, people()[::-1], number=2)
    build(other.project, "beijing")
    assert log(other, D) == expected


def sql_rows(shop: Shop, table: str) -> list[dict[str, Any]]:
    with duckdb.connect() as db:
        db.register("t", shop.lake.dataset(table))
        return db.sql("select * from t").to_arrow_table().to_pylist()


class Elsewhere:
    """An engine that runs a task as another process would: from its name, with JSON in and JSON out."""

    name = "embedded"

    def map(self, task: str, items: list[dict[str, Any]], progress: Any = None) -> list[dict[str, Any]]:
        module, function = task.split(":")
        run = getattr(importlib.import_module(module), function)
        return [json.loads(json.dumps(run(json.loads(json.dumps(item))))) for item in items]


def test_an_engine_gives_the_same_as_this_process(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience_columns, "INLINE_BUCKETS", 0)
    build(shop.project, "beijing", engine=Elsewhere())  # type: ignore[arg-type]
    assert log(shop, D) == [(uid, "enter", "first build") for uid in (1, 2, 100_001)]


def test_a_buckets_task_reads_the_previous_members_of_its_bucket_only(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(shop.project, "beijing")
    shop.release(D + timedelta(days=1), people())
    monkeypatch.setattr(audience_columns, "INLINE_BUCKETS", 0)
    given: list[tuple[int, list[int]]] = []

    class Looking(Elsewhere):
        def map(self, task: str, items: list[dict[str, Any]], progress: Any = None) -> list[dict[str, Any]]:
            given.extend((i["bucket"], pq.read_table(i["previous"])["uid"].to_pylist()) for i in items)
            return super().map(task, items, progress)

    found = build(shop.project, "beijing", engine=Looking())  # type: ignore[arg-type]
    assert given == [(0, [1, 2]), (1, [100_001])]
    assert (found.users, found.enters, found.exits) == (3, 0, 0)


def test_previews_may_be_without_a_sample(shop: Shop) -> None:
    assert preview(shop.project, "beijing", sample=0).sample == ()


# --- killed ---


def _build_and_die(folder: Path, moment: int) -> None:
    real, calls = step.publish, [0]

    def dying(*args: Any, **kwargs: Any) -> int:
        if calls[0] == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        calls[0] += 1
        return real(*args, **kwargs)

    step.publish = dying
    build(Shop.at(folder).project, "beijing")


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(3))
def test_a_build_killed_between_its_tables_is_made_whole_by_the_next(shop: Shop, moment: int) -> None:
    build(shop.project, "beijing")
    day = D + timedelta(days=1)
    shop.release(day, people(u1={"register_city": "上海"}, u4={"register_city": "北京"}))
    child = multiprocessing.get_context("spawn").Process(target=_build_and_die, args=(shop.folder, moment))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    built = build(shop.project, "beijing")
    assert (built.users, built.enters, built.exits, built.already_built) == (3, 1, 1, False)
    assert members(shop) == [2, 4, 100_001]
    assert [row[:2] for row in log(shop, day)] == [(1, "exit"), (4, "enter")]
    assert not list((shop.lake.root / "ops" / "journal").glob("*"))


# --- exports ---


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")))


def test_a_build_that_fails_leaves_nothing_staged(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step.Build, "write_sizes", full)
    with pytest.raises(OSError, match="No space left"):
        build(shop.project, "beijing")
    tables = [t for t in shop.lake.path(MEMBERSHIP).parent.iterdir() if t.name != "definitions"]
    assert [p for table in tables for p in table.iterdir() if p.name.startswith("d-")] == []
    assert list((shop.lake.root / "ops" / "journal").iterdir()) == []


def test_an_export_holds_the_members_with_contacts_and_is_noted(shop: Shop) -> None:
    done = export(shop.project, "beijing", requested_by="li")
    assert rows_of(Path(done.file)) == [
        {"user_id": "m000001", "register_city": "北京", "paid_amount_90d_CNY": "100.00", "phone": "+8613800130001"},
        {"user_id": "m000002", "register_city": "北京", "paid_amount_90d_CNY": "200.00", "phone": "+8613800130002"},
        {"user_id": "m100001", "register_city": "北京", "paid_amount_90d_CNY": "100.00", "phone": "+8613800130271"},
    ]
    manifest = read_manifest(Path(done.folder))
    assert manifest["definition"]["include"]["all"][0] == {"tag": "register_city", "is": ["北京"]}
    assert manifest["definition_hash"] == done.built.definition_hash
    assert (manifest["release"], manifest["as_of"], manifest["rows"]) == (1, "2026-03-10", 3)
    assert manifest["requested_by"] == "li"
    assert [c["name"] for c in manifest["columns"]] == ["user_id", "register_city", "paid_amount_90d", "phone"]
    assert (manifest["columns"][2]["header"], manifest["columns"][2]["unit"]) == ("paid_amount_90d_CNY", "CNY")
    assert manifest["money"] == {"currency": "CNY", "unit": "main"}
    (noted,) = deliveries(shop.lake)
    assert (noted["delivery_id"], noted["rows"]) == (manifest["delivery_id"], 3)
    assert "sha256:" + noted["checksum"] == manifest["checksum"]
    assert json.loads(noted["columns"]) == ["user_id", "register_city", "paid_amount_90d", "phone"]


def test_money_leaves_in_minor_units_where_the_audience_says_so(shop: Shop) -> None:
    text = (shop.folder / "audiences" / "beijing.yaml").read_text(encoding="utf-8")
    shop.define("in_fen", text.replace("export:\n", "export:\n  money: minor\n"))
    done = export(shop.project, "in_fen", requested_by="li")
    assert {r["paid_amount_90d_minor"] for r in rows_of(Path(done.file))} == {"10000", "20000"}
    manifest = read_manifest(Path(done.folder))
    assert (manifest["columns"][2]["header"], manifest["columns"][2]["unit"]) == ("paid_amount_90d_minor", "minor")
    assert manifest["money"] == {"currency": "CNY", "unit": "minor"}


def test_a_preview_and_why_name_money_in_main_units_like_the_condition(shop: Shop) -> None:
    shop.define(
        "spenders",
        "name: {zh: 人, en: A}\ndescription: {zh: 人, en: A}\nowner: crm\n"
        "include: {tag: paid_amount_90d, at_least: 20000}\nexport: {columns: [user_id, paid_amount_90d]}\n",
    )
    found = preview(shop.project, "spenders")
    assert any(s.en.endswith("at least 200.00 CNY") for s in found.steps)
    assert found.sample and all(re.fullmatch(r"\d+\.00 CNY", r["paid_amount_90d"]) for r in found.sample)
    said = [f.value for f in why(shop.project, "spenders", 2).findings if f.value is not None]
    assert said == ["200.00 CNY"]


def test_an_export_asked_for_twice_is_delivered_once(shop: Shop) -> None:
    first = export(shop.project, "beijing", requested_by="li")
    second = export(shop.project, "beijing", requested_by="wang")
    assert second.already_delivered and second.file == first.file
    assert len(deliveries(shop.lake)) == 1
    third = export(shop.project, "beijing", requested_by="wang", again=True)
    assert third.folder != first.folder and len(deliveries(shop.lake)) == 2


def test_a_delivery_that_was_killed_before_it_was_noted_is_noted_by_the_next(shop: Shop) -> None:
    export(shop.project, "beijing", requested_by="li")
    shop.put("exports.deliveries", [])
    assert deliveries(shop.lake) == []
    assert export(shop.project, "beijing", requested_by="li").already_delivered
    assert len(deliveries(shop.lake)) == 1


def consented(shop: Shop, **records: dict[str, Any]) -> None:
    """Later versions of member records."""
    later = datetime(2026, 3, 12, tzinfo=UTC)
    rows = [
        silver(EARLY, i, member_id=f"M{u}", phone=phone_of(u), marketing_consent=True)
        for i, u in enumerate((1, 2, 3, 4, 5, 6, 7, 100_001))
    ]
    rows += [silver(later, 100 + i, member_id=m, **values) for i, (m, values) in enumerate(records.items())]
    shop.put("silver.members", rows)


def test_a_consent_withdrawn_after_the_build_is_respected(shop: Shop) -> None:
    build(shop.project, "beijing")
    consented(
        shop,
        M1={"phone": "13800130001", "marketing_consent": False},
        M2={"phone": "13800130002", "marketing_consent": None},
    )
    asked = preview(shop.project, "beijing")
    # what a later record does not say takes nothing back
    assert (asked.users, asked.deliverable, asked.left_out) == (3, 2, {"refused marketing": 1})
    done = export(shop.project, "beijing", requested_by="li")
    assert [r["user_id"] for r in rows_of(Path(done.file))] == ["m000002", "m100001"]
    assert done.left_out == {"refused marketing": 1}


def test_consent_is_ignored_only_with_a_reason_that_the_manifest_keeps(shop: Shop) -> None:
    consented(shop, M1={"phone": "13800130001", "marketing_consent": False})
    shop.define("beijing", BEIJING + "consent: ignore\nconsent_reason: recall of a faulty cream\n")
    done = export(shop.project, "beijing", requested_by="li")
    assert done.rows == 3
    assert read_manifest(Path(done.folder))["consent_reason"] == "recall of a faulty cream"


def test_of_a_persons_records_one_refusal_is_a_refusal(shop: Shop) -> None:
    identifiers = sql_rows(shop, "identity.identifiers")
    shop.put("identity.identifiers", [*identifiers, {"id_kind": "member", "id_value": "M1b", "uid": 1}])
    consented(shop, M1b={"phone": "13800130009", "marketing_consent": False})
    assert export(shop.project, "beijing", requested_by="li").left_out == {"refused marketing": 1}


def test_visitors_and_the_unreachable_are_left_out_and_counted(shop: Shop) -> None:
    shop.put("identity.identifiers", [r for r in sql_rows(shop, "identity.identifiers") if r["uid"] != 1])
    consented(shop, M2={"phone": "12345", "marketing_consent": True})
    done = export(shop.project, "beijing", requested_by="li")
    # the newest contact counts; an invalid one is not replaced by an older
    assert [r["user_id"] for r in rows_of(Path(done.file))] == ["m100001"]
    assert done.left_out == {"no member": 1, "no valid contact": 1}


def test_who_was_merged_after_the_release_is_reached_under_the_elder(shop: Shop) -> None:
    users = sql_rows(shop, "identity.users")
    for row in users:
        if row["uid"] == 2:
            row |= {"merged_into_uid": 1, "retired_day": D + timedelta(days=1)}
    shop.put("identity.users", users)
    ids = sql_rows(shop, "identity.identifiers")
    shop.put("identity.identifiers", [{**r, "uid": 1} if r["uid"] == 2 else r for r in ids])
    done = export(shop.project, "beijing", requested_by="li")
    # both rows of the release are one person now
    assert [r["user_id"] for r in rows_of(Path(done.file))] == ["m000001", "m100001"]
    assert done.left_out == {"one person with another of them by now": 1}


def test_without_contacts_consent_is_not_asked(shop: Shop) -> None:
    shop.define("everybody", ALWAYS + "export: {columns: [uid, user_id, as_of, is_member]}\n")
    consented(shop, M1={"marketing_consent": False})
    done = export(shop.project, "everybody", requested_by="li")
    assert done.rows == 8
    assert rows_of(Path(done.file))[0] == {"uid": "1", "user_id": "m000001", "as_of": "2026-03-10", "is_member": "true"}
    assert Path(done.file).read_bytes().startswith(b"\xef\xbb\xbf")


def test_foreign_formulas_are_marked_in_exports(shop: Shop) -> None:
    shop.release(D, people(u1={"register_city": "=cmd|' /C calc'!A0"}), number=2)
    shop.define("everybody", ALWAYS + "export: {columns: [user_id, register_city]}\n")
    done = export(shop.project, "everybody", requested_by="li")
    assert rows_of(Path(done.file))[0]["register_city"] == "'=cmd|' /C calc'!A0"


@pytest.mark.parametrize("change", [lambda s: s.replace("clear", "md5"), lambda s: s.replace("plain", "excel")])
def test_another_form_is_another_delivery(shop: Shop, change: Callable[[str], str]) -> None:
    first = export(shop.project, "beijing", requested_by="li")
    shop.define("beijing", change(BEIJING))
    second = export(shop.project, "beijing", requested_by="li")
    assert not second.already_delivered and second.folder != first.folder


def test_a_later_row_never_changes_an_older_release(shop: Shop) -> None:
    current = latest(shop.lake)
    rows = sql_rows(shop, "activity.activity")
    shop.activity([*rows, act(1, D, "pay", hour=9, order_key=99, sku_code=1)])
    assert current is not None and preview(shop.project, "beijing", which=current.number).users == 3
