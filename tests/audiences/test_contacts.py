"""Contacts are normalised, then hashed: published digests, Chinese and foreign forms, what is refused."""

from __future__ import annotations

import hashlib

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.contacts import Phone, hashed, normalised_email, phone_of
from audiences.contacts import contact as contact_of


def contact(kind: str, text: str | None, how: str, country: str | None = "CN", shape: str | None = None) -> str | None:
    return contact_of(kind, text, how, country, shape)


def normalised_phone(text: str | None, country: str | None = "CN", shape: str = "e164") -> str | None:
    number = phone_of(text, country)
    return None if number is None else number.written(shape)


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        # NIST FIPS 180-4 example, RFC 1321 test suite
        ("abc", "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("abc", "md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("", "md5", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_digests_equal_the_published_vectors(text: str, how: str, expected: str) -> None:
    assert hashed(text, how) == expected


def test_a_phone_hashes_to_metas_published_example() -> None:
    # Meta, Customer Information Parameters: US (650)555-1212 -> 16505551212
    assert contact("phone", "(650)555-1212", "sha256", country="US", shape="digits") == (
        "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"
    )


def test_an_email_hashes_to_metas_published_example() -> None:
    assert contact("email", "  John_Smith@gmail.com ", "sha256") == (
        "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
    )


def test_an_email_hashes_to_gravatars_published_example() -> None:
    assert contact("email", "Test@Example.com", "sha256") == (
        "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
    )


@pytest.mark.parametrize(
    "written",
    [
        "13800138000",
        "+86 138 0013 8000",
        "0086-13800138000",
        "１３８００１３８０００",
        " 138-0013-8000 ",
        "86 13800138000",
    ],
)
def test_one_number_however_written_gives_one_digest(written: str) -> None:
    assert normalised_phone(written) == "+8613800138000"
    assert contact("phone", written, "sha256") == hashlib.sha256(b"+8613800138000").hexdigest()


def test_the_form_of_a_phone_is_what_gets_hashed() -> None:
    assert normalised_phone("13800138000", shape="digits") == "8613800138000"
    assert normalised_phone("+8613800138000", shape="national") == "13800138000"
    assert contact("phone", "13800138000", "md5", shape="national") == hashlib.md5(b"13800138000").hexdigest()


def test_a_phone_is_held_as_country_and_national_number() -> None:
    assert phone_of("+1 (650) 555-1212", "CN") == Phone(1, "6505551212")


def test_a_number_without_a_country_code_has_no_country_that_nobody_named() -> None:
    assert phone_of("13800138000", None) is None
    assert phone_of("+86 13800138000", None) == Phone(86, "13800138000")


def test_a_country_code_wins_over_the_region() -> None:
    assert normalised_phone("+44 20 7031 3000", "CN") == "+442070313000"


@pytest.mark.parametrize("text", [None, "", " ", "unknown", "12345", "138001380001234567", "13800138000 ext 5", "=1+1"])
def test_what_is_no_number_is_not_delivered(text: str | None) -> None:
    assert contact("phone", text, "sha256") is None


@given(st.integers(13 * 10**9, 20 * 10**9 - 1))
def test_the_short_way_for_chinese_mobiles_gives_what_the_library_gives(n: int) -> None:
    parsed = phonenumbers.parse(str(n), "CN")
    expected = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    assert normalised_phone(str(n)) == normalised_phone(f"+86 {n}") == expected


def test_a_range_of_mobiles_that_no_list_knows_yet_is_delivered() -> None:
    assert not phonenumbers.is_valid_number(phonenumbers.parse("16012345678", "CN"))
    assert normalised_phone("16012345678") == normalised_phone("0086 160-1234-5678") == "+8616012345678"


@pytest.mark.parametrize(
    "text", [None, "", "a@b", "a b@c.cn", "@c.cn", "a@c.cn,b@c.cn", "a" * 65 + "@c.cn", "a@" + "b" * 260 + ".cn"]
)
def test_what_is_no_address_is_not_delivered(text: str | None) -> None:
    assert normalised_email(text) is None


def test_dots_and_tags_of_an_address_stay() -> None:
    assert normalised_email("First.Last+News@Gmail.com") == "first.last+news@gmail.com"
    assert normalised_email("张三@例子.中国") == "张三@例子.中国"


def test_other_identifiers_are_trimmed_only() -> None:
    assert contact("openid", " oAbC ", "clear") == "oAbC"
    assert contact("openid", "  ", "md5") is None
