"""One person's card: tags by group with labels, personal data masked, every look at it logged first."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow.dataset as pads
import pytest

from audiences.contacts import masked
from lake.releases import release
from queries.user import REVEALS, Card, card, find_uid, read_value
from schemas.errors import NotThereError
from tests.audiences.lake_shop import D, Shop, people


def reveals(shop: Shop) -> list[dict[str, Any]]:
    return [json.loads(shop.lake.store.read(name) or b"") for name in shop.lake.store.names(REVEALS)]


def test_a_card_shows_tags_by_group_with_labels_and_money(shop: Shop) -> None:
    found = card(shop.project, 1)
    assert (found.user_id, found.is_member, found.as_of) == ("m000001", True, D)
    assert [g.path for g in found.groups] == [("基本信息", "人口信息"), ("消费特征", "消费能力和频次")]
    tags = {t.id: t for g in found.groups for t in g.tags}
    assert (tags["gender"].value_zh, tags["gender"].value_en) == ("女", "Female")
    assert (tags["paid_amount_90d"].value, tags["paid_amount_90d"].value_zh) == (10000, "100.00 CNY")
    assert tags["register_city"].value_en == "北京"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (12345.678, "12,345.68"),
        (1_234_567_890.5, "1,234,567,890.50"),
        (20_000.0, "20,000"),
        (12.3456, "12.35"),
        (1 / 3, "0.3333"),
        (0.5, "0.5"),
        (0.0, "0"),
        (-0.00001234, "-0.00001234"),
    ],
)
def test_a_number_is_shown_without_an_exponent(number: float, text: str) -> None:
    tag: Any = SimpleNamespace(labels={}, unit="ratio")
    assert read_value(tag, number, "CNY") == (text, text)


@pytest.mark.parametrize(
    ("currency", "text"), [("CNY", "12,345.67 CNY"), ("JPY", "1,234,567 JPY"), ("KWD", "1,234.567 KWD")]
)
def test_money_is_shown_in_the_digits_of_its_currency(currency: str, text: str) -> None:
    tag: Any = SimpleNamespace(labels={}, unit="minor")
    assert read_value(tag, 1_234_567, currency) == (text, text)


def test_an_absent_value_stays_absent(shop: Shop) -> None:
    tags = {t.id: t for g in card(shop.project, 7).groups for t in g.tags}
    assert (tags["register_city"].value, tags["register_city"].value_zh) == (None, None)


def in_clear(found: Card) -> bool:
    return "M1" in str(found.identifiers) or "13800130001" in str(found.contacts)


def test_personal_data_is_masked_and_no_look_is_logged(shop: Shop) -> None:
    found = card(shop.project, 1)
    assert not in_clear(found)
    assert found.contacts[0]["phone"] == "138******01"
    assert reveals(shop) == []


def test_a_look_at_personal_data_is_logged_with_who_and_why(shop: Shop) -> None:
    found = card(shop.project, 1, reveal=True, requested_by="li", purpose="complaint 17")
    assert in_clear(found)
    (line,) = reveals(shop)
    assert (line["by"], line["uid"], line["purpose"], line["what"]) == ("li", 1, "complaint 17", "ids and contacts")
    (name,) = shop.lake.store.names(REVEALS)
    assert shop.lake.store.path(name).stat().st_mode & 0o077 == 0


def test_nothing_is_shown_that_could_not_be_logged(shop: Shop) -> None:
    (shop.lake.root / "ops" / "reveals").write_text("in the way")
    with pytest.raises(OSError):
        card(shop.project, 1, reveal=True, requested_by="li")


def test_a_person_is_found_by_user_id_uid_and_member_id(shop: Shop) -> None:
    at = release(shop.lake)
    assert find_uid(shop.project, "m100001", at) == 100_001
    assert find_uid(shop.project, "3", at) == 3
    assert reveals(shop) == []
    assert find_uid(shop.project, "M100001", at, by_member_id=True, requested_by="li") == 100_001
    assert reveals(shop)[0]["what"] == "search by member id M1****1"


def test_a_member_id_without_saying_so_is_not_searched(shop: Shop) -> None:
    with pytest.raises(NotThereError, match="a member id with --member"):
        find_uid(shop.project, "M1", release(shop.lake))


def test_a_member_that_is_not_there_is_not_repeated_in_the_error(shop: Shop) -> None:
    with pytest.raises(NotThereError) as e:
        find_uid(shop.project, "M404404", release(shop.lake), by_member_id=True)
    assert "M404404" not in str(e.value)


def test_who_has_no_row_is_told_why(shop: Shop) -> None:
    day = D + timedelta(days=1)
    users = [
        {"uid": 2, "bucket": 0, "user_id": "m000002", "person_kind": "member", "merged_into_uid": 1, "retired_day": day}
    ]
    users += [
        {"uid": 3, "bucket": 0, "user_id": "m000003", "person_kind": "member", "retired_day": day},
        {"uid": 50, "bucket": 0, "user_id": "m000050", "person_kind": "member"},
    ]
    shop.put("identity.users", users)
    shop.release(day, [p for p in people() if p["uid"] not in (2, 3)])
    told = {
        2: "merged into uid 1 on 2026-03-11",
        3: "retired on 2026-03-11 and has no successor: its ids went to other persons, or",
        50: "became known later",
        51: "never given",
    }
    for uid, expected in told.items():
        with pytest.raises(NotThereError, match=expected):
            card(shop.project, uid)


def test_a_mask_leaves_too_little_to_call_anybody() -> None:
    assert [masked(t) for t in ("13800138000", "zhang@x.cn", "M1", "", None, "o" * 40)] == [
        "138******00", "z***@x.cn", "**", "", None, "ooo********oo",
    ]  # fmt: skip


def test_a_card_of_a_lake_that_is_older_than_a_column_of_members(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = type(shop.lake).dataset

    def older(self: Any, name: str) -> Any:
        found = whole(self, name)
        return pads.dataset(found.to_table().drop_columns(["given_name"])) if name == "silver.members" else found

    told = card(shop.project, 1).contacts
    monkeypatch.setattr(type(shop.lake), "dataset", older)
    assert told and card(shop.project, 1).contacts == told
