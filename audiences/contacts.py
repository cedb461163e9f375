"""Contacts and ids as platforms want them: normalised, then in clear or hashed (SHA-256 or MD5, small hexadecimal letters).

Whatever cannot be normalised has a reason and is delivered to nobody; what is a digest already is never hashed again.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

import phonenumbers

from audiences.details import DETAIL_SHAPES, NO_DETAIL, shaped_detail

SHAPES: dict[str, tuple[str, ...]] = {
    "phone": ("e164", "digits", "national"),
    "email": ("plain", "gmail"),
    "device_id": ("as_is", "idfa", "oaid", "imei", "mac"),
    **DETAIL_SHAPES,
}
"""How a contact may be written, by its field; the first is the default. Other ids are as they are."""
NO_FORM = {
    "phone": "no valid phone number",
    "email": "no valid e-mail address",
    "idfa": "no IDFA",
    "oaid": "no OAID or AAID",
    "imei": "no IMEI or MEID",
    "mac": "no MAC address",
    **NO_DETAIL,
}
HASHED_ALREADY = "hashed already"
OF_ANOTHER_COUNTRY = "phone number of another country"
CONTROL_CHARACTER = "holds a control character"

_CHINESE_MOBILE = re.compile(r"1[3-9]\d{9}", re.ASCII)
_CHINA = 86
_EMAIL = re.compile(r"[^\s@,;<>()\[\]\\\"]{1,64}@(?:[\w-]+\.)+[\w-]{2,}")
_GMAIL = ("gmail.com", "googlemail.com")
_DIGEST = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_IMEI = re.compile(r"\d{14,15}|[0-9a-f]{14}", re.ASCII | re.IGNORECASE)
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){5}", re.IGNORECASE)


class Phone(NamedTuple):
    """A number as country code and national number: 86 and 13800138000."""

    country: int
    national: str

    def written(self, shape: str) -> str:
        """``e164`` +8613…, ``digits`` 8613…, ``national`` 13…."""
        if shape == "national":
            return self.national
        return f"{self.country}{self.national}" if shape == "digits" else f"+{self.country}{self.national}"


def phone_of(text: str | None, country: str | None) -> Phone | None:
    """The number; None for what is no valid number, or has an extension.

    ``country`` is that of numbers without a country code; where it is None they are no valid numbers. Full-width digits,
    spaces and dashes are understood. A Chinese number of the form of a mobile is taken as valid: ranges are opened
    faster than lists of them are updated.
    """
    if text is None:
        return None
    plain = unicodedata.normalize("NFKC", text).strip()
    if country == "CN" and _CHINESE_MOBILE.fullmatch(plain):
        # The library would give the same; parsing costs 60 times as much and there are millions.
        return Phone(_CHINA, plain)
    return _parsed_phone(plain, country)


@lru_cache(maxsize=65_536)
def _parsed_phone(plain: str, country: str | None) -> Phone | None:
    try:
        number = phonenumbers.parse(plain, country)
    except phonenumbers.NumberParseException:
        return None
    national = str(phonenumbers.national_significant_number(number))
    mobile = number.country_code == _CHINA and _CHINESE_MOBILE.fullmatch(national)
    if number.extension or number.country_code is None or not (mobile or phonenumbers.is_valid_number(number)):
        return None
    return Phone(number.country_code, national)


def _is_of(number: Phone, country: str | None) -> bool:
    return country is not None and number.country == _code_of(country)


@cache
def _code_of(country: str) -> int:
    return int(phonenumbers.country_code_for_region(country))


def normalised_email(text: str | None, shape: str = "plain") -> str | None:
    """Trimmed and in small letters; None for what is no address.

    Dots and ``+tags`` stay, they are others' mail; ``gmail`` takes the dots out of addresses at Gmail, as Google asks.
    """
    if text is None:
        return None
    plain = unicodedata.normalize("NFKC", text).strip().lower()
    if len(plain) > 254 or not _EMAIL.fullmatch(plain):
        return None
    name, _, domain = plain.rpartition("@")
    return f"{name.replace('.', '')}@{domain}" if shape == "gmail" and domain in _GMAIL else plain


def hashed(text: str | None, how: str) -> str | None:
    """``text`` in clear, or its digest in hexadecimal."""
    if text is None or how == "clear":
        return text
    if how == "sha256":
        return hashlib.sha256(text.encode()).hexdigest()
    if how == "md5":
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    raise ValueError(f"no such hash {how!r}; known are clear, sha256, md5")


def shaped(kind: str, text: str | None, country: str | None, shape: str | None = None) -> str | None:
    """One contact or id in clear, normalised by its field and shape; None where there is nothing to deliver to."""
    if kind == "phone":
        number = phone_of(text, country)
        # Without its country code a number of another country is somebody else's.
        if number is None or (shape == "national" and not _is_of(number, country)):
            return None
        return number.written(shape or SHAPES["phone"][0])
    if kind == "email":
        return normalised_email(text, shape or SHAPES["email"][0])
    plain = (text or "").strip()
    if kind in DETAIL_SHAPES:
        return shaped_detail(kind, plain, shape) if plain else None
    if shape == "idfa":
        return plain.upper() if _UUID.fullmatch(plain) else None
    if shape == "oaid":
        return plain.lower() if _UUID.fullmatch(plain) else None
    if shape == "imei":
        return plain.lower() if _IMEI.fullmatch(plain) else None
    if shape == "mac":
        return re.sub("[:-]", "", plain).upper() if _MAC.fullmatch(plain) else None
    return plain or None


class ShapedContact(NamedTuple):
    """A contact in clear as it may leave, or why it may not; both None where there was none."""

    text: str | None
    reason: str | None = None


def shaped_or_why(
    kind: str, text: str | None, how: str, country: str | None, shape: str | None = None
) -> ShapedContact:
    """As :func:`shaped`, with the reason where a value that is there cannot leave.

    A digest is no phone and no address, and where the platform wants a hash it is not hashed a second time.
    """
    plain = (text or "").strip()
    if not plain:
        return ShapedContact(None)
    if (kind in NO_FORM or how != "clear") and _DIGEST.fullmatch(plain):
        return ShapedContact(None, HASHED_ALREADY)
    found = shaped(kind, plain, country, shape)
    if found is None and kind == "phone" and phone_of(plain, country) is not None:
        return ShapedContact(None, OF_ANOTHER_COUNTRY)
    if found is None:
        return ShapedContact(None, NO_FORM[kind if kind in NO_FORM else shape or kind])
    if not found.isprintable() and any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in found):
        return ShapedContact(None, CONTROL_CHARACTER)
    return ShapedContact(found)


def contact(kind: str, text: str | None, how: str, country: str | None, shape: str | None = None) -> str | None:
    """As :func:`shaped_or_why`, then in clear or hashed; None where there is nothing that may leave."""
    return hashed(shaped_or_why(kind, text, how, country, shape).text, how)


def masked(text: str | None) -> str | None:
    """An id or contact of which a person can recognise their own, and nobody another's: ``138****00``, ``j***@b.cn``."""
    if not text:
        return text
    name, at, domain = text.partition("@")
    if at:
        return f"{name[:1]}***@{domain}"
    if len(text) <= 6:
        return "*" * len(text)
    head, tail = min(3, len(text) // 3), min(2, len(text) // 5)
    return f"{text[:head]}{'*' * min(len(text) - head - tail, 8)}{text[-tail:]}"


def masked_contact(kind: str, text: str | None, country: str | None) -> str | None:
    """As :func:`masked`, a phone as people are used to see theirs: of a Chinese mobile ``138****1234``."""
    number = phone_of(text, country) if kind == "phone" else None
    if number is None or number.country != _CHINA or not _CHINESE_MOBILE.fullmatch(number.national):
        return masked(text)
    return f"{number.national[:3]}****{number.national[-4:]}"
