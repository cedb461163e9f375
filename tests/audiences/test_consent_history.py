"""Consent by channel: what members said over time, in any order of arrival, against a second way of counting."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from audiences.language import named
from lake.releases import release
from project.audience_file import file_rows
from project.platforms import target_of
from tests.audiences.lake_shop import EARLY, D, Shop, people, silver

UIDS = range(1, 121)
EVERYBODY = """\
name: {zh: 全部, en: Everybody}
description: {zh: 全部, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, at_least: 0}
"""
PLATFORM = """\
name: {zh: 台, en: Platform}
description: {zh: 台, en: Platform}
consent: CHANNEL
columns: [{id: member_id}]
"""
CHANNELS = ("sms", "email", "wechat", "ads")
FIELDS = ("marketing_consent", *(f"{c}_consent" for c in CHANNELS))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(tmp_path_factory.mktemp("consent") / "shop")
    made.put("identity.users", [{"uid": u, "bucket": 0, "user_id": f"m{u:06d}", "merged_into_uid": None} for u in UIDS])
    made.put("identity.identifiers", [{"id_kind": "member", "id_value": f"M{u}", "uid": u} for u in UIDS])
    (made.folder / "platforms").mkdir()
    for channel in CHANNELS:
        text = PLATFORM.replace("CHANNEL", channel)
        (made.folder / "platforms" / f"{channel}.yaml").write_text(text, encoding="utf-8")
    made.define("everybody", EVERYBODY)
    made.release(D, [{**people()[0], "uid": u} for u in UIDS])
    return made


def histories(seed: int) -> list[dict[str, Any]]:
    """Up to five versions of each member, at few times so that some tie, arriving in any order."""
    chance, rows = random.Random(seed), []
    for uid in UIDS:
        for _ in range(chance.randint(1, 5)):
            said = {f: chance.choice((True, False, None, None)) for f in FIELDS}
            row = silver(EARLY + timedelta(hours=chance.randint(0, 3)), len(rows), member_id=f"M{uid}", **said)
            rows.append({**row, "_ingested_at": EARLY + timedelta(days=9, hours=chance.randint(0, 2))})
    chance.shuffle(rows)
    return rows


def may_leave(rows: list[dict[str, Any]], channel: str, unknown: str) -> set[int]:
    """Member by member, what they said one time after the other."""
    found = set()
    for uid in UIDS:
        state: dict[str, bool] = {}

        def when(row: dict[str, Any]) -> tuple[datetime, datetime, int]:
            return row["source_time"], row["_ingested_at"], row["_row"]

        for row in sorted((r for r in rows if r["member_id"] == f"M{uid}"), key=when):
            state |= {f: row[f] for f in ("marketing_consent", f"{channel}_consent") if row[f] is not None}
        if False not in state.values() and (state or unknown == "allow"):
            found.add(uid)
    return found


@pytest.mark.parametrize(("seed", "unknown"), [(1, "refuse"), (2, "allow"), (3, "refuse")])
def test_what_was_said_last_of_the_channel_and_of_all_decides(shop: Shop, seed: int, unknown: str) -> None:
    rows = histories(seed)
    shop.put("silver.members", rows)
    (shop.folder / "huaxiang.yaml").write_text(
        f"name: {{zh: 店, en: Shop}}\nunknown_consent: {unknown}\n", encoding="utf-8"
    )
    project = shop.project
    audience, seen = named(project.audiences, "everybody"), set()
    for channel in CHANNELS:
        target = target_of(project, audience, channel)
        with file_rows(project, audience, release(shop.lake), pa.array(UIDS, pa.int64()), target) as found:
            leave = {uid for table in found.tables() for uid in table["uid"].to_pylist()}
            assert len(leave) + sum(found.left_out.values()) == len(UIDS)
        assert leave == may_leave(rows, channel, unknown), channel
        seen.add(frozenset(leave))
    assert len(seen) == len(CHANNELS), "each channel lets others through"


@pytest.mark.parametrize(
    ("said", "leaves"),
    [
        ([True, False, True], True),
        ([True, False, None], False),
        ([False, True], True),
        ([None], True),
    ],
)
def test_an_opt_out_holds_until_it_is_taken_back(shop: Shop, said: list[bool | None], leaves: bool) -> None:
    rows = [
        silver(EARLY + timedelta(days=i), i, member_id="M1", marketing_consent=True, sms_consent=word)
        for i, word in enumerate(said)
    ]
    shop.put("silver.members", rows)
    audience = named(shop.project.audiences, "everybody")
    for channel, expected in (("sms", leaves), ("email", True)):
        target = target_of(shop.project, audience, channel)
        with file_rows(shop.project, audience, release(shop.lake), pa.array([1], pa.int64()), target) as found:
            assert (found.rows == 1) is expected, "a word of text messages says nothing of e-mail"
