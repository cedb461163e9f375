"""A mapping (``sources/*.yaml``): how the rows of a shop's files become the rows of one feed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, field_validator, model_validator

from schemas.configuration import Settings, nearest
from schemas.contracts import FEEDS, Column, Contract, contract

Location = tuple[str | int, ...]
NUMBERS = ("int32", "int64", "float64")
TIMES = ("timestamp", "date")
TIME_WORDS = ("auto", "epoch_seconds", "epoch_milliseconds")
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


class FieldRule(Settings):
    """Where one field's value comes from: a column, a constant, or the sum of columns; then how it is read.

    ``times`` multiplies ``column``, ``minus`` subtracts columns from ``column`` or ``sum``, ``negate`` turns the sign
    (a refund file that writes money given back as negative). Money says its ``unit``; it is rounded once, at the end.
    ``hash: true`` keeps the salted SHA-256 of the normalised text in place of it; for the keys in ``HASHED`` alone.
    """

    column: ColumnName | None = None
    constant: TypedText | None = None
    sum: tuple[ColumnName, ...] = ()
    times: ColumnName | None = None
    minus: tuple[ColumnName, ...] = ()
    negate: bool = False
    unit: Literal["major", "minor"] | None = None
    time: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    time_zone: str | None = None
    values: dict[Text, TypedText] = Field(default_factory=dict)
    otherwise: TypedText | None = None
    hash: bool | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> FieldRule:
        if sum([self.column is not None, self.constant is not None, bool(self.sum)]) != 1:
            raise ValueError("wanted exactly one of column, constant, sum")
        if self.times is not None and self.column is None:
            raise ValueError("times multiplies a column; name the column")
        if self.minus and self.constant is not None:
            raise ValueError("minus subtracts from a column or a sum, not from a constant")
        if self.otherwise is not None and not self.values:
            raise ValueError("otherwise stands beside a values map; give values")
        if self.constant is not None and (self.values or self.negate):
            raise ValueError("a constant is written as it is meant, without values or negate")
        if self.values and self.is_arithmetic:
            raise ValueError("values maps the texts of one column; leave out sum, times, minus, negate")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the file that the rule reads."""
        first = (self.column,) if self.column is not None else self.sum
        return (*first, *((self.times,) if self.times else ()), *self.minus)

    @property
    def is_arithmetic(self) -> bool:
        return bool(self.sum or self.times or self.minus or self.negate)


def _as_rule(value: Any) -> Any:
    value = _as_text(value)
    return {"column": value} if isinstance(value, str) else value


class Mapping(Settings):
    """One file of ``sources/``. ``name`` is the file's name without ``.yaml``; it is never written in the file."""

    name: str = ""
    feed: str
    files: str
    format: Literal["csv", "jsonl", "parquet"]
    encoding: Literal["utf-8", "gb18030"] = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    time_zone: str | None = None
    where: tuple[Condition, ...] = ()
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
        named = [c.column for c in self.where] + [n for rule in self.fields.values() for n in rule.columns]
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
    if mapping.delimiter in '"\r\n':
        yield ("delimiter",), "a quote or an end of line cannot part columns"


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
