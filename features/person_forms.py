"""How text becomes ids, phones and addresses of e-mail, as SQL expressions; and of which form a text is that is none.

Every function takes the name of a text column (trimmed, null where it is blank), as those of ``features.text_forms``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from features.text_forms import Projection, once, present, trimmed
from schemas.quarantine import literal

NO_PHONE = {
    "masked": "masked",
    "scientific": "shortened by a spreadsheet, digits are lost",
    "two_numbers": "two numbers in one cell",
    "extension": "with an extension",
    "letters": "with letters",
    "no_digits": "without a digit",
    "too_short": "too short",
    "too_long": "too long",
}
NO_EMAIL = {"no_at": "without @"}
FORMS: dict[str, dict[str, str]] = {"phone": NO_PHONE, "email": NO_EMAIL}
"""For each field that has a form of its own: what its texts can be instead, and how that is said."""

_FORMULA = "=+@＝﹦⁼₌⩵⩶＋﹢⁺₊﬩＠﹫－﹣-"
"""What makes a cell a formula, in every width (``audiences.delivery`` marks such cells)."""
_INVISIBLE = r"\p{Cc}\p{Cf}\p{Z}"
_NUMBER = r"(?:[\p{Nd}\p{No}]{12,}|[0０][\p{Nd}\p{No}]+|\p{Nd}+(?:[.．]\p{Nd}*)?[eEｅＥ][+＋-]?\p{Nd}+)"
MARKED = rf"^'(?:['\t\r\n]|[{_INVISIBLE}]*[{_FORMULA}]|[{_INVISIBLE}]*{_NUMBER}[{_INVISIBLE}]*$|-?\d{{16,}}$)"
"""A text with the apostrophe in front that keeps a spreadsheet from running or changing it."""

_SIGN = r"[^\p{L}\p{M}\p{N}+]"
"""A character that is no part of a number: spaces, dashes, brackets, directional marks, quotes."""
_CHINA = r"(?:\+|00)?86"
_PARTED = r"[/,;、|，；\n\r&]|或|和"
_NAMED = rf"^{_SIGN}*(?i:tel|phone|mobile|手机号?码?|电话){_SIGN}*"
_MASKED = r"\*|[•●✱xX#?]{2,}|…|\.{2,}"
_SCIENTIFIC = r"[+-]?\d+(?:[.,]\d+)?\s*[eE]\s*\+?\d+"
_EXTENSION = (
    rf"(?i)(?:\d\s*(?:分机|内线|转|轉|ext(?:ension)?|x|#){_SIGN}*\d+$)"
    rf"|^(?:{_CHINA})?{_SIGN}*1\d{{2}}{_SIGN}?\d{{4}}{_SIGN}?\d{{4}}{_SIGN}+\d{{1,6}}$"
    rf"|^0\d{{2,3}}{_SIGN}\d{{7,8}}{_SIGN}+\d{{1,6}}$"
)
_GROUPED = r"\d{1,3}(,\d{3}){3}"
_WANTED = r"\+?\d{5,15}"
_ZERO_FRACTION = r"^([^.]*\d)\.00?$"
_ONE_FORM = (
    (rf"^(?:{_CHINA})+0?(1\d{{10}})$", r"\1"),
    (r"^(?:\+|00)86([2-9]\d{9,10}|10\d{8})$", r"0\1"),
    (r"^00([1-9]\d{6,14})$", r"+\1"),
    (r"^0(1[3-9]\d{9})$", r"\1"),
)
"""One number, one text: a mobile of China without any prefix, its landlines with 0, other countries with +."""
_TWICE = rf"^(?:{_CHINA})?1\d{{10}}(?:{_CHINA})?1\d{{10}}$|\d\+"


def as_typed_in(text: str, *, is_id: bool) -> str:
    """Text without what keeps it text in a spreadsheet: ``="123"``, and an apostrophe in front.

    Of an id every apostrophe before a digit goes, of other text only one that a spreadsheet needs: '80s stays.
    """
    marked = f"regexp_matches({text}, {literal(MARKED)})"
    if is_id:
        marked = f"({text}[2:2] between '0' and '9' or {marked})"
    quoted = f"starts_with({text}, '=\"') and suffix({text}, '\"')"
    return (
        f"case when {quoted} then {trimmed(f'{text}[3:-2]')} "
        f"when starts_with({text}, '''') and {marked} then {trimmed(f'{text}[2:]')} else {text} end"
    )


def person_id(
    steps: Projection,
    text: str,
    name: str,
    guests: Sequence[str],
    among: Collection[int] | None = None,
    dots: bool = True,
) -> tuple[str, str | None]:
    """An id that tells persons apart, null where it is on the guest list; and what form a text is of that is none.

    ``17850.0`` is what a spreadsheet or data frame makes of 17850. Phones and addresses of e-mail become one form each;
    a text that is none is absent, and the second name says of which form it is (null where all is well). ``among`` and
    ``dots``: the lengths that occur, and whether a point does, as in ``features.block_shape``.
    """
    same = text
    if dots:
        among = None
        same = steps.let(
            f"case when suffix({text}, '.0') and regexp_full_match({text}, '\\d+\\.0') then {text}[:-3] else {text} end",
            text,
        )
    same = steps.let(present(same, ("", *guests), among=among), same)
    if name == "phone":
        return _phone(steps, same, guests)
    if name == "email":
        found = steps.let(f"case when contains({same}, '@') then lower({same}) end", same)
        return found, steps.let(f"case when {found} is null and {same} is not null then 'no_at' end", found, same)
    return same, None


def _phone(steps: Projection, text: str, guests: Sequence[str]) -> tuple[str, str]:
    """Most numbers are plain or nearly so; only the others go the long way."""
    near = f"regexp_replace(regexp_replace({text}, '[ ()-]', '', 'g'), '^(?:\\+?86|0086)(1\\d{{10}})$', '\\1')"
    plain = steps.let(f"case when regexp_full_match({text}, '1\\d{{10}}') then {text} else {near} end", text)
    odd = steps.let(f"case when not regexp_full_match({plain}, '1\\d{{10}}') then {text} end", plain, text)
    # A mask or a lost digit would leave another person's number, an extension a number that many share.
    spoiled = steps.let(
        f"case when {odd} is null then null when {_full(odd, _SCIENTIFIC)} then 'scientific' "
        f"when {_has(odd, _MASKED)} then 'masked' "
        f"when {_has(_whole(odd), _EXTENSION)} then 'extension' end",
        odd,
    )
    grouped = f"case when {_full(odd, _GROUPED)} then replace({odd}, ',', '') else {odd} end"
    parts = f"regexp_split_to_array({grouped}, {literal(_PARTED)})"
    each = f"list_distinct(list_filter(list_transform({parts}, lambda p: {_digits('p')}), lambda d: d <> ''))"
    numbers = steps.let(f"case when {odd} is not null and {spoiled} is null then {each} end", odd, spoiled)
    one = f"case when len({numbers}) = 1 and {_full(f'{numbers}[1]', _WANTED)} then {numbers}[1] end"
    found = steps.let(f"case when {odd} is null then {plain} else {one} end", odd, plain, numbers)
    joined = f"array_to_string({numbers}, '')"
    kind = (
        f"case when not regexp_matches(d, '\\d') then 'no_digits' "
        f"when len({numbers}) > 1 or {_has('d', _TWICE)} then 'two_numbers' "
        f"when regexp_matches(d, '[^\\d+]') then 'letters' "
        f"when strlen(replace(d, '+', '')) < 5 then 'too_short' else 'too_long' end"
    )
    named = f"coalesce({spoiled}, {once(joined, 'd', kind)})"
    form = steps.let(f"case when {odd} is not null and {found} is null then {named} end", odd, found, spoiled, numbers)
    return steps.let(present(found, ("", *guests)), found), form


def _whole(text: str) -> str:
    """The number as it is written, without its name in front and the fraction that a data frame gives it."""
    unnamed = f"regexp_replace({text}, {literal(_NAMED)}, '')"
    return f"regexp_replace({unnamed}, {literal(_ZERO_FRACTION)}, '\\1')"


def _digits(text: str) -> str:
    """Digits and a plus of one number, in the one form of it; letters stay, so that they are seen."""
    found = f"regexp_replace({_whole(text)}, {literal(_SIGN)}, '', 'g')"
    for pattern, form in _ONE_FORM:
        found = f"regexp_replace({found}, {literal(pattern)}, {literal(form)})"
    return found


def _has(text: str, pattern: str) -> str:
    return f"regexp_matches({text}, {literal(pattern)})"


def _full(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {literal(pattern)})"


def salted_hash(text: str, salt: str) -> str:
    """SHA-256 of the salt and the text without case, spaces and Chinese commas and stops; null where it is null."""
    same = f"regexp_replace(lower({text}), '[\\s,\uff0c\u3002\u3001\uff1b]', '', 'g')"
    return f"sha256({literal(salt)} || ':' || {same})"


def is_shortened(text: str) -> str:
    """Is this a long number that a spreadsheet has shortened (1.23457E+17)? Many ids have become one then."""
    return f"contains(upper({text}), 'E+') and regexp_full_match({text}, '\\d(\\.\\d+)?[eE]\\+\\d{{1,3}}')"
