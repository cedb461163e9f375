"""How text becomes values, as SQL expressions: times, amounts of money, numbers, yes and no, ids.

Every function takes the name of a text column (trimmed, null where it is blank) and gives an expression that is null
where the text has no such form. Steps in between are named through :class:`Steps`, so that nothing is computed twice.
DuckDB evaluates them over whole columns. Most of them exist twice: quick, for the forms that most files are written in,
and ``thorough``, for all forms; a statement of quick ones is planned and run several times faster.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from features.block_shape import LONGEST
from schemas.quarantine import literal, one_of

_UNSEEN = "\u00ad\u061c\u180e\u2028\u2029\u202f\u205f" + "".join(
    chr(c) for c in [*range(0x2000, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)]
)
WHITE = f" \t\r\n\x0b\x0c\x85\u00a0\u3000\ufeff{_UNSEEN}"
"""Spaces of every kind and marks that nobody sees: what a copied number or id brings along at its ends."""
FULL_WIDTH = "".join(chr(c) for c in range(0xFF01, 0xFF5F)) + "\u3000\uffe5"
HALF_WIDTH = "".join(chr(c) for c in range(0x21, 0x7F)) + " \u00a5"
TO_HALF_WIDTH = str.maketrans(FULL_WIDTH, HALF_WIDTH)
ABSENT_TEXT = ("", r"\N", "NULL", "null")
ABSENT_VALUES = ("", r"\n", "null", "none", "nan", "nat", "-", "--", "n/a", "#n/a")
ABSENT_TIMES = (*ABSENT_VALUES, "0", "0000-00-00", "0000-00-00 00:00:00", "0000-00-00t00:00:00")
YES = ("true", "t", "yes", "y", "1", "是", "真", "有", "已", "on")
NO = ("false", "f", "no", "n", "0", "否", "假", "无", "未", "off")

SYMBOLS: dict[str, tuple[str, ...]] = {
    "CNY": ("¥", "￥", "rmb", "cny", "元", "圆", "块", "人民币"),
    "JPY": ("¥", "￥", "jpy", "円"),
    "USD": ("$", "us$", "usd"),
    "EUR": ("€", "eur"),
    "GBP": ("£", "gbp"),
    "HKD": ("$", "hk$", "hkd"),
    "TWD": ("$", "nt$", "twd", "元"),
}

FAST_TIMES = (
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y-%m-%d %H:%M:%S.%f",
)
FAST_ZONED = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S.%f%z")
_DATE = r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?"
_HALF = r"(上午|下午|凌晨|早上|中午|晚上|[AaPp][Mm])?"
_CLOCK = r"(\d{1,2})\s*[:时點点]\s*(?:(\d{1,2})\s*[:分]?\s*(?:(\d{1,2})\s*秒?(?:[.,](\d{1,9}))?)?)?"
_ZONE = r"([Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
TIME_PATTERN = rf"^{_DATE}(?:[\sTt]*(?:星期.|周.)?\s*{_HALF}\s*{_CLOCK}\s*{_HALF}\s*{_ZONE})?$"
TIME_PARTS = ("y", "mo", "d", "half", "h", "mi", "s", "f", "half2", "z")
OFFSET = r"([+-])(\d{2})(?::?(\d{2}))?$"
"""What a stamp with a zone ends in."""
EXCEL_DAY_ZERO = {"excel_serial": "1899-12-30", "excel_serial_1904": "1904-01-01"}
EXCEL_NUMBER = r"\d{1,6}([.,]\d{0,15})?"
EPOCHS = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000, "epoch_microseconds": 1}
"""Microseconds of what each form counts since 1970."""
_CLOCK_PARTS = re.compile(r"%-?[HIMSfpcXTz]")
EARLIEST, LATEST = "1900-01-01", "2200-01-01"
"""Times outside are mistakes (a year of two digits, milliseconds read as seconds), not dates."""


class Projection:
    """An SQL projection in steps: each named expression may use the names given before it."""

    def __init__(self) -> None:
        self._level: dict[str, int] = {}
        self._steps: list[list[str]] = []
        self._named: dict[str, str] = {}

    def let(self, expression: str, *uses: str) -> str:
        """Name ``expression``; ``uses`` are the names in it that came from here. The same expression has one name."""
        if expression not in self._named:
            self._named[expression] = self._add(expression, *uses)
        return self._named[expression]

    def _add(self, expression: str, *uses: str) -> str:
        level = max((self._level.get(u, 0) for u in uses), default=0)
        name = f"v{len(self._level)}"
        self._level[name] = level + 1
        while len(self._steps) <= level:
            self._steps.append([])
        self._steps[level].append(f"{expression} as {name}")
        return name

    def over(self, base: str) -> str:
        """The statement that adds every step to the rows of ``base``."""
        for step in self._steps:
            base = f"select *, {', '.join(step)} from ({base})"
        return base


def once(expression: str, name: str, result: str) -> str:
    """``result`` with ``name`` standing for ``expression``: for slow paths, where a step would be made for every row."""
    return f"list_transform([{expression}], lambda {name}: {result})[1]"


def half_width(text: str) -> str:
    """Full-width digits, letters and signs as their plain forms."""
    return f"translate({text}, {literal(FULL_WIDTH)}, {literal(HALF_WIDTH)})"


def trimmed(text: str, white: str = WHITE) -> str:
    return f"trim({text}, {literal(white)})"


FEW_WORDS = 6
"""Up to which each word is compared by itself: a search in all of them at once costs as much."""


def present(text: str, absent: Sequence[str], *, fold: bool = True, among: Collection[int] | None = None) -> str:
    """``text``, or null where it is one of ``absent`` (compared in lower case if ``fold``).

    ``among`` are the lengths in bytes that occur, of those up to ``LONGEST``; words of other lengths are not looked for.
    """
    words = list(dict.fromkeys(a.lower() if fold else a for a in absent))
    if among is not None:
        words = [w for w in words if len(w.encode()) > LONGEST or len(w.encode()) in among]
    if not words:
        return text
    longest = max(len(w.encode()) for w in words)
    found = one_of(f"lower({text})" if fold else text, words)
    if len(words) <= FEW_WORDS and not fold:
        found = f"({' or '.join(f'{text} = {literal(w)}' for w in words)})"
    return f"case when strlen({text}) <= {longest} and {found} then null else {text} end"


_PLAIN_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def _marks(symbols: Sequence[str]) -> list[str]:
    """Currency symbols as parts of a pattern, the longest first."""
    return sorted((s.replace("$", r"\$") for s in symbols), key=len, reverse=True)


def number(text: str, symbols: Sequence[str] = (), *, thorough: bool) -> str:
    """DECIMAL(28,9): plain; thorough also with thousands separators, with 万, with one of ``symbols`` at an end."""
    # A cast alone would take underscores too.
    plain = f"when regexp_full_match({text}, {literal(_PLAIN_NUMBER)}) then try_cast({text} as decimal(28,9))"
    if not thorough:
        return f"case {plain} end"
    mark = f"(?:{'|'.join(_marks(symbols))})?" if symbols else ""
    pattern = rf"^(?i)([+-]?)\s*{mark}\s*([+-]?)\s*(\d{{1,3}}(?:,\d{{3}})+|\d+)?(\.\d*)?\s*(万)?\s*{mark}$"
    parts = f"regexp_extract({text}, {literal(pattern)}, ['sign', 'sign2', 'whole', 'rest', 'wan'])"
    amount = "try_cast(p.sign || p.sign2 || replace(p.whole, ',', '') || p.rest as decimal(28,9))"
    scaled = f"try_cast(try({amount} * case when p.wan = '' then 1 else 10000 end) as decimal(28,9))"
    marked = once(parts, "p", f"case when strlen(p.sign) + strlen(p.sign2) < 2 then {scaled} end")
    return f"case {plain} when {text} is not null then {marked} end"


def with_point(text: str) -> str:
    """A number with a decimal comma (1.234,56 or 1 234,5) as one with a point and no marks between; null for no such."""
    grouped = r"\d{1,3}(?:[. '\x{a0}\x{202f}]\d{3})+"
    pattern = rf"[^0-9.,]*(?:{grouped}|\d*)(?:,\d*)?(?:[eE][+-]?\d{{1,3}}|[^0-9.,]*)"
    marks = literal(r"[. '\x{a0}\x{202f}]")
    bare = f"regexp_replace({text}, {marks}, '', 'g')"
    return f"case when regexp_full_match({text}, {literal(pattern)}) then replace({bare}, ',', '.') end"


def integer(text: str, kind: str = "bigint", symbols: Sequence[str] = (), *, thorough: bool) -> str:
    """A whole number from text; null where it has a fraction or does not fit."""
    plain = f"when strlen({text}) < 19 and regexp_full_match({text}, '-?\\d+') then try_cast({text} as {kind})"
    if not thorough:
        return f"case {plain} end"
    other = once(number(text, symbols, thorough=True), "n", whole("n", kind))
    return f"case {plain} when {text} is not null then {other} end"


def money_sql(text: str, digits: int, symbols: Sequence[str], *, thorough: bool) -> str:
    """Minor units from text in major units, rounded once, halves away from zero."""
    # A product of at most 18 digits stays in 64 bits, which is several times faster than DECIMAL(28,9).
    quick = f"round({text}::decimal(14,4) * {10**digits}::decimal({digits + 1},0), 0)::bigint"
    plain = f"when regexp_full_match({text}, '-?\\d{{1,10}}(\\.\\d{{1,4}})?') then {quick}"
    if not thorough:
        # Matching without groups is an order of magnitude faster than taking the parts out.
        mark = f"({'|'.join(_marks(symbols))})?" if symbols else ""
        marked = rf"(?i){mark}-?(\d{{1,10}}|\d{{1,3}}(,\d{{3}}){{1,2}})(\.\d{{1,4}})?{mark}"
        signs = "".join(dict.fromkeys("," + "".join(s + s.upper() for s in symbols)))
        bare = quick.replace(text, f"translate({text}, {literal(signs)}, '')")
        return f"case {plain} when regexp_full_match({text}, {literal(marked)}) then {bare} end"
    other = once(number(text, symbols, thorough=True), "n", minor_units_sql("n", digits))
    return f"case {plain} when {text} is not null then {other} end"


def whole(value: str, kind: str = "bigint") -> str:
    """An integer from a decimal; null where the decimal has a fraction or does not fit."""
    return f"case when {value} = trunc({value}) then try_cast({value} as {kind}) end"


def minor_units_sql(value: str, digits: int) -> str:
    """Minor units from a decimal in major units, rounded once, halves away from zero."""
    return f"try_cast(try(round({value} * {10**digits}, 0)) as bigint)"


def yes_or_no(text: str) -> str:
    return f"case when {one_of(f'lower({text})', YES)} then true when {one_of(f'lower({text})', NO)} then false end"


def format_of(sample: str) -> str | None:
    """The quick format that reads a value, if one does."""
    for form in (*FAST_TIMES, *FAST_ZONED):
        try:
            datetime.strptime(sample, form)
        except ValueError:
            continue
        return form
    return None


def local_and_zoned(
    steps: Projection, text: str, forms: Sequence[str], *, thorough: bool, likely: str | None = None
) -> tuple[str, str]:
    """Two names: the local stamp (TIMESTAMP without zone), and microseconds UTC where the text names its zone.

    At most one of them is not null. ``auto`` reads what Chinese shops, spreadsheets and ISO 8601 write, and epochs of
    10 (seconds) or 13 (milliseconds) digits; never day-month orders, which are ambiguous: those need a format.
    ``likely`` is the quick format to try first.
    """
    local, zoned = [], []
    # DuckDB reads these words as times whatever the format says.
    words = one_of(f"lower({text})", ("epoch", "infinity", "-infinity", "+infinity"))
    text = steps.let(f"case when strlen({text}) <= 9 and {words} then '?' else {text} end", text)
    for form in forms or ("auto",):
        if form == "auto":
            here, there = _auto(steps, text, thorough=thorough, likely=likely)
            local.append(here)
            zoned += there
        elif form in EPOCHS:
            zoned.append(_epoch(text, EPOCHS[form], r"-?\d+(\.\d*)?"))
        elif form in EXCEL_DAY_ZERO:
            local.append(_excel_stamp(text, EXCEL_DAY_ZERO[form]))
        elif "%z" in form:
            zoned.append(f"epoch_us(try_strptime({text}, {literal(form)}))")
        else:
            local.append(f"try_strptime({text}, {literal(form)})")
    n = steps.let(f"coalesce({', '.join(local)})" if local else "null::timestamp", text, *local)
    z = steps.let(f"coalesce({', '.join(zoned)})" if zoned else "null::bigint", text, *zoned)
    return (
        steps.let(f"case when {n} >= timestamp '{EARLIEST}' and {n} < timestamp '{LATEST}' then {n} end", n),
        steps.let(f"case when {n} is null and {z} >= {_us(EARLIEST)} and {z} < {_us(LATEST)} then {z} end", n, z),
    )


def is_date_alone(local: str, text: str, forms: Sequence[str]) -> str:
    """BOOLEAN: the ``local`` stamp that ``forms`` read from a text is a date, and no time of day was written.

    A format says itself whether it has a clock; a day that a spreadsheet counts has one, for its midnight is written
    without a fraction; only of ``auto`` does the text tell.
    """
    if all(_has_clock(f) for f in forms or ("auto",)):
        return "false"
    said = [(_reads(text, f), "false" if _has_clock(f) else "true") for f in forms if f != "auto"]
    cases = " ".join(f"when {reads} then {alone}" for reads, alone in said)
    written = f"not regexp_matches({text}, '[:时時點点]|[0-9]{{12}}')"
    return f"({local} = date_trunc('day', {local}) and {f'case {cases} else {written} end' if cases else written})"


def _has_clock(form: str) -> bool:
    # What names its zone gives no local stamp at all.
    return form != "auto" and ("%" not in form or bool(_CLOCK_PARTS.search(form.replace("%%", ""))))


def _reads(text: str, form: str) -> str:
    if form in EXCEL_DAY_ZERO:
        return f"regexp_full_match({text}, {literal(EXCEL_NUMBER)})"
    return "false" if form in EPOCHS else f"try_strptime({text}, {literal(form)}) is not null"


def calendar_date(
    steps: Projection, text: str, forms: Sequence[str], *, thorough: bool, likely: str | None = None
) -> str:
    """DATE; a year or a month alone stand for their first day. A stamp with a zone keeps the day that it writes."""
    local, zoned = local_and_zoned(steps, text, forms, thorough=thorough, likely=likely)
    found = [f"({local})::date", f"case when {zoned} is not null then {_day_written(text, zoned)} end"]
    if thorough and (not forms or "auto" in forms):
        pattern = r"^(\d{4})\s*(?:[-/.年]\s*(\d{1,2})?\s*月?)?$"
        parts = f"regexp_extract({text}, {literal(pattern)}, ['y', 'mo'])"
        month = "case when p.mo = '' then '01' else lpad(p.mo, 2, '0') end"
        known = f"p.y between '{EARLIEST[:4]}' and '{LATEST[:4]}'"
        short = once(parts, "p", f"case when {known} then try_cast(p.y || '-' || {month} || '-01' as date) end")
        found.append(f"case when strlen({text}) < 14 then {short} end")
    return steps.let(f"coalesce({', '.join(found)})", local, zoned)


def _day_written(text: str, zoned: str) -> str:
    """The instant's day in the zone that the text ends in; in UTC where it ends in none, as epochs do."""
    minutes = "coalesce(try_cast(o.h as integer), 0) * 60 + coalesce(try_cast(o.m as integer), 0)"
    shift = f"(case when o.s = '-' then -1 else 1 end) * ({minutes})"
    offset = f"regexp_extract({text}, {literal(OFFSET)}, ['s', 'h', 'm'])"
    return once(offset, "o", f"make_timestamp({zoned} + ({shift})::bigint * 60000000)::date")


def _us(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000


def _epoch(text: str, factor: int, shape: str) -> str:
    quick = f"try_cast(try(try_cast({text} as bigint) * {factor}) as bigint)"
    exact = f"try_cast(try(try_cast({text} as decimal(22,6)) * {factor}) as bigint)"
    return (
        f"case when regexp_full_match({text}, '-?\\d{{1,18}}') and regexp_full_match({text}, {literal(shape)}) then {quick} "
        f"when regexp_full_match({text}, {literal(shape)}) then {exact} end"
    )


def _excel_stamp(text: str, day_zero: str) -> str:
    """TIMESTAMP of a number of days and its fraction, to the second: a spreadsheet's sheet holds no more.

    Below 61 Excel itself counts a day that never was (1900-02-29); such numbers are no dates but something else.
    """
    days = f"try_cast(replace({text}, ',', '.') as double)"
    seconds = f"round(({days} - {days_before_1970(day_zero)}) * 86400)::bigint"
    fits = f"regexp_full_match({text}, {literal(EXCEL_NUMBER)}) and {days} >= 61"
    return f"case when {fits} then make_timestamp({seconds} * 1000000) end"


def days_before_1970(day: str) -> int:
    return -_us(day) // 86_400_000_000


def _auto(steps: Projection, text: str, *, thorough: bool, likely: str | None) -> tuple[str, list[str]]:
    given, first = text, "null::bigint"
    if likely in FAST_ZONED:
        first = steps.let(f"epoch_us(try_strptime({text}, {literal(likely or '')}))", text)
        given = steps.let(f"case when {first} is null then {text} end", first, text)
    order = [likely, *FAST_TIMES] if likely in FAST_TIMES else FAST_TIMES
    tried = ", ".join(literal(f) for f in dict.fromkeys(order) if f)
    fast = steps.let(f"case when {given} is not null then try_strptime({given}, [{tried}]) end", given)
    left = steps.let(f"case when {fast} is null then {given} end", given, fast)
    zones = f"epoch_us(try_strptime({left}, [{', '.join(literal(f) for f in FAST_ZONED)}]))"
    zoned = steps.let(f"coalesce({first}, case when {left} is not null then {zones} end)", left, first)
    if not thorough:
        return fast, [zoned]
    rest = steps.let(f"case when {zoned} is null then {left} end", zoned, left)
    names = ", ".join(literal(n) for n in TIME_PARTS)
    p = steps.let(
        f"case when {rest} is not null then regexp_extract({rest}, {literal(TIME_PATTERN)}, [{names}]) end", rest
    )
    at = steps.let(_stamp(p), p)
    compact = (
        f"case when regexp_full_match({rest}, '\\d{{8}}|\\d{{12}}|\\d{{14}}') then case strlen({rest}) "
        f"when 8 then try_strptime({rest}, '%Y%m%d') when 12 then try_strptime({rest}, '%Y%m%d%H%M') "
        f"else try_strptime({rest}, '%Y%m%d%H%M%S') end end"
    )
    local = steps.let(f"coalesce({fast}, {compact}, case when {p}.z = '' then {at} end)", fast, rest, p, at)
    minutes = (
        f"case when upper({p}.z) = 'Z' or upper({p}.z) = 'UTC' or upper({p}.z) = 'GMT' then 0 else "
        f"(case when left({p}.z, 1) = '-' then -1 else 1 end) * (substr({p}.z, 2, 2)::int * 60 + "
        f"case when strlen({p}.z) > 3 then right({p}.z, 2)::int else 0 end) end"
    )
    named = f"case when {p}.z <> '' then epoch_us({at}) - ({minutes})::bigint * 60000000 end"
    epochs = [_epoch(rest, factor, digits) for factor, digits in ((1_000_000, r"\d{10}"), (1_000, r"\d{13}"))]
    other = f"case when {local} is null then coalesce({', '.join([*epochs, named])}) end"
    return local, [steps.let(f"coalesce({zoned}, {other})", rest, local, zoned, p, at)]


def _stamp(p: str) -> str:
    """TIMESTAMP of the struct of time parts ``p``; a missing clock is midnight."""
    half = f"lower({p}.half || {p}.half2)"
    hour = (
        f"case when {p}.h = '' then 0 when ({half} = '下午' or {half} = '晚上' or {half} = 'pm') and {p}.h::int < 12 then {p}.h::int + 12 "
        f"when {half} = '中午' and {p}.h::int < 6 then {p}.h::int + 12 "
        f"when ({half} = '上午' or {half} = '凌晨' or {half} = 'am') and {p}.h::int = 12 then 0 else {p}.h::int end"
    )
    pieces = [f"{p}.y || '-'", f"lpad({p}.mo, 2, '0') || '-'", f"lpad({p}.d, 2, '0') || ' '"]
    pieces += [f"lpad(({hour})::varchar, 2, '0') || ':'", f"lpad({p}.mi, 2, '0') || ':'", f"lpad({p}.s, 2, '0')"]
    fraction = f"case when {p}.f = '' then '' else '.' || left({p}.f, 6) end"
    return f"case when {p}.y <> '' then try_cast({' || '.join(pieces)} || {fraction} as timestamp) end"
