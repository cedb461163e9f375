"""Who is not written to whatever they agreed to: do-not-contact lists, caps over campaigns, quiet hours and days."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from audiences.delivery import read_manifest
from audiences.funnel import CAPPED, DO_NOT_CONTACT
from audiences.reach_rules import MessageCap, ReachRules
from jobs.audiences.export import export
from lake.releases import release
from project import suppressed
from project.folder import Project
from project.platforms import target_of
from queries.preview import preview
from schemas.errors import ConfigurationError, QuietError
from tests.audiences.lake_shop import EARLY, D, Shop, beijing_shop, silver

ZONE = ZoneInfo("Asia/Shanghai")
EVERYBODY = """\
name: {zh: 全部, en: Everybody}
description: {zh: 全部, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, at_least: 0}
export:
  columns: [uid]
  contacts: {member_id: clear}
  format: plain
"""
MEMBERS = ("1", "2", "3", "4", "5", "6")
STATES = ("sent", "delivered", "exposed", "clicked", "refused")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = beijing_shop(tmp_path_factory.mktemp("template") / "shop")
    shop.define("everybody", EVERYBODY)
    shop.put("silver.members", [silver(EARLY, int(i), member_id=f"M{i}", marketing_consent=True) for i in MEMBERS])
    return shop.folder


def ruled(shop: Shop, rules: str) -> Project:
    (shop.folder / "huaxiang.yaml").write_text(f"name: {{zh: 店, en: Shop}}\nreach:\n{rules}", encoding="utf-8")
    return shop.project


def listed(shop: Shop, *lines: str) -> None:
    (shop.folder / "lists").mkdir(exist_ok=True)
    (shop.folder / "lists" / "stop.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def touched(shop: Shop, *touches: tuple[str, date, str, str]) -> None:
    """Touches of members: who, day, campaign, state."""
    rows = [
        silver(
            EARLY,
            n,
            event_id=f"e{n}",
            occurred_at=datetime.combine(day, time(10), ZONE),
            campaign=campaign,
            channel="sms",
            member_id=f"M{member}",
            touch_state=state,
        )
        for n, (member, day, campaign, state) in enumerate(touches)
    ]
    shop.put("silver.touches", rows)


def test_who_is_on_a_list_gets_nothing_by_any_kind_of_id_and_is_counted(shop: Shop) -> None:
    listed(shop, "member_id", " M1 ", "M2", "nobody", "M2")
    project = ruled(shop, "  do_not_contact: [{file: lists/stop.csv, kind: member_id}]\n")
    told = preview(project, "everybody")
    done = export(project, "everybody", requested_by="li")
    assert done.left_out[DO_NOT_CONTACT] == 2 == told.left_out[DO_NOT_CONTACT]
    assert done.rows == len(MEMBERS) - 2 == told.deliverable
    text = Path(done.file).read_text(encoding="utf-8")
    assert "M1" not in text and "M2" not in text and "M3" in text
    assert any(
        "lists/stop.csv: 3 ids (member_id) to which nothing is sent, 1 of them of nobody here" in n for n in done.notes
    )
    manifest = read_manifest(Path(done.folder))
    assert manifest["reach"]["do_not_contact"][0]["file"] == "lists/stop.csv"
    allowed = next(s for s in manifest["funnel"] if s["step"] == "allowed")
    assert allowed["lost"][DO_NOT_CONTACT] == 2


def test_a_list_holds_for_notices_too_that_need_no_consent(shop: Shop) -> None:
    shop.define("recall", EVERYBODY.replace("owner: crm", "owner: crm\nconsent: ignore\nconsent_reason: a recall"))
    users = shop.lake.local(shop.lake.files("identity.users"))
    one = next(r["user_id"] for p in users for r in pq.read_table(p).to_pylist() if r["uid"] == 1)
    listed(shop, "user_id", one)
    project = ruled(shop, "  do_not_contact: [{file: lists/stop.csv, kind: user_id}]\n")
    assert export(project, "recall", requested_by="li").left_out[DO_NOT_CONTACT] == 1


def test_a_list_that_has_gone_stops_the_delivery(shop: Shop) -> None:
    project = ruled(shop, "  do_not_contact: [{file: lists/gone.csv, kind: member_id}]\n")
    with pytest.raises(ConfigurationError, match=r"lists/gone\.csv"):
        export(project, "everybody", requested_by="li")
    assert not (shop.folder / "exports").exists() or not list((shop.folder / "exports").rglob("*.csv"))


def test_caps_hold_back_whom_a_count_by_hand_says(shop: Shop) -> None:
    chance = random.Random(7)
    touches = [
        (chance.choice(MEMBERS), D - timedelta(days=chance.randrange(12)), chance.choice("abc"), chance.choice(STATES))
        for _ in range(40)
    ]
    touched(shop, *touches)
    seen = set()
    for messages in (1, 2, 3):
        for days in (1, 3, 7):
            project = ruled(shop, f"  caps: [{{messages: {messages}, within_days: {days}}}]\n")
            told = {
                (m, day, c) for m, day, c, state in touches if state != "refused" and day > D - timedelta(days=days)
            }
            often = {m for m, n in Counter(m for m, _, _ in told).items() if n >= messages}
            found = preview(project, "everybody")
            assert found.left_out.get(CAPPED, 0) == len(often), (messages, days)
            assert found.deliverable == len(MEMBERS) - len(often)
            seen.add(len(often))
    assert len(seen) > 2, "the cases differ"


def test_several_states_of_a_message_are_one_message_and_a_list_is_told_before_a_cap(shop: Shop) -> None:
    touched(shop, *(("1", D, "a", s) for s in STATES), ("2", D, "a", "sent"), ("2", D, "b", "sent"))
    project = ruled(shop, "  caps: [{messages: 2, within_days: 7}]\n")
    assert preview(project, "everybody").left_out[CAPPED] == 1, "only 2 had two"
    listed(shop, "M2")
    project = ruled(
        shop, "  caps: [{messages: 2, within_days: 7}]\n  do_not_contact: [{file: lists/stop.csv, kind: member_id}]\n"
    )
    left_out = preview(project, "everybody").left_out
    assert (left_out[DO_NOT_CONTACT], left_out.get(CAPPED, 0)) == (1, 0)


def test_a_cap_without_any_touches_says_that_it_holds_nobody_back(shop: Shop) -> None:
    project = ruled(shop, "  caps: [{messages: 1, within_days: 7}]\n")
    found = preview(project, "everybody")
    assert found.deliverable == len(MEMBERS)
    assert any("caps hold nobody back" in note for note in found.warnings)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


NIGHT = ReachRules(quiet_hours=(time(21, 30), time(8)), quiet_days=(date(2026, 10, 1), date(2026, 10, 2)))


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-09-29 12:00", None),
        ("2026-09-29 21:29", None),
        ("2026-09-29 21:30", "2026-09-30 08:00"),
        ("2026-09-30 07:59", "2026-09-30 08:00"),
        ("2026-09-30 08:00", None),
        ("2026-09-30 23:00", "2026-10-03 08:00"),
        ("2026-10-01 12:00", "2026-10-03 08:00"),
    ],
)
def test_quiet_hours_go_over_midnight_and_end_where_nothing_is_quiet(now: str, until: str | None) -> None:
    assert NIGHT.quiet_until(at(now)) == (None if until is None else at(until))


def test_hours_within_a_day_and_days_alone() -> None:
    lunch = ReachRules(quiet_hours=(time(12), time(14)))
    assert lunch.quiet_until(at("2026-09-30 13:00")) == at("2026-09-30 14:00")
    assert not lunch.is_quiet(at("2026-09-30 14:00"))
    day = ReachRules(quiet_days=(date(2026, 10, 1),))
    assert day.quiet_until(at("2026-10-01 00:00")) == at("2026-10-02 00:00")
    with pytest.raises(ValidationError, match="never or always"):
        ReachRules(quiet_hours=(time(8), time(8)))
    with pytest.raises(ValidationError):
        MessageCap(messages=0, within_days=7)


def test_nothing_leaves_in_a_quiet_hour_but_what_is_forced_or_holds_no_id(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = ruled(shop, '  quiet_hours: ["21:30", "08:00"]\n')
    night = at("2026-02-01 23:00")

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return night

    monkeypatch.setattr(suppressed, "datetime", Clock)
    with pytest.raises(QuietError, match="from 2026-02-02 08:00 on it may"):
        export(project, "everybody", requested_by="li")
    assert export(project, "everybody", requested_by="li", force=True).rows == len(MEMBERS)
    shop.define("plain", EVERYBODY.replace("  contacts: {member_id: clear}\n", ""))
    assert export(shop.project, "plain", requested_by="li").rows > 0
    assert target_of(project, project.audiences["everybody"]).platform.ids
    assert release(project.lake).as_of == D
