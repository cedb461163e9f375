"""Whose contacts leave: a refusal holds wherever the contact stands, equal contacts leave once, and ids are not mixed up."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audiences.delivery import read_manifest
from jobs.audiences.export import Exported, export
from lake.releases import release
from queries.preview import preview
from queries.user import find_uid
from schemas.errors import UsageError
from tests.audiences.lake_shop import EARLY, D, Shop, beijing_shop, people, silver

EVERYBODY = """\
name: {zh: 全部, en: Everybody}
description: {zh: 全部, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, at_least: 0}
export:
  columns: [uid]
  contacts: {phone: clear, email: sha256}
  format: plain
"""
NUMBER = "13800000201"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = beijing_shop(tmp_path_factory.mktemp("template") / "shop")
    shop.define("everybody", EVERYBODY)
    return shop.folder


def records(shop: Shop, **members: Mapping[str, Any]) -> None:
    """These and no other member records, of uids that their names say: ``M1``."""
    rows = [silver(EARLY + timedelta(days=i), i, member_id=m[:2], **v) for i, (m, v) in enumerate(members.items())]
    shop.put("silver.members", rows)


def delivered(shop: Shop) -> tuple[dict[str, tuple[str, str]], Exported]:
    """Phone and e-mail by uid."""
    asked = preview(shop.project, "everybody")
    done = export(shop.project, "everybody", requested_by="li")
    text = Path(done.file).read_text(encoding="utf-8")
    found = {r["uid"]: (r["phone"], r["email"]) for r in csv.DictReader(io.StringIO(text, newline=""))}
    assert asked.deliverable == len(found) and asked.left_out == done.left_out
    assert asked.users == len(found) + sum(done.left_out.values()), "everybody is in the file or counted"
    assert asked.contacts_withheld == done.contacts_withheld == read_manifest(Path(done.folder))["contacts_withheld"]
    return found, done


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_number_that_another_person_refused_leaves_for_nobody(shop: Shop) -> None:
    records(
        shop,
        M1={"phone": NUMBER, "email": "u@example.com", "marketing_consent": True},
        M2={"phone": "+86 138 0000 0201", "email": "v@example.com", "marketing_consent": False},
        M3={"phone": NUMBER, "marketing_consent": True},
    )
    found, done = delivered(shop)
    assert found == {"1": ("", sha("u@example.com"))}, "by an address of their own they can be reached"
    assert done.contacts_withheld == {"phone": {"refused": 2}}
    assert done.left_out == {"no member": 5, "refused marketing": 1, "contact refused by another": 1}


def test_a_refused_address_is_withheld_in_any_spelling_and_as_a_hash(shop: Shop) -> None:
    records(
        shop,
        M1={"phone": NUMBER, "email": "u@example.com", "marketing_consent": True},
        M2={"email": " U@Example.com", "marketing_consent": False},
    )
    found, done = delivered(shop)
    assert found == {"1": (f"+86{NUMBER}", "")}
    assert done.contacts_withheld == {"email": {"refused": 1}}


def test_who_agrees_again_is_delivered_once_and_with_the_eldest(shop: Shop) -> None:
    records(
        shop,
        M1={"phone": NUMBER, "marketing_consent": True},
        M2={"phone": NUMBER, "marketing_consent": False},
        M2_later={"phone": NUMBER, "marketing_consent": True},
        M3={"phone": f"0086{NUMBER}", "email": "w@example.com", "marketing_consent": True},
    )
    found, done = delivered(shop)
    assert found == {"1": (f"+86{NUMBER}", ""), "3": ("", sha("w@example.com"))}
    assert done.contacts_withheld == {"phone": {"repeated": 2}}
    assert done.left_out == {"no member": 5, "contact is in the file already": 1}


def test_a_refusal_of_somebody_outside_the_audience_holds_as_well(shop: Shop) -> None:
    records(
        shop,
        M1={"phone": NUMBER, "marketing_consent": True},
        X9={"phone": NUMBER, "marketing_consent": False},
    )
    assert delivered(shop)[0] == {}


AGREED = {"phone": NUMBER, "marketing_consent": True}
REFUSED = {"phone": NUMBER, "marketing_consent": False}
WIDE = NUMBER.translate({48 + i: 0xFF10 + i for i in range(10)})
"""In full-width digits."""


@pytest.mark.parametrize(
    "later",
    [{"phone": NUMBER}, {"marketing_consent": False}, {}, {"phone": "13800000209", "marketing_consent": False}],
    ids=["silent", "contact dropped", "both", "another contact"],
)
def test_a_refusal_outlives_later_versions_that_do_not_take_it_back(shop: Shop, later: dict[str, Any]) -> None:
    records(shop, M1=AGREED, M2=REFUSED, M2_later=later)
    found, done = delivered(shop)
    assert found == {} and done.contacts_withheld == {"phone": {"refused": 1}}
    assert done.left_out == {"no member": 6, "refused marketing": 1, "contact refused by another": 1}


def test_a_blank_after_a_refusal_is_not_unknown_consent_that_the_project_allows(shop: Shop) -> None:
    (shop.folder / "huaxiang.yaml").write_text("name: {zh: 店, en: Shop}\nunknown_consent: allow\n", encoding="utf-8")
    records(shop, M2=REFUSED, M2_later={"phone": NUMBER})
    found, done = delivered(shop)
    assert found == {} and done.left_out == {"no member": 7, "refused marketing": 1}


def test_a_blank_after_an_agreement_leaves_the_agreement(shop: Shop) -> None:
    records(shop, M1=AGREED, M1_later={"phone": "13800000209"})
    assert delivered(shop)[0] == {"1": ("+8613800000209", "")}


@pytest.mark.parametrize(
    ("kind", "mine", "refused"),
    [
        ("email", "u@example.com", "ｕ@example.com"),
        ("email", "ｕ@example.com", "U@example.com"),
        ("phone", NUMBER, WIDE),
        ("phone", WIDE, f"+86{NUMBER}"),
        ("unionid", "u-7", " u-7 "),
    ],
)
def test_one_contact_is_one_however_wide_or_spaced_it_is_written(
    shop: Shop, kind: str, mine: str, refused: str
) -> None:
    shop.define("everybody", EVERYBODY.replace("{phone: clear, email: sha256}", f"{{{kind}: clear}}"))
    records(shop, M1={kind: mine, "marketing_consent": True}, M2={kind: refused, "marketing_consent": False})
    done = export(shop.project, "everybody", requested_by="li")
    assert (done.rows, done.contacts_withheld) == (0, {kind: {"refused": 1}})


def test_ignoring_consent_ignores_refusals_and_still_sends_one_number_once(shop: Shop) -> None:
    shop.define("everybody", EVERYBODY + "consent: ignore\nconsent_reason: recall\n")
    records(
        shop,
        M1={"phone": NUMBER, "marketing_consent": False},
        M2={"phone": NUMBER, "marketing_consent": True},
    )
    found, done = delivered(shop)
    assert found == {"1": (f"+86{NUMBER}", "")}
    assert done.contacts_withheld == {"phone": {"repeated": 1}}


def test_unknown_consent_is_decided_by_the_project_and_a_refusal_is_not(shop: Shop) -> None:
    records(shop, M1={"phone": NUMBER}, M2={"phone": "13800000202"}, M3={"phone": NUMBER, "marketing_consent": False})
    assert delivered(shop)[1].left_out == {"no member": 5, "refused marketing": 1, "consent is not known": 2}
    (shop.folder / "huaxiang.yaml").write_text("name: {zh: 店, en: Shop}\nunknown_consent: allow\n", encoding="utf-8")
    done = export(shop.project, "everybody", requested_by="li", again=True)
    assert (done.rows, read_manifest(Path(done.folder))["unknown_consent"]) == (1, "allow")
    assert done.contacts_withheld == {"phone": {"refused": 1}}
    assert done.notes == ("2 whose consent is not known count as agreed (unknown_consent in huaxiang.yaml)",)


def test_a_shop_that_maps_no_consent_is_told_how_to_decide(shop: Shop) -> None:
    records(shop, M1={"phone": NUMBER}, M2={"phone": "13800000202"})
    assert [w for w in preview(shop.project, "everybody").warnings if "unknown_consent: allow" in w]


def test_a_shop_without_members_is_told_at_preview_that_nobody_can_leave(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.define("everybody", EVERYBODY + "consent: ignore\nconsent_reason: recall\n")
    shop.put(
        "identity.users", [{"uid": u, "bucket": 0, "user_id": f"m{u:06d}", "person_kind": "member"} for u in (1, 2)]
    )
    shop.put("identity.identifiers", [{"id_kind": "member", "id_value": f"M{u}", "uid": u} for u in (1, 2)])
    shop.release(D, [p for p in people() if p["uid"] in (1, 2)])
    asked = preview(shop.project, "everybody")
    assert (asked.users, asked.deliverable, asked.left_out) == (2, 0, {"no member": 2})
    assert "no file of the feed members has been taken" in asked.warnings[-1]
    assert "no file of the feed members" in export(shop.project, "everybody", requested_by="li").notes[0]


def test_a_number_that_is_a_uid_and_another_ones_member_id_is_refused_with_both_readings(shop: Shop) -> None:
    identifiers = [{"id_kind": "member", "id_value": "2", "uid": 7}, {"id_kind": "member", "id_value": "3", "uid": 3}]
    shop.put("identity.identifiers", identifiers)
    shop.release(D, people(), number=2)
    at = release(shop.lake)
    with pytest.raises(UsageError, match=r"uid here \(say uid:2\).*--member 2"):
        find_uid(shop.project, "2", at)
    assert find_uid(shop.project, "uid:2", at) == 2
    assert find_uid(shop.project, "2", at, by_member_id=True, requested_by="li") == 7
    assert find_uid(shop.project, "3", at) == 3, "both readings are one person"
