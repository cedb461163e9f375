"""Rows of text to typed rows of a feed: what a mapping and a contract say, as one SQL statement over a block.

A block is an Arrow table of text columns ``c0``, ``c1``, ... in the file's order; the file's own column names appear
in generated SQL as string literals only. Good rows are never touched one by one: DuckDB evaluates whole columns, and
only the rows that a check refuses are looked at again to write down their reasons.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import text_forms as forms
from features.block_shape import Shape, look
from features.instants import NO_TIME, business_months, instants_of
from features.sources import Condition, FieldRule, Mapping
from schemas.arrow import arrow_field
from schemas.contracts import Column, Contract
from schemas.money import minor_digits
from schemas.quarantine import PERSON_MISSING, UNIT_SEPARATOR, literal, one_of, quoted, refusals

SEPARATOR = literal(UNIT_SEPARATOR)
MOST_SHOWN = 60
FEW = 64
"""Rows that are put into their place by cutting a table around them, which copies nothing."""
_SQL_INTEGERS = {"int32": "integer", "int64": "bigint"}


@dataclass(frozen=True)
class Cleaned:
    """A block after cleaning; arrays run over the rows that ``where`` selects, in the block's order.

    ``position`` is the row's place in the block. ``rows`` has the mapped fields typed, ``row_hash`` and, where the key
    is made from the content, no key yet. ``refused`` marks rows for quarantine, of which ``reasons`` has one text each.
    ``moved`` marks rows with a stamp in a daylight-saving gap or overlap. ``event_us`` is microseconds UTC, with
    ``NO_TIME`` where no event time is known.
    """

    position: np.ndarray
    raw: pa.ChunkedArray
    rows: pa.Table
    event_us: np.ndarray
    month: np.ndarray
    moved: np.ndarray
    refused: np.ndarray
    reasons: pa.ChunkedArray


class Cleaner:
    """One mapping made ready to run over blocks. ``zone`` cuts business months; the mapping's own reads local stamps.

    ``connection`` is a DuckDB connection to evaluate on; nothing is kept in it. ``salt`` goes before what is hashed.
    """

    def __init__(
        self,
        mapping: Mapping,
        *,
        zone: str,
        currency: str,
        guest_ids: Sequence[str],
        connection: duckdb.DuckDBPyConnection,
        salt: str = "",
    ):
        self.mapping = mapping
        self.contract: Contract = mapping.contract
        self.zone = zone
        self.currency = currency
        self.guest_ids = tuple(g.lower() for g in guest_ids)
        self.connection = connection
        self.salt = salt
        self.fields = [c for c in self.contract.feed_columns if c.name in mapping.fields]
        self._statements: dict[tuple[Shape, bool], _Statements] = {}
        self._likely: dict[str, str] = {}
        self._mostly_plain = True

    @cached_property
    def stamps(self) -> list[Column]:
        return [c for c in self.fields if c.field.type == "timestamp"]

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of ``Cleaned.rows``: the mapped fields in contract order, then ``row_hash``."""
        return pa.schema([*(arrow_field(c.field) for c in self.fields), pa.field("row_hash", pa.string())])

    def __call__(self, block: pa.Table, columns: Sequence[str]) -> Cleaned:
        """``columns`` are the file's column names for ``c0``..; a ``raw`` column, where present, is kept as it is.

        Every row is read quickly first; the rows that this refuses are read again thoroughly, and only what that
        refuses too is refused.
        """
        block = block.combine_chunks().append_column("i", pa.array(np.arange(len(block), dtype=np.int64)))
        shape = look(block, columns)
        if not self._likely:
            self._likely = self._likely_times(block, columns)
        moved = np.zeros(len(block), dtype=bool)
        found, unread = self._evaluated(block, shape, moved, thorough=not self._mostly_plain)
        if len(unread) and self._mostly_plain:
            self._mostly_plain = len(unread) < len(found) / 4
            again, unread = self._evaluated(unread, shape, moved, thorough=True)
            found = _replaced(found, again)
        said = pa.chunked_array([pa.array([], pa.string())])
        if len(unread):
            said = self._run(self._prepared(shape, thorough=True).reasons, unread)["reasons"]
        position = found["i"].to_numpy()
        event_us = self._event_us(found)
        return Cleaned(
            position=position,
            raw=found["raw"],
            rows=self._in_contract_types(found),
            event_us=event_us,
            month=business_months(event_us, self.zone),
            moved=moved[position],
            refused=found["refused"].to_numpy(zero_copy_only=False),
            reasons=said,
        )

    def _likely_times(self, block: pa.Table, columns: Sequence[str]) -> dict[str, str]:
        """For each time, the format of its first value: trying the others first is what reading times costs."""
        found = {}
        for col in self.fields:
            column = self.mapping.fields[col.name].column
            if col.field.type in ("timestamp", "date") and column is not None and column in columns:
                values = block[f"c{list(columns).index(column)}"].slice(0, 1000).to_pylist()
                first = next((v.strip() for v in values if v and v.strip()), "")
                if form := forms.format_of(first):
                    found[col.name] = form
        return found

    def _evaluated(
        self, block: pa.Table, shape: Shape, moved: np.ndarray, *, thorough: bool
    ) -> tuple[pa.Table, pa.Table]:
        """(selected rows typed, with ``refused``; the rows of the block that are refused, with their instants)."""
        statements = self._prepared(shape, thorough=thorough)
        if self.stamps:
            block = self._with_instants(block, statements.times, moved)
        found = self._run(statements.typed, block)
        refused = found.filter(found["refused"])["i"]
        if not len(refused):
            return found, block.slice(0, 0)
        again = block.filter(pc.is_in(block["i"], value_set=refused.combine_chunks()))
        return found, again if thorough else again.drop_columns([f"u{n}" for n in range(len(self.stamps))])

    def _run(self, statement: str, block: pa.Table) -> pa.Table:
        # The name is looked up by DuckDB among registered tables only.
        self.connection.register("block", block)
        try:
            return self.connection.sql(statement).to_arrow_table()
        finally:
            self.connection.unregister("block")

    def _with_instants(self, block: pa.Table, statement: str, moved: np.ndarray) -> pa.Table:
        """The block with ``u<n>``, microseconds UTC of every mapped time; marks in ``moved`` what a clock change hit."""
        found = self._run(statement, block)
        for n, col in enumerate(self.stamps):
            rule = self.mapping.fields[col.name]
            zone = rule.time_zone or self.mapping.time_zone or self.zone
            instants, hit = instants_of(found[f"n{n}"], zone)
            moved[block["i"].to_numpy()[hit]] = True
            block = block.append_column(f"u{n}", pc.coalesce(instants, found[f"z{n}"]))
        return block

    def _in_contract_types(self, found: pa.Table) -> pa.Table:
        arrays = []
        for wanted in self.schema:
            values = found[wanted.name]
            arrays.append(values if values.type == wanted.type else values.cast(wanted.type))
        return pa.table(arrays, schema=self.schema)

    def _event_us(self, found: pa.Table) -> np.ndarray:
        result = pa.chunked_array([pa.nulls(len(found), pa.int64())])
        for name in self.contract.event_time:
            if name in self.mapping.fields:
                result = pc.coalesce(result, found[name])
        return pc.fill_null(result, int(NO_TIME)).to_numpy()

    # --- statements ---

    def _prepared(self, shape: Shape, *, thorough: bool) -> _Statements:
        if (shape, thorough) not in self._statements:
            self._statements[shape, thorough] = self._composed(shape, thorough)
        return self._statements[shape, thorough]

    def _composed(self, shape: Shape, thorough: bool) -> _Statements:
        text = _Texts(self.mapping, shape, forms.Steps(), thorough)
        chosen = [
            forms.local_and_zoned(
                text.steps,
                text.origin(c),
                self.mapping.fields[c.name].time,
                thorough=thorough,
                likely=self._likely.get(c.name),
            )
            for c in self.stamps
        ]
        pairs = ", ".join(f"{local} as n{n}, {zoned} as z{n}" for n, (local, zoned) in enumerate(chosen)) or "i"
        times = f"select {pairs} from ({text.steps.over('select * from block')})"

        text = _Texts(self.mapping, shape, forms.Steps(), thorough)
        fields = [self._parsed(c, text) for c in self.fields]
        raw = "raw" if shape.has_raw else _raw_json(shape)
        where = " and ".join(text.condition(c) for c in self.mapping.where) or "true"
        parsed = text.steps.over(f"select * from block where {where}")
        values = ", ".join(f"{p.value} as {quoted(p.field)}, {p.failed} as {quoted(p.flag)}" for p in fields)
        judged = self._judgements(fields)
        refused = " or ".join(f"coalesce({condition}, false)" for condition, _ in judged) or "false"
        names = ", ".join(quoted(c.name) for c in self.fields)
        typed = (
            f"select i, raw, {names}, {refused} as refused, {self._hash()} as row_hash "
            f"from (select i, {raw} as raw, {values} from ({parsed}))"
        )
        said = ", ".join(f"case when {condition} then {sentence} end" for condition, sentence in judged) or "null"
        reasons = f"select concat_ws(chr(10), {said}) as reasons from (select *, {values} from ({parsed}))"
        return _Statements(times, typed, reasons)

    def _parsed(self, col: Column, text: _Texts) -> _Parsed:
        rule = self.mapping.fields[col.name]
        if rule.is_arithmetic:
            value, failed, shown, wanted = self._sum(col, text)
        else:
            shown = text.origin(col)
            value, wanted = self._value(col, shown, text)
            failed = "false" if value == shown else f"({value} is null and {shown} is not null)"
            if rule.values and rule.otherwise is None:
                given = text.column(rule.columns[0], plain=False)
                failed = f"({failed} or ({value} is null and {_unmapped(given, rule)}))"
                shown, wanted = given, "value of the map (values)"
        if _is_id(col) and text.is_odd(rule):
            # A guest's id or a masked phone is nobody's, so absent rather than wrong; a shortened one is wrong.
            failed, wanted = f"({forms.is_shortened(shown)})", "whole id: a spreadsheet shortened it; export it as text"
        elif _is_id(col):
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
        )

    def _value(self, col: Column, t: str, text: _Texts) -> tuple[str, str]:
        """The typed value of the text ``t``, and in words what was wanted."""
        rule, kind, steps = self.mapping.fields[col.name], col.field.type, text.steps
        if kind == "timestamp":
            return f"u{self.stamps.index(col)}", f"time ({' or '.join(rule.time) or 'auto'})"
        if kind == "date":
            likely = self._likely.get(col.name)
            value = forms.calendar_date(steps, t, rule.time, thorough=text.thorough, likely=likely)
            return value, f"date ({' or '.join(rule.time) or 'auto'})"
        if kind == "bool":
            return steps.let(forms.yes_or_no(t), t), "yes or no"
        if kind in ("int32", "int64", "float64"):
            return self._number(col, t, text)
        if col.name == "currency":
            return steps.let(
                f"case when upper({t}) = 'RMB' or {t} = '人民币' then 'CNY' else upper({t}) end", t
            ), "currency"
        if col.field.personal in ("identifier", "contact"):
            value = forms.person_id(steps, t, col.name, self.guest_ids)
            return (steps.let(forms.hashed(value, self.salt), value) if rule.hash else value), "id"
        return t, "text"

    def _sum(self, col: Column, text: _Texts) -> tuple[str, str, str, str]:
        """(value, failed, shown, wanted) of a sum, product or difference; blank terms count as 0 unless all are."""
        rule, steps = self.mapping.fields[col.name], text.steps
        symbols = self._symbols(col)
        terms = [text.present(c, forms.ABSENT_VALUES) for c in rule.columns]
        numbers = [steps.let(forms.number(t, symbols, thorough=text.thorough), t) for t in terms]
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

    def _number(self, col: Column, t: str, text: _Texts) -> tuple[str, str]:
        symbols, wanted, thorough = self._symbols(col), self._wanted_number(col), text.thorough
        if self.mapping.fields[col.name].unit == "major":
            expression = forms.money(t, self._digits, symbols, thorough=thorough)
        elif col.field.type == "float64":
            expression = f"({forms.number(t, thorough=thorough)})::double"
        else:
            expression = forms.integer(t, _SQL_INTEGERS[col.field.type], symbols, thorough=thorough)
        return text.steps.let(expression, t), wanted

    def _in_units(self, col: Column, value: str) -> tuple[str, str]:
        wanted = self._wanted_number(col)
        if col.field.type == "float64":
            return f"({value})::double", wanted
        if self.mapping.fields[col.name].unit == "major":
            return forms.minor_units(value, self._digits), wanted
        return forms.whole(value, _SQL_INTEGERS[col.field.type]), wanted

    def _wanted_number(self, col: Column) -> str:
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
        found = [(quoted(p.flag), p.complaint(f"is no {p.wanted}")) for p in fields if p.failed != "false"]
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


def _replaced(found: pa.Table, again: pa.Table) -> pa.Table:
    """``found`` with its refused rows replaced by ``again``, which are the same rows in the same order."""
    places = np.flatnonzero(found["refused"].to_numpy(zero_copy_only=False))
    if len(places) > FEW:
        order = np.arange(len(found))
        order[places] = len(found) + np.arange(len(again))
        return pa.concat_tables([found, again]).take(pa.array(order))
    pieces, start = [], 0
    for n, place in enumerate(places.tolist()):
        pieces += [found.slice(start, place - start), again.slice(n, 1)]
        start = place + 1
    return pa.concat_tables([*pieces, found.slice(start)])


@dataclass(frozen=True)
class _Statements:
    """Over ``block``: its times, its typed rows, and the reasons of rows that are refused."""

    times: str
    typed: str
    reasons: str


@dataclass(frozen=True)
class _Parsed:
    """One field as SQL: the typed value, whether text was there but could not be read, and what to say then."""

    field: str
    flag: str
    value: str
    failed: str
    wanted: str
    shown: str
    origin: str
    personal: bool

    def complaint(self, what: str) -> str:
        """SQL of one sentence: field, value (masked where personal), what was expected, column."""
        shown = f"left({self.shown}, 1) || '***'" if self.personal else f"left({self.shown}, {MOST_SHOWN})"
        quote = f"case when {self.shown} is null then 'empty' else '''' || {shown} || '''' end"
        return f"{literal(self.field + ': ')} || {quote} || {literal(f' {what}{self.origin}')}"


@dataclass
class _Texts:
    """The trimmed text of a mapping's columns for one shape of block, as named steps of one statement."""

    mapping: Mapping
    shape: Shape
    steps: forms.Steps
    thorough: bool
    named: dict[tuple[str, bool], str] = field(default_factory=dict)

    def column(self, name: str, *, plain: bool) -> str:
        """Trimmed text of a column; ``plain`` turns full-width forms into half-width ones."""
        if (name, plain) not in self.named:
            self.named[name, plain] = self.steps.let(self.trimmed(name, plain=plain))
        return self.named[name, plain]

    def trimmed(self, name: str, *, plain: bool) -> str:
        if name not in self.shape.columns:
            return "null::varchar"
        k = self.shape.columns.index(name)
        text = f"replace(c{k}, {SEPARATOR}, ' ')" if self.shape.special else f"c{k}"
        if plain and k in self.shape.full:
            text = forms.half_width(text)
        if k not in self.shape.ragged:
            return text
        return forms.trimmed(text) if k in self.shape.wide else forms.trimmed(text, " \t\r\n")

    def is_odd(self, rule: FieldRule) -> bool:
        """Can the rule's column hold an id as spreadsheets write it?"""
        return rule.column in self.shape.columns and self.shape.columns.index(rule.column) in self.shape.odd

    def present(self, name: str, absent: Sequence[str]) -> str:
        text = self.column(name, plain=True)
        return self.steps.let(forms.present(text, absent), text)

    def condition(self, c: Condition) -> str:
        """One test of ``where``, over the columns of the block themselves."""
        text = f"coalesce({self.trimmed(c.column, plain=False)}, '')"
        if c.starts_with is not None:
            return f"starts_with({text}, {literal(c.starts_with)})"
        if c.not_starts_with is not None:
            return f"not starts_with({text}, {literal(c.not_starts_with)})"
        if c.is_empty is not None:
            return f"{text} {'=' if c.is_empty else '<>'} ''"
        listed = c.in_ if c.in_ is not None else c.not_in or ()
        found = one_of(text, listed) if listed else "false"
        return found if c.in_ is not None else f"not {found}"

    def origin(self, col: Column) -> str:
        """Text that the value is read from: of the column or the constant, values mapped, words for nothing null."""
        rule, kind = self.mapping.fields[col.name], col.field.type
        if rule.constant is not None:
            return self.steps.let(f"{literal(rule.constant)}::varchar")
        assert rule.column is not None
        is_person = col.field.personal in ("identifier", "contact")
        text = self.column(rule.column, plain=kind != "string" or is_person)
        if rule.values:
            text = self.steps.let(_mapped(text, rule), text)
        if _is_id(col) and self.is_odd(rule):
            text = self.steps.let(forms.as_typed_in(text), text)
        if is_person:
            return text
        if kind == "string":
            return self.steps.let(forms.present(text, forms.ABSENT_TEXT, fold=False), text)
        absent = forms.ABSENT_TIMES if kind in ("timestamp", "date") else forms.ABSENT_VALUES
        return self.steps.let(forms.present(text, absent), text)


def _is_id(col: Column) -> bool:
    """Ids are text whatever they look like: of people, and of all that is named so."""
    return col.field.type == "string" and (col.name.endswith("_id") or col.field.personal in ("identifier", "contact"))


def _mapped(text: str, rule: FieldRule) -> str:
    whens = " ".join(f"when {literal(k.strip())} then {literal(v)}" for k, v in rule.values.items())
    rest = "null" if rule.otherwise is None else f"case when {text} <> '' then {literal(rule.otherwise)} end"
    return f"(case coalesce({text}, '') {whens} else {rest} end)"


def _unmapped(text: str, rule: FieldRule) -> str:
    known = one_of(f"coalesce({text}, '')", ["", *(k.strip() for k in rule.values)])
    return f"not {known}"


def _raw_json(shape: Shape) -> str:
    """SQL of the row as received: a JSON object of texts. Plain text is put together without looking for escapes."""
    names: list[str] = []
    for name in shape.columns:
        n, unique = 2, name
        while unique in names:
            n, unique = n + 1, f"{name}_{n}"
        names.append(unique)
    if shape.special:
        return f"json_object({', '.join(f'{literal(name)}, c{k}' for k, name in enumerate(names))})::varchar"
    pieces = []
    for k, name in enumerate(names):
        pieces += [literal(("{" if k == 0 else '",') + json.dumps(name, ensure_ascii=False) + ':"'), f"c{k}"]
    pieces.append(literal('"}'))
    return f"concat({', '.join(pieces)})"
