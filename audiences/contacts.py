"""Contacts as platforms want them: normalised, then in clear or hashed (SHA-256 or MD5, small hexadecimal letters)."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from typing import Literal

import phonenumbers

PhoneForm = Literal["e164", "digits", "national"]
_CHINESE_MOBILE = re.compile(r"1[3-9]\d{9}", re.ASCII)
_CHINA = 86
_EMAIL = re.compile(r"[^\s@,;<>()\[\]\\\"]{1,64}@(?:[\w-]+\.)+[\w-]{2,}")


def normalised_phone(text: str | None, region: str = "CN", form: PhoneForm = "e164") -> str | None:
    """The number in the wanted form; None for what is no valid number, or has an extension.

    ``region`` is the country of numbers without a country code. Full-width digits, spaces and dashes are understood.
    A Chinese number of the form of a mobile is taken as valid: ranges are opened faster than lists of them are updated.
    """
    if text is None:
        return None
    plain = unicodedata.normalize("NFKC", text).strip()
    if region == "CN" and _CHINESE_MOBILE.fullmatch(plain):
        # The library would give the same; parsing costs 60 times as much and there are millions.
        return {"e164": f"+86{plain}", "digits": f"86{plain}", "national": plain}[form]
    return _parsed_phone(plain, region, form)


@lru_cache(maxsize=65_536)
def _parsed_phone(plain: str, region: str, form: PhoneForm) -> str | None:
    try:
        number = phonenumbers.parse(plain, region)
    except phonenumbers.NumberParseException:
        return None
    national = str(phonenumbers.national_significant_number(number))
    mobile = number.country_code == _CHINA and _CHINESE_MOBILE.fullmatch(national)
    if number.extension or not (mobile or phonenumbers.is_valid_number(number)):
        return None
    if form == "national":
        return national
    e164 = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return e164 if form == "e164" else e164.removeprefix("+")


def normalised_email(text: str | None) -> str | None:
    """Trimmed and in small letters; None for what is no address. Dots and ``+tags`` stay: they are others' mail."""
    if text is None:
        return None
    plain = unicodedata.normalize("NFKC", text).strip().lower()
    return plain if len(plain) <= 254 and _EMAIL.fullmatch(plain) else None


def hashed(text: str | None, how: str) -> str | None:
    """``text`` in clear, or its digest in hexadecimal."""
    if text is None or how == "clear":
        return text
    if how == "sha256":
        return hashlib.sha256(text.encode()).hexdigest()
    if how == "md5":
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    raise ValueError(f"no such hash {how!r}; known are clear, sha256, md5")


def shaped(kind: str, text: str | None, region: str = "CN", form: PhoneForm = "e164") -> str | None:
    """One contact or identifier in clear, normalised by its kind; None where there is nothing to deliver to."""
    if kind == "phone":
        return normalised_phone(text, region, form)
    if kind == "email":
        return normalised_email(text)
    return (text or "").strip() or None


def contact(kind: str, text: str | None, how: str, region: str = "CN", form: PhoneForm = "e164") -> str | None:
    """As :func:`shaped`, then in clear or hashed."""
    return hashed(shaped(kind, text, region, form), how)


Withheld = Literal["refused", "repeated"]


def leave_once(contacts: Iterable[str | None], refused: Container[str]) -> Iterator[tuple[str | None, Withheld | None]]:
    """Each contact in turn, or None and why: somebody refused it, or it stood in an earlier row."""
    seen: set[str] = set()
    for text in contacts:
        if text is None:
            yield None, None
        elif text in refused:
            yield None, "refused"
        elif text in seen:
            yield None, "repeated"
        else:
            seen.add(text)
            yield text, None


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
