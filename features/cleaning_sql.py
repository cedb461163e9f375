"""What a mapping and a contract say of one shape of block, as SQL: times, typed rows, and why a row is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from features import person_forms
from features import text_forms as forms
from features.block_shape import Shape
from features.cleaning_texts import SEPARATOR, Texts, is_id, raw_json, unmapped
from features.sources import Mapping
from schemas.contracts import Column
from schemas.money import minor_digits
from schemas.quarantine import PERSON_MISSING, literal, quoted, refusals

MOST_SHOWN = 60
_SQL_INTEGERS = {"int32": "integer", "int64": "bigint"}


@dataclass(frozen=True)
class Statements:
    """Over ``block``: its times, and its typed rows; with ``reasons`` of rows that are refused where it is thorough."""

    times: str
    typed: str


@dataclass(frozen=True)
class _Parsed:
    """One field as SQL: the typed value, whether text was there but could not be read, and what to say then.

    ``form`` names what a text is that is absent because it is no phone or address.
    """

    field: str
    flag: str
    value: str
    failed: str
    wanted: str
    shown: str
    origin: str
    personal: bool
    hint: str = ""
    form: str | None = None

    @property
    def unread(self) -> str:
        """SQL of the sentence on a text that is no such value, and of what may be meant by it."""
        sentence = self.complaint(f"is no {self.wanted}")
        return f"{sentence} || {self.hint}" if self.hint else sentence

    def complaint(self, what: str) -> str:
        """SQL of one sentence: field, value (masked where personal), what was expected, column."""
        # A line of a reason is one complaint, so that reasons can be counted.
        plain = f"translate(left({self.shown}, {MOST_SHOWN}), chr(10) || chr(13), '  ')"
        shown = f"left({self.shown}, 1) || '***'" if self.personal else plain
        quote = f"case when {self.shown} is null then 'empty' else '''' || {shown} || '''' end"
        return f"{literal(self.field + ': ')} || {quote} || {literal(f' {what}{self.origin}')}"


def form_name(field: str) -> str:
    """The column that says of which form a text of ``field`` is that is absent because it is none."""
    return f"form {field}"


class Composer:
    """The statements of one mapping, one set for every shape of block that comes.

    ``likely`` holds for each time the format that its values have so far: it is tried first.
    """

    def __init__(self, mapping: Mapping, *, currency: str, guest_ids: Sequence[str], salt: str):
        self.mapping, self.contract = mapping, mapping.contract
        self.currency, self.salt = currency, salt
        self.guest_ids = tuple(g.lower() for g in guest_ids)
        self.fields = [c for c in self.contract.feed_columns if c.name in mapping.fields]
        self.likely: dict[str, str] = {}
        self._made: dict[tuple[Shape, bool], Statements] = {}

    @property
    def needs_place(self) -> bool:
        return any(rule.row is not None for rule in self.mapping.fields.values())

    @cached_property
    def stamps(self) -> list[Column]:
        return [c for c in self.fields if c.field.type == "timestamp"]

    def statements(self, shape: Shape, *, thorough: bool) -> Statements:
        if (shape, thorough) not in self._made:
            self._made[shape, thorough] = self._composed(shape, thorough)
        return self._made[shape, thorough]

    def _composed(self, shape: Shape, thorough: bool) -> Statements:
        text = Texts(self.mapping, shape, forms.Projection(), thorough)
        chosen = []
        for n, c in enumerate(self.stamps):
            rule, origin = self.mapping.fields[c.name], text.origin(c)
            likely = self.likely.get(c.name)
            local, zoned = forms.local_and_zoned(text.steps, origin, rule.time, thorough=thorough, likely=likely)
            chosen.append(f"{local} as n{n}, {zoned} as z{n}")
            if rule.time_zone or self.mapping.time_zone:
                chosen.append(f"{forms.is_date_alone(local, origin, rule.time)} as d{n}")
        times = f"select {', '.join(chosen) or 'i'} from ({text.steps.over('select * from block')})"

        text = Texts(self.mapping, shape, forms.Projection(), thorough)
        fields = [self._parsed(c, text) for c in self.fields]
        raw = "raw" if shape.has_raw else raw_json(shape)
        where = text.holds(self.mapping.where)
        parsed = text.steps.over(f"select * from block where {where}")
        values = ", ".join(f"{p.value} as {quoted(p.field)}, {p.failed} as {quoted(p.flag)}" for p in fields)
        unread = "".join(f", {p.form} as {quoted(form_name(p.field))}" for p in fields if p.form)
        formed = "".join(f", {quoted(form_name(p.field))}" for p in fields if p.form)
        judged = self._judgements(fields)
        refused = " or ".join(f"coalesce({condition}, false)" for condition, _ in judged) or "false"
        names = ", ".join(quoted(c.name) for c in self.fields)
        base, reasons = f"i, {raw} as raw", ""
        if thorough:
            said = ", ".join(f"case when {condition} then {sentence} end" for condition, sentence in judged)
            reasons = f", case when {refused} then concat_ws(chr(10), {said or 'null'}) end as reasons"
            base = "*" if shape.has_raw else f"*, {raw} as raw"
        typed = (
            f"select i, raw, {names}, {refused} as refused, {self._hash()} as row_hash{formed}{reasons} "
            f"from (select {base}, {values}{unread} from ({parsed}))"
        )
        return Statements(times, typed)

    def _parsed(self, col: Column, text: Texts) -> _Parsed:
        rule, form = self.mapping.fields[col.name], None
        if rule.is_arithmetic:
            value, failed, shown, wanted = self._sum(col, text)
        else:
            shown = text.origin(col)
            value, wanted, form = self._value(col, shown, text)
            failed = "false" if value == shown else f"({value} is null and {shown} is not null)"
            if rule.values and rule.otherwise is None:
                given = text.column(rule.columns[0], plain=False)
                failed = f"({failed} or ({value} is null and {unmapped(given, rule)}))"
                failed = f"({failed} and {text.holds(rule.when)})" if rule.when else failed
                shown, wanted = given, "value of the map (values)"
        if is_id(col) and form is None and (odd := text.odd(rule)):
            # A guest's id is nobody's, so absent rather than wrong; one that many have become is wrong.
            ids = [text.column(c, plain=False) for c in odd] if rule.join else [shown]
            failed = f"({' or '.join(f'coalesce({person_forms.is_shortened(i)}, false)' for i in ids)})"
            wanted = "whole id: a spreadsheet shortened it; export it as text"
        elif is_id(col):
            failed = "false"
        named = " and ".join(rule.columns)
        return _Parsed(
            field=col.name,
            flag=f"failed {col.name}",
            value=value,
            failed=failed,
            wanted=wanted,
            shown=shown,
            origin=f" (column {named})" if named and named != col.name else "",
            personal=col.field.is_personal,
            hint=self._hint(col, shown),
            form=form,
        )

    def _hint(self, col: Column, shown: str) -> str:
        """For a day that stands as a spreadsheet's number: the form that reads it."""
        if col.field.type not in ("timestamp", "date") or any(
            f in forms.EXCEL_DAY_ZERO for f in self.mapping.fields[col.name].time
        ):
            return ""
        text = "; if these are days as spreadsheets count them, say `time: excel_serial`"
        return rf"case when regexp_full_match({shown}, '[1-9]\d{{4}}([.,]\d+)?') then {literal(text)} else '' end"

    def _value(self, col: Column, t: str, text: Texts) -> tuple[str, str, str | None]:
        """The typed value of the text ``t``, in words what was wanted, and the form of a text that is absent."""
        rule, kind, steps = self.mapping.fields[col.name], col.field.type, text.steps
        if rule.row is not None:
            return t, "id", None
        if rule.join:
            return self._joined(col, text), "id", None
        if kind == "timestamp":
            return f"u{self.stamps.index(col)}", f"time ({' or '.join(rule.time) or 'auto'})", None
        if kind == "date":
            likely = self.likely.get(col.name)
            value = forms.calendar_date(steps, t, rule.time, thorough=text.thorough, likely=likely)
            return value, f"date ({' or '.join(rule.time) or 'auto'})", None
        if kind == "bool":
            return steps.let(forms.yes_or_no(t), t), "yes or no", None
        if kind in ("int32", "int64", "float64"):
            return *self._number(col, t, text), None
        if col.name == "currency":
            value = f"case when upper({t}) = 'RMB' or {t} = '人民币' then 'CNY' else upper({t}) end"
            return steps.let(value, t), "currency", None
        if col.field.personal in ("identifier", "contact"):
            among = text.lengths.get(t)
            dots = among is None or text.shape.columns.index(rule.column or "") in text.shape.dotted
            value, form = person_forms.person_id(steps, t, col.name, self.guest_ids, among, dots)
            return (steps.let(person_forms.salted_hash(value, self.salt), value) if rule.hash else value), "id", form
        return t, "text", None

    def _joined(self, col: Column, text: Texts) -> str:
        """The parts of an id with ``|`` between; one inside a part is escaped, so that two ids never meet in one text."""
        parts = text.parts(self.mapping.fields[col.name])
        if col.field.personal in ("identifier", "contact"):
            parts = [person_forms.person_id(text.steps, p, col.name, self.guest_ids)[0] for p in parts]
        escaped = [rf"replace(replace({p}, '\', '\\'), '|', '\|')" for p in parts]
        return text.steps.let(" || '|' || ".join(escaped), *parts)

    def _sum(self, col: Column, text: Texts) -> tuple[str, str, str, str]:
        """(value, failed, shown, wanted) of a sum, product or difference; blank terms count as 0 unless all are."""
        rule, steps = self.mapping.fields[col.name], text.steps
        symbols = self._symbols(col)
        terms = [text.where_it_holds(text.present(c, rule), rule) for c in rule.columns]
        plain = [self._with_point(t, text) for t in terms]
        numbers = [steps.let(forms.number(t, symbols, thorough=text.thorough), t) for t in plain]
        failed = " or ".join(f"({n} is null and {t} is not null)" for n, t in zip(numbers, terms, strict=True))
        plus = numbers[: 1 if rule.column is not None else len(rule.sum)]
        minus = numbers[len(numbers) - len(rule.minus) :]
        if rule.times is not None:
            total = f"try({numbers[0]} * {numbers[1]})"
        else:
            total = " + ".join(f"coalesce({n}, 0)" for n in plus)
            total = f"case when coalesce({', '.join(plus)}) is not null then {total} end"
        for n in minus:
            total = f"({total} - coalesce({n}, 0))"
        total = f"(-{total})" if rule.negate else total
        total = steps.let(f"try_cast(try({total}) as decimal(34,9))" if rule.times is None else total, *numbers)
        value, wanted = self._in_units(col, total)
        shown = steps.let(f"nullif(concat_ws(' | ', {', '.join(terms)}), '')", *terms)
        overflow = f"({value} is null and {total} is not null)"
        return value, f"({failed} or {overflow})", shown, wanted

    def _symbols(self, col: Column) -> tuple[str, ...]:
        return forms.SYMBOLS.get(self.currency, (self.currency,)) if col.field.unit == "minor" else ()

    def _number(self, col: Column, t: str, text: Texts) -> tuple[str, str]:
        symbols, wanted, thorough = self._symbols(col), self._wanted_number(col), text.thorough
        rule = self.mapping.fields[col.name]
        if rule.constant is None and not rule.values:
            t = self._with_point(t, text)
        if rule.unit == "major":
            expression = forms.money_sql(t, self._digits, symbols, thorough=thorough)
        elif col.field.type == "float64":
            expression = f"({forms.number(t, thorough=thorough)})::double"
        else:
            expression = forms.integer(t, _SQL_INTEGERS[col.field.type], symbols, thorough=thorough)
        return text.steps.let(expression, t), wanted

    def _with_point(self, t: str, text: Texts) -> str:
        """A number of the file as numbers are read: a mapping may say that its files write a comma for the point."""
        return text.steps.let(forms.with_point(t), t) if self.mapping.decimal == "," else t

    def _in_units(self, col: Column, value: str) -> tuple[str, str]:
        wanted = self._wanted_number(col)
        if col.field.type == "float64":
            return f"({value})::double", wanted
        if self.mapping.fields[col.name].unit == "major":
            return forms.minor_units_sql(value, self._digits), wanted
        return forms.whole(value, _SQL_INTEGERS[col.field.type]), wanted

    def _wanted_number(self, col: Column) -> str:
        return self._kind_of_number(col) + (" with a decimal comma" if self.mapping.decimal == "," else "")

    def _kind_of_number(self, col: Column) -> str:
        if col.field.type == "float64":
            return "number"
        if self.mapping.fields[col.name].unit == "major":
            return f"amount of money in {self.currency}"
        return "whole number of minor units" if col.field.unit == "minor" else "whole number"

    @property
    def _digits(self) -> int:
        return minor_digits(self.currency)

    def _judgements(self, fields: Sequence[_Parsed]) -> list[tuple[str, str]]:
        """(condition, sentence) of everything that can send a row to quarantine."""
        by_field = {p.field: p for p in fields}
        found = [(quoted(p.flag), p.unread) for p in fields if p.failed != "false"]
        for refusal in refusals(self.contract):
            if p := by_field.get(refusal.field):
                found.append((f"({refusal.condition}) and not {quoted(p.flag)}", p.complaint(refusal.expected)))
        if p := by_field.get(self.contract.generated or ""):
            found.append(
                (f"{quoted(p.field)} is null and not {quoted(p.flag)}", p.complaint("but a value is required"))
            )
        if p := by_field.get("currency"):
            complaint = p.complaint(f"is not the lake's currency, {self.currency}")
            found.append((f"{quoted('currency')} <> {literal(self.currency)}", complaint))
        if self.contract.needed_ids:
            ids = [n for n in self.contract.needed_ids if n in by_field]
            condition = " and ".join(f"{quoted(n)} is null" for n in ids)
            found.append((condition, literal(f"{PERSON_MISSING}: {', '.join(ids)} empty, or on the guest list")))
        return found

    def _hash(self) -> str:
        """MD5 of the canonical content: every field of the feed in contract order, absent ones empty.

        Fields that the mapping leaves out count as absent, so that the same row through two mappings is the same.
        """
        pieces = []
        for c in self.contract.feed_columns:
            if c.name != self.contract.generated or c.name in self.mapping.fields:
                pieces += [quoted(c.name)] if c.name in self.mapping.fields else []
                pieces.append(SEPARATOR)
        return f"md5(concat({', '.join(pieces)}))"
