"""Names and addresses beside a contact: the vendors' vectors, and what stands in the file of a person."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from audiences.contacts import HASHED_ALREADY, ShapedContact, contact, shaped_or_why
from audiences.platforms import Platform
from jobs.audiences.export import Exported, export
from project.example import EXAMPLE
from schemas.contracts import fields
from tests.audiences.lake_shop import EARLY, Shop, beijing_shop, silver

EVERYBODY = """\
name: {zh: 全部会员, en: Everybody}
description: {zh: 全部, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, at_least: 0}
export: {columns: [user_id]}
"""


@pytest.mark.parametrize(
    ("kind", "text", "shape", "expected"),
    [
        # Meta, fb_custom_audience/util.ts
        ("given_name", "O'Brien", "letters", "obrien"),
        ("family_name", "Mary-Jane", "letters", "maryjane"),
        ("family_name", "정", "letters", "정"),
        ("given_name", " Anna  Maria ", "letters", "anna maria"),
        ("country", "USA", None, None),
        ("country", "US", None, "us"),
        ("postal_code", "K1A 0A6", "first_part", "k1a0a6"),
        # Two sources disagree, so both are shapes: Meta's own library, and RudderStack
        ("postal_code", "94035-1234", "first_part", "94035"),
        ("postal_code", "94035-1234", "joined", "940351234"),
        ("city", "St. Louis 5", "letters", "stlouis"),
        ("province", "北京市", "letters", "北京市"),
        # Google: no titles, other letters kept, Zip and Country in clear
        ("given_name", "Mrs. Zoë", "untitled", "zoë"),
        ("family_name", "Pérez, Jr.", "untitled", "pérez"),
        ("family_name", "Jr.", "untitled", "jr."),
        ("postal_code", "WC2H 8LG", "plain", "WC2H 8LG"),
        ("country", "中国", None, "cn"),
        ("given_name", "--", "letters", None),
        ("postal_code", "北京", "plain", None),
    ],
)
def test_a_detail_is_written_as_its_vendor_compares_it(
    kind: str, text: str, shape: str | None, expected: str | None
) -> None:
    assert contact(kind, text, "clear", None, shape) == expected


def test_a_detail_that_is_a_digest_is_not_hashed_again() -> None:
    assert shaped_or_why("given_name", sha("li"), "sha256", None, "letters") == ShapedContact(None, HASHED_ALREADY)


def test_names_and_postal_codes_are_personal_fields() -> None:
    assert {fields()[n].personal for n in ("given_name", "family_name", "postal_code")} == {"contact"}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([{"detail": "given_name"}], "a detail stands beside an id"),
        ([{"id": "phone"}, {"detail": "given_names"}], "no detail 'given_names'"),
        ([{"id": "phone"}, {"detail": "country", "shape": "letters"}], "country has no shape 'letters'"),
        ([{"id": "phone", "together": "x"}], "together is of a detail"),
    ],
)
def test_a_wrong_detail_says_so(columns: list[dict[str, str]], said: str) -> None:
    words = {"zh": "x", "en": "x"}
    with pytest.raises(ValueError, match=said):
        Platform.model_validate({"name": words, "description": words, "columns": columns})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = beijing_shop(tmp_path_factory.mktemp("template") / "shop")
    shop.define("everybody", EVERYBODY)
    shutil.copytree(EXAMPLE / "platforms", shop.folder / "platforms")
    address: dict[str, Any] = {"given_name": "Mrs. Zoë", "family_name": "O'Brien", "country": "SG"}
    members = {
        "M1": {"phone": "13800000201", **address, "postal_code": "WC2H 8LG", "city": "上海 1", "province": "上海"},
        "M2": {"phone": "13800000202", **address, "postal_code": None},
        "M3": {"phone": "13800000203", "country": "USA"},
        "M4": {**address, "postal_code": "94035-1234"},
    }
    rows = [
        silver(EARLY, i, member_id=m, **{"marketing_consent": True, **v}) for i, (m, v) in enumerate(members.items())
    ]
    shop.put("silver.members", rows)
    return shop.folder


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def delivered(shop: Shop, to: str) -> tuple[Exported, list[dict[str, str]]]:
    done = export(shop.project, "everybody", requested_by="li", to=to)
    return done, list(csv.DictReader(io.StringIO(Path(done.file).read_text(encoding="utf-8"), newline="")))


def test_google_gets_an_address_whole_or_not_at_all(shop: Shop) -> None:
    done, rows = delivered(shop, "google")
    asked = ["First Name", "Last Name", "Country", "Zip"]
    assert [[r[h] for h in asked] for r in rows] == [
        [sha("zoë"), sha("o'brien"), "sg", "WC2H 8LG"],
        [""] * 4,
        [""] * 4,
    ]
    assert {h: done.contacts_withheld[h] for h in asked if h in done.contacts_withheld} == {
        h: {"incomplete": 1} for h in asked if h != "Zip"
    }
    assert done.left_out["no contact of the kind"] == 1, "nobody leaves by a name and an address alone"


def test_meta_gets_what_there_is_and_the_rest_is_told(shop: Shop) -> None:
    done, rows = delivered(shop, "meta")
    assert [(r["fn"], r["ln"], r["ct"], r["zip"], r["country"]) for r in rows] == [
        (sha("mrs zoë"), sha("obrien"), sha("上海"), sha("wc2h8lg"), sha("sg")),
        (sha("mrs zoë"), sha("obrien"), "", "", sha("sg")),
        ("", "", "", "", ""),
    ]
    assert done.rejected == {"country": {"no country of two letters": 1}}
    told = (Path(done.folder) / "rejected.csv").read_text(encoding="utf-8-sig")
    assert "USA" not in told and "***" in told
    columns = json.loads(Path(done.manifest).read_text(encoding="utf-8"))["columns"]
    assert {"name": "given_name", "header": "fn", "personal": "contact"}.items() <= columns[2].items()
