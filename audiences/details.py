"""Names and addresses as advertising systems compare them, beside a contact: normalised, never guessed.

None of them reaches a person by itself, and they are hashed or not as the platform's column says.
"""

from __future__ import annotations

import re
import string
import unicodedata

NAMES = ("plain", "letters", "untitled")
DETAIL_SHAPES: dict[str, tuple[str, ...]] = {
    "given_name": NAMES,
    "family_name": NAMES,
    "city": ("plain", "letters"),
    "province": ("plain", "letters"),
    "postal_code": ("plain", "first_part", "joined"),
    "country": ("code",),
}
"""Fields of a member record that a platform may be sent beside a contact, and how each may be written."""
NO_DETAIL = {
    "given_name": "no name",
    "family_name": "no name",
    "city": "no place",
    "province": "no place",
    "postal_code": "no postal code",
    "country": "no country of two letters",
}
COUNTRIES = {
    "中国": "cn",
    "中国大陆": "cn",
    "中国香港": "hk",
    "中国澳门": "mo",
    "中国台湾": "tw",
    "日本": "jp",
    "韩国": "kr",
    "新加坡": "sg",
    "马来西亚": "my",
    "泰国": "th",
    "越南": "vn",
    "美国": "us",
    "加拿大": "ca",
    "英国": "gb",
    "澳大利亚": "au",
    "新西兰": "nz",
}
"""Chinese names of countries by their codes; a feed maps others (``values:``)."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_TITLES = ("mr", "mrs", "ms", "miss", "dr", "prof")
_SUFFIXES = ("jr", "sr", "ii", "iii", "iv", "phd", "md")
_CODE = re.compile("[a-z]{2}")
_POSTAL = re.compile(r"[a-z0-9][a-z0-9 -]{1,11}", re.IGNORECASE)


def shaped_detail(kind: str, text: str, shape: str | None) -> str | None:
    """The field as a platform compares it; None where nothing of it is left.

    Names ``letters``: small, without ASCII punctuation, other alphabets and spaces kept (Meta); ``untitled``: small,
    without Mrs. and Jr. (Google). Places ``letters``: small letters of any alphabet only. A postal code ``first_part`` is
    small, without spaces, up to a dash (Meta's own library: 94035-1234 is 94035), ``joined`` without dashes, too
    (940351234); ``plain`` is as written. A country is its code of two small letters: "USA" is none.
    """
    shape = shape or DETAIL_SHAPES[kind][0]
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    if kind == "country":
        code = COUNTRIES.get(plain, plain.lower())
        return code if _CODE.fullmatch(code) else None
    if kind == "postal_code":
        if not _POSTAL.fullmatch(plain):
            return None
        if shape == "plain":
            return plain
        small = plain.replace(" ", "").lower()
        return (small.partition("-")[0] if shape == "first_part" else small.replace("-", "")) or None
    if shape == "untitled":
        words = plain.lower().split(" ")
        while len(words) > 1 and words[0].rstrip(".") in _TITLES:
            words = words[1:]
        while len(words) > 1 and words[-1].rstrip(".") in _SUFFIXES:
            words = words[:-1]
        plain = " ".join(words).rstrip(",")
    elif shape == "letters" and kind in ("city", "province"):
        plain = "".join(c for c in plain.lower() if c.isalpha())
    elif shape == "letters":
        plain = plain.lower().translate(_PUNCTUATION).strip()
    return plain if any(c.isalpha() for c in plain) else None
