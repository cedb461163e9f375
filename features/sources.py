"""A mapping (``sources/*.yaml``): how the rows of a shop's files become the rows of one feed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, field_validator, model_validator

from features.first_rows import CONTACT, TIME
from schemas.configuration import Settings, nearest
from schemas.contracts import FEEDS, Column, Contract, Level, contract

Location = tuple[str | int, ...]
NUMBERS = ("int32", "int64", "float64")
TIMES = ("timestamp", "date")
TIME_WORDS = ("auto", "epoch_seconds", "epoch_milliseconds", "epoch_microseconds", "excel_serial", "excel_serial_1904")
CSV_ONLY = ("header", "named_columns", "skip_rows", "quoting", "max_cell_lines", "decimal")
HASHED = ("address_key", "ip_key")
"""Fields that hold the hash of something personal, never the thing itself."""


def _as_text(value: Any) -> Any:
    """YAML reads ``1`` as a number and ``yes`` as true; column names and values are always text here."""
    if isinstance(value, bool):
        raise ValueError("YAML reads this word as true or false; put it in quotes")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (int, float, date)):
        return str(value)
    return value


def _as_typed_text(value: Any) -> Any:
    """As :func:`_as_text`, where true and false are meant as such: the results of a value map, a constant."""
    return str(value).lower() if isinstance(value, bool) else _as_text(value)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_as_text)]
TypedText = Annotated[str, BeforeValidator(_as_typed_text)]
ColumnName = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]


class Condition(Settings):
    """One condition of ``where``: a column and exactly one test on its trimmed text."""

    column: ColumnName
    starts_with: Text | None = None
    not_starts_with: Text | None = None
    in_: tuple[Text, ...] | None = Field(default=None, alias="in")
    not_in: tuple[Text, ...] | None = None
    is_empty: bool | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Condition:
        tests = [self.starts_with, self.not_starts_with, self.in_, self.not_in, self.is_empty]
        if sum(t is not None for t in tests) != 1:
            raise ValueError("wanted exactly one of starts_with, not_starts_with, in, not_in, is_empty")
        return self


def _as_conditions(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class FieldRule(Settings):
    """Where one field's value comes from, and how it is read.

    Exactly one origin: a ``column``, a ``constant``, the ``sum`` of columns; an id also from columns that are joined,
    absent where one of them is, or from the ``row``: the content of its file and its place in it.

    ``times`` multiplies ``column``, ``minus`` subtracts columns from ``column`` or ``sum``, ``negate`` turns the sign
    (a refund file that writes money given back as negative). Money says its ``unit``; it is rounded once, at the end.
    Rows in which not every condition of ``when`` holds have no value. ``absent`` are texts that mean nothing, as a blank
    does, before ``values`` are mapped. ``hash: true`` keeps the salted SHA-256 of the normalised text in place of it; for
    the keys in ``HASHED`` alone.
    """

    column: ColumnName | None = None
    constant: TypedText | None = None
    sum: tuple[ColumnName, ...] = ()
    join: tuple[ColumnName, ...] = ()
    row: Literal["file"] | None = None
    times: ColumnName | None = None
    minus: tuple[ColumnName, ...] = ()
    negate: bool = False
    unit: Literal["major", "minor"] | None = None
    time: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    time_zone: str | None = None
    absent: tuple[Text, ...] = ()
    values: dict[Text, TypedText] = Field(default_factory=dict)
    otherwise: TypedText | None = None
    when: Annotated[tuple[Condition, ...], BeforeValidator(_as_conditions)] = ()
    hash: bool | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> FieldRule:
        origins = [self.column is not None, self.constant is not None, self.sum, self.join, self.row is not None]
        if sum(map(bool, origins)) != 1:
            raise ValueError("wanted exactly one of column, constant, sum, join, row")
        if self.times is not None and self.column is None:
            raise ValueError("times multiplies a column; name the column")
        if self.minus and self.column is None and not self.sum:
            raise ValueError("minus subtracts from a column or a sum")
        if len(self.join) == 1:
            raise ValueError("join puts columns together; name two or more, or say `column`")
        if self.is_composed and (self.values or self.negate or self.hash is not None):
            raise ValueError(
                "an id that is joined or made of the row's place is taken as it is; leave out values, negate, hash"
            )
        if self.otherwise is not None and not self.values:
            raise ValueError("otherwise stands beside a values map; give values")
        if self.constant is not None and (self.values or self.negate or self.absent):
            raise ValueError("a constant is written as it is meant, without values, absent or negate")
        if self.row is not None and self.absent:
            raise ValueError("the row's place is never a text that means nothing; leave out absent")
        if both := sorted(set(self.absent) & set(self.values)):
            raise ValueError(f"{both[0]!r} cannot mean nothing (absent) and something (values)")
        if self.values and self.is_arithmetic:
            raise ValueError("values maps the texts of one column; leave out sum, times, minus, negate")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the file that the rule reads."""
        first = (self.column,) if self.column is not None else self.sum or self.join
        return (*first, *((self.times,) if self.times else ()), *self.minus)

    @property
    def is_arithmetic(self) -> bool:
        return bool(self.sum or self.times or self.minus or self.negate)

    @property
    def is_composed(self) -> bool:
        return bool(self.join) or self.row is not None


def _as_rule(value: Any) -> Any:
    value = _as_text(value)
    return {"column": value} if isinstance(value, str) else value


class Mapping(Settings):
    """One file of ``sources/``. ``name`` is the file's name without ``.yaml``; it is never written in the file.

    Of CSV: ``skip_rows`` lines of the file stand above its table. ``named_columns`` (``columns`` in the file) are those
    of a file without a header. A cell may span ``max_cell_lines`` lines; with ``quoting: none`` a quote is a sign like
    any other. ``decimal`` is the mark before the fraction of every number.

    ``blanks``: what becomes of a row that only blanks fields of an earlier row of its key in the same file.
    ``most_quarantined``: the share of a file's selected rows beyond which the whole file is refused.
    """

    name: str = ""
    feed: str
    files: str
    format: Literal["csv", "jsonl", "parquet"]
    encoding: Literal["utf-8", "gb18030"] = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    header: bool = True
    named_columns: tuple[ColumnName, ...] = Field(default=(), alias="columns")
    skip_rows: int = Field(default=0, ge=0, le=1000)
    quoting: Literal["minimal", "none"] = "minimal"
    max_cell_lines: int | None = Field(default=None, ge=1)
    decimal: Literal[".", ","] = "."
    time_zone: str | None = None
    where: tuple[Condition, ...] = ()
    blanks: Literal["refuse", "keep"] = "refuse"
    most_quarantined: float = Field(default=0.2, ge=0, le=1)
    fields: dict[str, Annotated[FieldRule, BeforeValidator(_as_rule)]] = Field(min_length=1)

    @field_validator("encoding", mode="before")
    @classmethod
    def _same_encoding_by_other_names(cls, value: Any) -> Any:
        """``utf8``, ``UTF-8-SIG``, ``gbk`` and ``gb2312`` mean what one expects: GB18030 holds both older ones."""
        word = str(value).lower().replace("_", "-")
        return {"utf8": "utf-8", "utf-8-sig": "utf-8", "gbk": "gb18030", "gb2312": "gb18030"}.get(word, word)

    @field_validator("feed")
    @classmethod
    def _known_feed(cls, feed: str) -> str:
        if feed not in FEEDS:
            raise ValueError(f"no feed {feed!r}; {nearest(feed, list(FEEDS))}")
        return feed

    @field_validator("files")
    @classmethod
    def _inside_the_inbox(cls, files: str) -> str:
        path = PurePosixPath(files)
        if not files.strip() or path.is_absolute() or ".." in path.parts:
            raise ValueError("wanted a pattern below the inbox folder, such as orders/*.csv.gz")
        return files

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError(f"unknown time zone {zone!r}; {nearest(zone, sorted(available_timezones()))}")
        return zone

    @property
    def contract(self) -> Contract:
        return contract(f"silver.{self.feed}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the file that the mapping reads, in order of first mention."""
        named = [c.column for c in self.where]
        for rule in self.fields.values():
            named += [*rule.columns, *(c.column for c in rule.when)]
        return tuple(dict.fromkeys(named))


def mistakes(mapping: Mapping) -> Iterator[tuple[Location, str]]:
    """What the mapping says that its feed cannot hold: where it stands, and what was expected."""
    c = mapping.contract
    known = {col.name: col for col in c.feed_columns}
    for name, rule in mapping.fields.items():
        here = ("fields", name)
        if name not in known:
            yield here, f"feed {mapping.feed} has no field {name!r}; {nearest(name, list(known))}"
        else:
            yield from ((here, text) for text in _rule_mistakes(name, rule, known[name]))
    for col in c.feed_columns:
        if col.required and col.name not in mapping.fields and col.name != c.generated:
            yield ("fields",), f"feed {mapping.feed} needs {col.name!r} ({col.field.zh}); say which column holds it"
    if c.needed_ids and not any(f in mapping.fields for f in c.needed_ids):
        yield ("fields",), f"feed {mapping.feed} needs an id of the person: one of {', '.join(c.needed_ids)}"
    if mapping.format == "parquet" and (mapping.delimiter != "," or mapping.encoding != "utf-8"):
        yield ("format",), "a Parquet file has no delimiter and no encoding; leave them out"
    if mapping.format == "jsonl" and mapping.delimiter != ",":
        yield ("delimiter",), "JSON Lines have no delimiter; leave it out"
    yield from _csv_mistakes(mapping)


def _csv_mistakes(mapping: Mapping) -> Iterator[tuple[Location, str]]:
    """What is said of a CSV's table that contradicts itself, or that another format does not have."""
    if mapping.format != "csv":
        for name in CSV_ONLY:
            key = Mapping.model_fields[name].alias or name
            if getattr(mapping, name) != Mapping.model_fields[name].default:
                yield (key,), f"{key} is for `format: csv`; leave it out"
        return
    if mapping.delimiter in '"\r\n' or not mapping.delimiter.isascii():
        yield ("delimiter",), "a quote, an end of line or a sign that is not ASCII cannot part columns"
    known = {col.name: col.field.type for col in mapping.contract.feed_columns}
    for name, rule in mapping.fields.items() if mapping.header else ():
        times = known.get(name) in TIMES
        if any(CONTACT.fullmatch(c) or (times and TIME.fullmatch(c)) for c in rule.columns):
            yield (
                ("fields", name),
                (
                    "is read from a column that is called by a value, as in a file without a header: say `header: false` and "
                    "`columns: [...]`, names of your own"
                ),
            )
    named = mapping.named_columns
    if mapping.header and named:
        yield ("columns",), "columns names those of a file without a header: say `header: false`, or leave it out"
    if not mapping.header and not named:
        yield ("header",), "a file without a header needs `columns: [...]`, a name for each of its columns in order"
    for column in sorted({c for c in named if named.count(c) > 1}):
        yield ("columns",), f"{column!r} stands twice; every column needs a name of its own"
    read: list[tuple[Location, str]] = [(("where", n), c.column) for n, c in enumerate(mapping.where)]
    read += [(("fields", name), c) for name, rule in mapping.fields.items() for c in rule.columns]
    for here, column in read:
        if named and column not in named:
            yield here, f"{column!r} is none of `columns`; {nearest(column, list(named))}"
    if mapping.quoting == "none" and mapping.max_cell_lines is not None:
        yield ("max_cell_lines",), "with `quoting: none` every line is a row; leave max_cell_lines out"
    if mapping.decimal == mapping.delimiter and mapping.quoting == "none":
        yield (
            ("decimal",),
            f"{mapping.decimal!r} parts the columns and nothing is quoted, so it cannot stand in a number",
        )


def shortfalls(mapping: Mapping) -> Iterator[tuple[Level, str]]:
    """What cannot come of the mapping, by its feed's contract: why, and the ways out.

    ``fail``: its rows would count nowhere; ``warn``: a part of what is made of them stays empty.
    """
    for need in mapping.contract.counts_with:
        given = need.given is None or need.given in mapping.fields
        if given and not any(name in mapping.fields for name in need.one_of):
            missing = " or ".join(need.one_of)
            yield need.level, f"{mapping.feed} without {missing}: {need.otherwise}; {_named(need.remedy, mapping)}"


def _named(remedy: str, mapping: Mapping) -> str:
    for name, rule in mapping.fields.items():
        remedy = remedy.replace(f"<{name}>", rule.column or f"COLUMN OF {name}")
    return remedy


def warnings(mappings: Sequence[Mapping], used: Collection[str] | None = None) -> list[str]:
    """What stays empty, of every mapping by its name, and of feeds that miss another; of those ``used`` (names) if given."""
    chosen = [m for m in mappings if used is None or m.name in used]
    found = [f"{m.name}.yaml: {text}" for m in chosen for level, text in shortfalls(m) if level == "warn"]
    mapped = {m.feed for m in mappings}
    for feed in dict.fromkeys(m.feed for m in chosen):
        beside = contract(f"silver.{feed}").beside
        found += [
            f"{feed} without a mapping for {other}: {why}" for other, why in beside.items() if other not in mapped
        ]
    return found


def _rule_mistakes(name: str, rule: FieldRule, col: Column) -> Iterator[str]:
    kind = col.field.type
    if col.field.unit == "minor" and rule.unit is None:
        yield f"{name} is money: say `unit: major` (yuan) or `unit: minor` (fen)"
    if rule.unit is not None and col.field.unit != "minor":
        yield f"{name} is no money, so it has no unit"
    if rule.is_arithmetic and kind not in NUMBERS:
        yield f"{name} is a {kind}: sum, times, minus and negate are for numbers"
    if name in HASHED and rule.hash is None:
        yield f"{name} must never be the address itself: say `hash: true`, or `hash: false` where the source hashed it"
    if name not in HASHED and rule.hash is not None:
        yield f"{name} cannot be hashed; hash is for {' and '.join(HASHED)}"
    if rule.values and rule.is_arithmetic:
        yield f"{name}: a values map and arithmetic cannot be together"
    if rule.is_composed and (kind != "string" or not name.endswith("_id")):
        yield f"{name} is no id: join and row make ids"
    if (rule.time or rule.time_zone) and kind not in TIMES:
        yield f"{name} is a {kind}: time and time_zone are for times"
    if rule.time_zone is not None and rule.time_zone not in available_timezones():
        yield f"unknown time zone {rule.time_zone!r}; {nearest(rule.time_zone, sorted(available_timezones()))}"
    for form in rule.time:
        if form not in TIME_WORDS and "%" not in form:
            yield f"{form!r} is no form of time; wanted {', '.join(TIME_WORDS)} or a format such as %Y-%m-%d %H:%M:%S"
    if col.values and col.level == "fail":
        meant = [*rule.values.values(), *(v for v in (rule.otherwise, rule.constant) if v is not None)]
        for value in dict.fromkeys(meant):
            if value not in col.values:
                yield f"{name} cannot be {value!r}; {nearest(value, list(col.values))}"
