"""Who is in the base population on a day, and what the shop knew of them then."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from features.population import ATTRIBUTES, STATE_COLUMNS, known_by, users_state
from lake.engine import Engine
from lake.lake import Lake
from schemas.contracts import contract
from tests.identity.tables import published, run
from tests.identity.worlds import ZONE
from tests.silver import at, write_silver

MEMBERS = [
    {
        "member_id": "m1",
        "registered_at": at("2026-03-01 00:30"),
        "source_time": at("2026-03-03 09:00"),
        "city": "北京",
        "tier": "silver",
        "points": 10,
        "followed_at": at("2026-03-05 09:00"),
        "inviter_member_id": "m0",
    },
    {
        "member_id": "m1",
        "registered_at": at("2026-03-01 00:30"),
        "source_time": at("2026-03-05 23:59"),
        "city": "上海",
        "tier": "gold",
    },
    {"member_id": "m2", "registered_at": at("2026-03-04 10:00"), "source_time": at("2026-03-04 10:00"), "city": "广州"},
    # The same person as m2, registered later, told later.
    {
        "member_id": "m3",
        "registered_at": at("2026-03-06 10:00"),
        "source_time": at("2026-03-06 10:00"),
        "merged_into_member_id": "m2",
        "city": "深圳",
        "phone": "13800000000",
    },
]
BROWSE = [
    {"occurred_at": at("2026-03-01 00:10"), "behaviour": "view", "device_id": "d1"},
    {"occurred_at": at("2026-03-04 11:00"), "behaviour": "view", "device_id": "d2", "member_id": "m2"},
    {"occurred_at": at("2026-03-02 11:00"), "behaviour": "view", "device_id": "d2"},
    {"occurred_at": at("2026-03-02 12:00"), "behaviour": "view", "member_id": "unlisted"},
]


@pytest.fixture(scope="module")
def shop(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("population") / "lake", ZONE)
    write_silver(lake, "members", MEMBERS[:2], ingested="2026-03-06 03:00")
    write_silver(lake, "members", MEMBERS[2:], ingested="2026-03-07 03:00", batch="b2")
    write_silver(lake, "browse", BROWSE)
    write_silver(lake, "orders", [{"order_id": "o1", "ordered_at": at("2026-03-03 08:00")}])
    run(lake, engine, "r1")
    return lake


def state(engine: Engine, lake: Lake, as_of: date, known_at: datetime | None = None) -> dict[str, dict[str, Any]]:
    """Rows of the base population by one id of the person."""
    found = {r["uid"]: r for r in _state(engine, lake, as_of, known_at)}
    identity = published(lake)
    names = {"m1": "member", "m2": "member", "m3": "member", "unlisted": "member", "d1": "device", "d2": "device"}
    uids = {name: identity.uid(kind, name) for name, kind in names.items()} | {"o1": identity.uid("guest", "o1")}
    return {name: found[uid] for name, uid in uids.items() if uid in found}


@cache
def _state(engine: Engine, lake: Lake, as_of: date, known_at: datetime | None) -> list[dict[str, Any]]:
    users, identifiers = engine.table(lake, "identity.users"), engine.table(lake, "identity.identifiers")
    found = users_state(users, identifiers, engine.table(lake, "silver.members"), as_of, ZONE, known_at)
    return [r.asDict() for r in found.collect()]


def march(day: int) -> date:
    return date(2026, 3, day)


def test_the_base_population_is_everyone_seen_by_then(engine: Engine, shop: Lake) -> None:
    assert set(state(engine, shop, march(1))) == {"m1", "d1"}
    assert set(state(engine, shop, march(2))) == {"m1", "d1", "m2", "m3", "d2", "unlisted"}
    assert "o1" in state(engine, shop, march(3))
    assert state(engine, shop, date(2026, 2, 28)) == {}


def test_a_person_is_a_member_from_the_business_day_of_registration(engine: Engine, shop: Lake) -> None:
    before, then = state(engine, shop, march(3)), state(engine, shop, march(4))
    assert (before["m2"]["is_member"], before["m2"]["person_kind"]) == (False, "anonymous")
    assert before["m2"]["registered_day"] is None
    assert (then["m2"]["is_member"], then["m2"]["person_kind"]) == (True, "member")
    assert then["m2"]["registered_day"] == march(4)
    assert state(engine, shop, march(1))["m1"]["registered_day"] == march(1)


def test_a_member_id_without_a_record_is_a_member_from_its_first_row(engine: Engine, shop: Lake) -> None:
    row = state(engine, shop, march(2))["unlisted"]
    assert (row["is_member"], row["registered_day"], row["city"]) == (True, None, None)


def test_a_guest_is_a_guest_and_no_member(engine: Engine, shop: Lake) -> None:
    row = state(engine, shop, march(3))["o1"]
    assert (row["person_kind"], row["is_member"]) == ("guest", False)


def test_attributes_are_those_of_the_last_version_by_the_end_of_the_day(engine: Engine, shop: Lake) -> None:
    cities = {day: state(engine, shop, march(day))["m1"]["city"] for day in (2, 3, 4, 5)}
    assert cities == {2: None, 3: "北京", 4: "北京", 5: "上海"}
    assert state(engine, shop, march(5))["m1"]["tier"] == "gold"
    assert state(engine, shop, march(4))["m1"]["points"] == 10


def test_what_lies_after_the_day_is_not_told(engine: Engine, shop: Lake) -> None:
    row = state(engine, shop, march(4))["m1"]
    assert (row["followed_day"], row["has_inviter"]) == (None, True)
    assert state(engine, shop, march(5))["m1"]["has_inviter"] is False


def test_of_several_member_ids_the_first_registration_and_the_last_record_count(engine: Engine, shop: Lake) -> None:
    row = state(engine, shop, march(6))["m3"]
    assert row == state(engine, shop, march(6))["m2"]
    assert (row["registered_day"], row["city"]) == (march(4), "深圳")


def test_known_at_leaves_out_records_learned_later(engine: Engine, shop: Lake) -> None:
    row = state(engine, shop, march(6), known_at=at("2026-03-06 12:00"))["m2"]
    assert (row["city"], row["registered_day"]) == (None, None)


def test_nobody_is_known_before_a_row_or_a_record_of_theirs_was(engine: Engine, shop: Lake) -> None:
    identity = published(shop)
    d1, d2 = identity.uid("device", "d1"), identity.uid("device", "d2")
    rows = [(d1, march(1), march(7)), (d2, march(6), march(6)), (d2, march(4), march(8))]
    activity = engine.spark.createDataFrame(rows, "uid bigint, day date, known_day date")
    users, identifiers, members = (
        engine.table(shop, t) for t in ("identity.users", "identity.identifiers", "silver.members")
    )

    def known(as_of: date, moment: str) -> set[int]:
        told, now = members.where(members["_ingested_at"] <= at(moment)), at(moment)
        base = users_state(users, identifiers, members, as_of, ZONE, now)
        found = known_by(base, activity, identifiers, told, as_of, now.astimezone(ZoneInfo(ZONE)).date())
        return {r["uid"] for r in found.collect()}

    m1 = identity.uid("member", "m1")
    assert known(march(5), "2026-03-06 12:00") == {m1}
    assert known(march(6), "2026-03-06 12:00") == {m1, d2}
    assert known(march(5), "2026-03-07 12:00") == {m1, d1, d2}, "m2 and m3, the person of d2, have records by then"


def test_no_contact_and_no_raw_id_is_in_the_population(engine: Engine, shop: Lake) -> None:
    personal = {c.name for c in contract("silver.members").columns if c.field.personal in ("identifier", "contact")}
    assert not personal & set(STATE_COLUMNS)
    assert {"city", "tier", "gender", "birth_date"} <= set(ATTRIBUTES)
    assert set(state(engine, shop, march(6))["m1"]) == set(STATE_COLUMNS)


def test_there_is_one_row_a_person(engine: Engine, shop: Lake) -> None:
    uids = [r["uid"] for r in _state(engine, shop, march(6), None)]
    assert len(uids) == len(set(uids)) == 5, "m0 only stands as an inviter"
