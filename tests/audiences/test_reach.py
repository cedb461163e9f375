"""Whom each platform's file would reach, by bits: the counts of the files themselves, for random people and audiences."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from audiences.bits import flags
from audiences.language import named
from lake.local_cache import LocalCache
from lake.releases import release
from project.audience import planned
from project.audience_file import file_rows
from project.platforms import target_of
from queries.preview import ReachBits, ReleaseColumns
from tests.audiences.lake_shop import EARLY, D, Shop, people, silver

UIDS = [*range(1, 150), *range(100_001, 100_041)]
PLATFORMS = {
    "sms": "- {id: phone, shape: national}",
    "ads": "- {id: phone, hash: md5, shape: digits}\n  - {id: email, hash: sha256}\n  - {id: openid, hash: sha256}",
    "chat": "- {id: external_userid}",
    "devices": "- {id: device_id, shape: idfa, hash: md5}",
    "american": "- {id: phone}",
    "nameless": "- {profile: user_id}",
}
HEAD = "name: {zh: 人, en: People}\ndescription: {zh: 人, en: People}\n"
AUDIENCES = {
    "north": "include: {tag: register_city, is: 北京}\nexport: {contacts: {phone: clear, email: md5}}\n",
    "all_of_them": "include: {tag: paid_amount_90d, at_least: 0}\n",
    "warned": "include: {tag: paid_amount_90d, at_least: 0}\nconsent: ignore\nconsent_reason: a recall\n",
    "nobody": "include: {tag: register_city, is: 广州}\n",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """People of whom many share contacts, refuse, are silent, have digests or nonsense for contacts, or merged since."""
    made, chance = Shop(tmp_path_factory.mktemp("reach") / "shop"), random.Random(5)
    phones = ["13800000001", "+86 13800000002", "13800000002", "+12015550123", "123", "f" * 32, None]
    phones += [f"139000{n:05d}" for n in range(150)]
    emails = ["a@b.cn", "A@b.cn ", "no address", None, *(f"u{n}@b.cn" for n in range(100))]
    others = [None, "x", "0" * 40, "6D92078A-8246-4BA4-AE5B-76104861E7DC", *(f"id{n}" for n in range(60))]
    rows, names = [], []
    for i, uid in enumerate(UIDS):
        for version in range(chance.choice((0, 1, 1, 1, 2))):
            rows.append(
                silver(
                    EARLY + timedelta(days=i + 200 * version),
                    len(rows),
                    member_id=f"M{uid}",
                    phone=chance.choice(phones),
                    email=chance.choice(emails),
                    openid=chance.choice(others),
                    external_userid=chance.choice(others),
                    device_id=chance.choice(others),
                    marketing_consent=chance.choice((True, True, True, False, None)),
                    sms_consent=chance.choice((True, False, None, None)),
                )
            )
        owner = chance.choice((1, 2)) if uid % 29 == 0 else uid
        names.append({"id_kind": "member", "id_value": f"M{uid}", "uid": owner})
    merged = {uid: chance.choice((1, 2, 3)) for uid in UIDS if uid % 29 == 0}
    users = [{"uid": u, "bucket": u // 100_000, "user_id": f"m{u:06d}", "merged_into_uid": merged.get(u)} for u in UIDS]
    made.put("identity.users", users)
    made.put("identity.identifiers", names)
    made.put("silver.members", rows)
    (made.folder / "platforms").mkdir()
    for name, columns in PLATFORMS.items():
        text = f"name: {{zh: {name}, en: {name}}}\ndescription: {{zh: 台, en: Platform}}\ncolumns:\n  {columns}\n"
        country = {"american": "country: US\n", "sms": "consent: sms\n", "chat": "consent: wechat\n"}.get(name, "")
        (made.folder / "platforms" / f"{name}.yaml").write_text(text + country, encoding="utf-8")
    for name, text in AUDIENCES.items():
        made.define(name, f"{HEAD}owner: crm\n{text}")
    cities = {u: chance.choice(("北京", "上海", None)) for u in UIDS}
    made.release(D, [{**people()[0], "uid": u, "register_city": c} for u, c in cities.items()])
    return made


def held_back(shop: Shop) -> None:
    """A list of every fifth member, and two messages to every seventh."""
    (shop.folder / "lists").mkdir(exist_ok=True)
    names = "".join(f"M{uid}\n" for uid in list(UIDS)[::5])
    (shop.folder / "lists" / "stop.csv").write_text(names, encoding="utf-8")
    rows = [
        {"event_id": f"{uid}-{n}", "campaign": f"c{n}", "channel": "sms", "member_id": f"M{uid}", "touch_state": "sent"}
        for uid in list(UIDS)[::7]
        for n in range(2)
    ]
    at = datetime(D.year, D.month, D.day, 3, tzinfo=UTC)
    shop.put("silver.touches", [silver(EARLY, i, occurred_at=at, **row) for i, row in enumerate(rows)])


def reach_of(shop: Shop) -> ReachBits:
    lake = shop.lake
    return ReachBits(shop.project, ReleaseColumns(lake, release(lake), LocalCache(lake.store, 1 << 30)))


@pytest.mark.parametrize("unknown", ["refuse", "allow"])
def test_the_counts_are_those_of_the_files(shop: Shop, unknown: str) -> None:
    text = f"name: {{zh: 店, en: Shop}}\nunknown_consent: {unknown}\n"
    if unknown == "allow":
        text += "reach:\n  do_not_contact: [{file: lists/stop.csv, kind: member_id}]\n"
        text += "  caps: [{messages: 2, within_days: 7}]\n"
        held_back(shop)
    (shop.folder / "huaxiang.yaml").write_text(text, encoding="utf-8")
    reach, reasons = reach_of(shop), Counter[str]()
    project, at = reach.project, reach.columns.at
    for name in AUDIENCES:
        audience = named(project.audiences, name)
        members = reach.columns.judged(planned(project, audience))[0].members
        uids = pa.array(reach.uid[flags(members, reach.users)], pa.int64())
        found = reach.of(audience, members)
        assert [r.platform for r in found] == ["own", *sorted(PLATFORMS)]
        for one in found:
            target = target_of(project, audience, None if one.platform == "own" else one.platform)
            with file_rows(project, audience, at, uids, target) as file:
                assert (one.users, one.deliverable) == (len(uids), file.rows), (name, one)
                assert one.left_out == {why: n for why, n in file.left_out.items() if n}, (name, one)
            assert one.deliverable + sum(one.left_out.values()) == one.users, "nobody is lost unsaid"
            reasons.update(one.left_out)
    wanted = {"refused marketing", "contact refused by another", "contact is in the file already", "no member"}
    wanted |= {"no contact of the kind", "no valid contact", "one person with another of them by now"}
    wanted |= {"on a do-not-contact list", "had messages enough lately"} if unknown == "allow" else set()
    assert wanted <= set(reasons), "every reason occurs"


def test_a_second_reader_opens_no_contacts_and_a_moved_table_is_noticed(shop: Shop) -> None:
    first = reach_of(shop)
    audience = named(first.project.audiences, "all_of_them")
    members = first.columns.judged(planned(first.project, audience))[0].members
    told = first.of(audience, members)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("queries.preview.reach.FoundContacts", None)
        assert reach_of(shop).of(audience, members) == told
    assert first.is_current
    shop.put("silver.members", [silver(EARLY, 9999, member_id="of nobody")], replace=None)
    assert not first.is_current


def test_nothing_that_is_kept_holds_a_contact(shop: Shop) -> None:
    reach = reach_of(shop)
    reach.prepare()
    kept = [p for p in reach.columns.cache.folder.rglob("_reach-*") if p.is_file()]
    assert len(kept) > len(PLATFORMS)
    held = b"".join(p.read_bytes() for p in kept)
    assert not any(text in held for text in (b"13800000001", b"a@b.cn", b"6D92078A", b"M100"))
    assert {t for p in kept for t in _types(p)} <= {"uint64", "int64"}


def _types(path: Path) -> list[str]:
    with pa.memory_map(str(path)) as source:
        return [str(f.type) for f in pa.ipc.open_file(source).schema]
