"""Manual tags and answers of surveys win over what is computed, and what is refused is told."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.identity.step import update_identity
from jobs.profile.overrides import find_named
from lake.engine import Engine
from lake.lake import Lake
from tests.profile.conftest import Shop
from tests.profile.small import catalogue_of
from tests.silver import at

pytestmark = pytest.mark.slow

DAYS = ("2026-03-09", "2026-03-10", "2026-03-20", "2026-03-21")


def noted(event_id: str, day: str, tag: str, value: str, **more: Any) -> dict[str, Any]:
    return {"event_id": event_id, "noted_at": at(f"{day} 12:00"), "tag": tag, "value": value, "author": "anna", **more}


def answer(event_id: str, day: str, text: str, **who: Any) -> dict[str, Any]:
    said = {"event_id": event_id, "answered_at": at(f"{day} 12:00"), "attribute": "where_do_you_live", "answer": text}
    return {**said, **who}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("said") / "lake", embedded, catalogue_of(tmp_path_factory.mktemp("tags")))
    known = {"registered_at": at("2026-02-01 10:00"), "source_time": at("2026-02-01 10:00")}
    shop.write(
        "members",
        *({"member_id": f"m{n}", "points": n, "city": "北京", "phone": f"1380000000{n}", **known} for n in range(6)),
    )
    manual = [
        noted("a", "2026-03-10", "city", "广州", member_id="m1", expires_on=date(2026, 3, 20)),
        noted("b", "2026-03-10", "points", "500", member_id="m2"),
        noted("c", "2026-03-10", "points", "lots", member_id="m2"),
        noted("d", "2026-03-10", "pionts", "5", member_id="m2"),
        noted("e", "2026-03-10", "points", "5", member_id="nobody"),
        noted("f", "2026-03-11", "points", "700", member_id="m2"),
    ]
    shop.write("manual_tags", *manual)
    asked = [
        answer("s1", "2026-03-10", "上海", member_id="m1"),
        answer("s2", "2026-03-09", "杭州", phone="13800000003"),
        answer("s3", "2026-03-10", "北京", member_id="m4"),
        answer("s4", "2025-03-01", "西安", member_id="m5"),
    ]
    shop.write("surveys", *asked)
    update_identity(shop.lake, embedded, date(2026, 3, 21), "i", "salt")
    for day in DAYS:
        shop.profile(day)
    return shop


def values(shop: Shop, member: str, tag: str) -> list[Any]:
    return [shop.user(member, day)[tag] for day in DAYS]


def test_manual_wins_over_declared_wins_over_computed_until_it_ends(said: Shop) -> None:
    assert values(said, "m1", "city") == ["北京", "广州", "广州", "上海"]
    assert values(said, "m3", "city") == ["杭州"] * 4
    assert values(said, "m0", "city") == ["北京"] * 4
    assert values(said, "m5", "city") == ["北京"] * 4, "the answer is older than a year"


def test_the_newest_value_counts_and_what_builds_on_it_sees_it(said: Shop) -> None:
    assert values(said, "m2", "points") == [2, 500, 700, 700]
    assert values(said, "m2", "rich") == ["no", "yes", "yes", "yes"]
    assert values(said, "m2", "richer") == [False, True, True, True]


def test_changes_by_hand_stand_in_the_process_and_the_table_says_whose_they_are(said: Shop) -> None:
    changes = said.rows(
        "select c.from_day, value from profile.tag_changes c join identity.identifiers i using (uid) "
        "where i.id_value = 'm1' and tag = 'city' order by 1"
    )
    assert [(str(c["from_day"]), c["value"]) for c in changes] == [
        ("2026-03-09", "北京"),
        ("2026-03-10", "广州"),
        ("2026-03-21", "上海"),
    ]
    rows = said.rows(
        "select o.* from profile.overrides o join identity.identifiers i using (uid) "
        "where i.id_value = 'm1' and as_of = '2026-03-10' order by origin"
    )
    assert [(r["origin"], r["value"], r["author"], str(r["from_day"]), str(r["until_day"])) for r in rows] == [
        ("declared", "上海", None, "2026-03-10", "2027-03-10"),
        ("manual", "广州", "anna", "2026-03-10", "2026-03-20"),
    ]


def test_agreement_of_what_was_said_with_what_is_computed_is_counted(said: Shop) -> None:
    (row,) = said.rows("select * from profile.tag_quality where as_of = '2026-03-10' and tag = 'city' and is_member")
    assert (row["declared_users"], row["compared_users"], row["agreeing_users"]) == (3, 3, 1)


def test_what_is_refused_is_counted_and_told_with_its_row(said: Shop) -> None:
    warnings = [w for w in said.profile("2026-03-21").warnings if w.startswith("manual_tags")]
    assert len(warnings) == 3
    told = " ".join(warnings)
    assert "tag 'points': 'lots' a whole number is expected" in told
    assert "names no tag: 'pionts'; did you mean 'points'?" in told
    assert "1 row not taken: names nobody of the base population" in told
    assert all(":" in w[w.rindex("(") :] for w in warnings), "file and row"
    assert said.profile("2026-03-09").warnings == ()


def test_who_is_merged_away_is_found_under_the_elder(said: Shop, tmp_path: Any) -> None:
    import shutil

    shutil.copytree(said.lake.root, tmp_path / "lake")
    shop = Shop(tmp_path / "lake", said.engine, said.catalogue)
    (younger,) = shop.rows(
        "select u.user_id from identity.users u join identity.identifiers i using (uid) where id_value = 'm5'"
    )
    shop.write("manual_tags", noted("g", "2026-03-22", "points", "900", user_id=younger["user_id"]))
    merged = {"registered_at": at("2026-02-01 10:00"), "source_time": at("2026-03-22 10:00")}
    shop.write("members", {"member_id": "m5", "merged_into_member_id": "m0", **merged})
    update_identity(shop.lake, shop.engine, date(2026, 3, 22), "j", "salt")
    shop.profile("2026-03-22")
    assert shop.user("m0", "2026-03-22")["points"] == 900


def test_a_correction_made_later_leaves_older_days_as_they_were(embedded: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "lake", embedded, catalogue_of(tmp_path))
    known = {"registered_at": at("2026-02-01 10:00"), "source_time": at("2026-02-01 10:00")}
    shop.write("members", *({"member_id": f"m{n}", "points": n, "city": "北京", **known} for n in range(4)))
    first, later = at("2026-03-10 12:00"), at("2026-03-15 12:00")
    for source_time, city, ended in ((first, "广州", date(2026, 3, 25)), (later, "深圳", date(2026, 3, 18))):
        change = noted("a", "2026-03-10", "city", city, member_id="m1", source_time=source_time, expires_on=ended)
        shop.write("manual_tags", change)
    shop.write("manual_tags", noted("b", "2026-03-10", "points", "500", member_id="m2"))
    shop.write("manual_tags", noted("b", "2026-03-15", "points", "700", member_id="m2"), ingested="2026-04-01 06:00")
    shop.write("surveys", answer("s", "2026-03-10", "上海", member_id="m3", source_time=first))
    shop.write("surveys", answer("s", "2026-03-16", "杭州", member_id="m3", source_time=later))
    update_identity(shop.lake, embedded, date(2026, 3, 21), "i", "salt")
    days = ("2026-03-09", "2026-03-12", "2026-03-16", "2026-03-20")
    for day in days:
        shop.profile(day, declared_valid_days=5)

    def told(member: str, tag: str) -> list[Any]:
        return [shop.user(member, day)[tag] for day in days]

    assert told("m1", "city") == ["北京", "广州", "深圳", "北京"], "the correction ends it earlier, from its own day on"
    assert told("m2", "points") == [2, 500, 700, 700]
    assert told("m3", "city") == ["北京", "上海", "杭州", "杭州"]


def test_only_files_of_buckets_that_somebody_is_named_of_are_read(tmp_path: Path) -> None:
    def users(name: str, **columns: list[Any]) -> list[str]:
        pq.write_table(pa.table(columns), tmp_path / name)
        return [str(tmp_path / name)]

    nowhere = [str(tmp_path / "nowhere.parquet")]
    retired = {0: nowhere, 1: nowhere, 2: users("two", uid=[250_001, 250_002], merged_into_uid=[10, None])}
    population = {0: users("base", uid=[9, 10, 11]), 1: nowhere, 2: users("last", uid=[250_002])}
    with duckdb.connect() as con:
        con.register("manual", pa.table({"uid": pa.array([250_001, None, 999_999], pa.int64())}))
        con.register("declared", pa.table({"uid": pa.array([250_002], pa.int64())}))
        find_named(con, Lake(tmp_path, "UTC"), retired, population)
        assert con.execute("select uid, elder from elders").fetchall() == [(250_001, 10)]
        assert con.execute("select uid, bucket from base order by uid").fetchall() == [(10, 0), (250_002, 2)]
