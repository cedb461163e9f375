"""The dictionary of fields and the contracts of tables, read once from YAML.

``fields()`` is the dictionary, ``contract("silver.orders")`` one table, ``contracts()`` all of them. Bronze and
quarantine tables are derived from the feeds, so they stand in no file.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.errors import NotThereError

HERE = Path(__file__).parent
_FIRST = ("silver", "identity", "activity", "profile", "segments", "fission", "audiences", "exports", "landing", "ops")
LAYERS = (*_FIRST, *sorted({p.stem for p in (HERE / "tables").glob("*.yaml")} - {*_FIRST}))
"""Every layer has its file in ``tables/``; these are shown first."""
SILVER_LINEAGE = ("source_time", "event_month", "row_hash", "_batch_id", "_file", "_row", "_ingested_at")
NEWEST_FIRST = "source_time desc nulls last, _ingested_at desc, _file desc, _row desc"
"""Order of a silver row's versions in SQL, the one that counts first; features/versions.py says it to Spark."""


def said_last(column: str) -> str:
    """What a member said last in a column, in SQL over versions: a later version that says nothing takes nothing back."""
    return f"""first_value({column} ignore nulls) over (
    partition by member_id order by {NEWEST_FIRST} rows between unbounded preceding and unbounded following
)"""


CONSENT_SAID_LAST = said_last("marketing_consent")
"""What a member said last of marketing: a later version that says nothing takes neither a refusal nor an agreement back."""

Type = Literal["string", "int32", "int64", "float64", "bool", "date", "timestamp"]
Level = Literal["fail", "warn"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Frozen):
    """A name that stands in tables as a number: the number, what it is called and what a row of it is."""

    code: int = Field(ge=1, le=255)
    zh: str
    en: str


class FieldEntry(_Frozen):
    """One field: its type, unit, class of personal data, allowed values or codes and what it means in both languages."""

    name: str
    type: Type
    unit: str | None = None
    personal: Literal["none", "identifier", "contact", "sensitive"] = "none"
    values: tuple[str, ...] = ()
    codes: dict[str, Code] = Field(default_factory=dict)
    zh: str
    en: str

    @field_validator("codes")
    @classmethod
    def _one_name_a_code(cls, value: dict[str, Code]) -> dict[str, Code]:
        numbers = [c.code for c in value.values()]
        if twice := sorted({n for n in numbers if numbers.count(n) > 1}):
            raise ValueError(f"the number {twice[0]} is given to two names; rows of both would be one thing")
        return value

    @property
    def is_personal(self) -> bool:
        return self.personal != "none"


class Column(_Frozen):
    """A field as one table uses it, with the checks of that table."""

    field: FieldEntry
    required: bool = False
    min: float | str | None = None
    max: float | str | None = None
    values: tuple[str, ...] = ()
    level: Level = "fail"

    @property
    def name(self) -> str:
        return self.field.name


class Check(_Frozen):
    """A check over two or more columns: ``left >= at_least``, or ``left`` equals the sum of ``equals``."""

    name: str
    level: Level
    left: str
    at_least: str | None = None
    equals: tuple[str, ...] = ()


class Need(_Frozen):
    """What a mapping of the feed must fill for its rows to mean something: one of ``one_of``, else ``otherwise`` is true.

    ``fail``: no row would count anywhere, so the mapping is refused; ``warn``: a part of what is made of them stays empty.
    ``given`` narrows it to mappings that fill that column. ``remedy`` names the ways out; ``<ordered_at>`` in it stands for
    the column that the mapping reads for that field.
    """

    one_of: tuple[str, ...]
    level: Level = "fail"
    given: str | None = None
    otherwise: str
    remedy: str = ""


class Detail(_Frozen):
    """What more is known of rows of the behaviour ``of``: the value of ``column``, or ``named`` where it is true."""

    of: str
    column: str
    named: str | None = None


class Becomes(_Frozen):
    """What a row of a feed is in ``activity``: one row of the behaviour, at the feed's ``event_time``, of its person.

    ``behaviour`` is what every row is, ``column`` the column whose values say it; ``by_rule`` lists behaviours that
    features/activity.py makes of the feed together with others. ``order`` is the column of the order that a row is about
    (it is held with that order), the next three are columns of numbers. Product, seller, channel and the other person
    (``peers``) are taken where the feed has them. ``on_site``: rows make visits. ``shows_visit``: behaviours of somebody
    who was there before ordering (brushing).
    """

    behaviour: str | None = None
    column: str | None = None
    by_rule: tuple[str, ...] = ()
    order: str | None = None
    quantity: str | None = None
    list_amount: str | None = None
    amount: str | None = None
    details: tuple[Detail, ...] = ()
    on_site: bool = False
    shows_visit: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _said_in_one_way(self) -> Becomes:
        if (self.behaviour is None) == (self.column is None) and not self.by_rule:
            raise ValueError("becomes: say either what every row is (behaviour) or which column says it (column)")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names."""
        named = (
            self.column,
            self.order,
            self.quantity,
            self.list_amount,
            self.amount,
            *(d.column for d in self.details),
        )
        return tuple(n for n in named if n is not None)


class Volume(_Frozen):
    """How far the rows of a publication may be from what was there: the day before in a table cut by day, else the table.

    ``least`` and ``most`` are shares of that number of rows; below ``from_rows`` rows a table moves by itself.
    """

    least: float | None = None
    most: float | None = None
    from_rows: int = 1_000
    level: Level = "warn"


class Contract(_Frozen):
    """What one table promises: grain, key, partitions, sort, columns with checks.

    ``event_time`` lists the fields of which the first present one cuts the business month of a silver row.
    ``persons`` maps id kinds to the columns that hold ids of the acting person, ``peers`` those of the other one.
    ``guests`` names the column that identifies a row's own anonymous buyer where it carries no id.
    ``needs_person``: a row must carry an id of ``persons``. ``one_of``: a row must carry one of these columns, which link
    nothing (a note about somebody is no sign of life of theirs).
    ``counts_with`` says what a mapping must fill for the rows to count, ``beside`` which other feeds they need, and what is
    true without.
    ``label`` is what a feed is called; a feed of ``cadence`` reference may come once and be right for long; ``taken_with``
    names the feed with which it arrives. ``becomes`` says what its rows are in ``activity``; absent: nothing.
    ``open`` tables have further columns that come from the tag catalogue. ``describes_users`` tables have one row per user
    and day; their columns beyond the key are attributes that tags may use.
    """

    layer: str
    table: str
    description: dict[str, str]
    label: dict[str, str] = Field(default_factory=dict)
    cadence: Literal["daily", "reference"] = "daily"
    taken_with: str | None = None
    grain: str
    key: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    generated: str | None = None
    event_time: tuple[str, ...] = ()
    guests: str | None = None
    needs_person: bool = False
    one_of: tuple[str, ...] = ()
    counts_with: tuple[Need, ...] = ()
    beside: dict[str, str] = Field(default_factory=dict)
    becomes: Becomes | None = None
    persons: dict[str, str] = Field(default_factory=dict)
    peers: dict[str, str] = Field(default_factory=dict)
    restricted: bool = False
    open: bool = False
    describes_users: bool = False
    columns: tuple[Column, ...]
    checks: tuple[Check, ...] = ()
    volume: Volume | None = None

    @model_validator(mode="after")
    def _can_be_meant(self) -> Contract:
        if self.layer == "silver" and set(self.label) != {"zh", "en"}:
            raise ValueError(f"feed {self.table}: say what it is called: label: {{zh: ..., en: ...}}")
        if self.taken_with is not None and self.taken_with not in FEEDS:
            raise ValueError(
                f"feed {self.table}: taken_with {self.taken_with!r} is no feed; there are {', '.join(FEEDS)}"
            )
        b = self.becomes
        if b is None:
            return self
        for name in b.columns:
            self.column(name)
        known = fields()["behaviour_code"].codes
        for name in (*self.behaviours, *b.shows_visit, *(d.of for d in b.details)):
            if name not in known:
                raise ValueError(f"becomes: {name!r} is no code of behaviour_code in fields.yaml")
        kinds = fields()["detail_code"].codes
        for d in b.details:
            for name in (d.named,) if d.named else self.column(d.column).values:
                if name not in kinds:
                    raise ValueError(f"becomes: {name!r} is no code of detail_code in fields.yaml")
        if b.column is not None and not (
            (said := self.column(b.column)).required and said.values and said.level == "fail"
        ):
            raise ValueError(
                f"becomes: {b.column!r} is required and has a list of values, or rows of no behaviour come"
            )
        if not b.by_rule and (len(self.event_time) != 1 or not self.column(self.event_time[0]).required):
            raise ValueError("becomes: rows of activity lie on a day, so event_time is one required column")
        if not b.by_rule and not self.persons:
            raise ValueError("becomes: rows of activity are somebody's, so persons names the columns of ids")
        return self

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.table}"

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Behaviours of activity that the feed's rows give, or decide of."""
        b = self.becomes
        if b is None or b.by_rule:
            return () if b is None else b.by_rule
        return self.column(b.column).values if b.column is not None else (str(b.behaviour),)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def feed_columns(self) -> tuple[Column, ...]:
        """Columns that a mapping may fill: all but the lineage that ingest adds (``source_time`` may be mapped)."""
        return tuple(c for c in self.columns if c.name == "source_time" or c.name not in SILVER_LINEAGE)

    @property
    def day_partition(self) -> str | None:
        """The column that cuts the table by business day, if one does."""
        return next((n for n in self.partitions if self.column(n).field.type == "date"), None)

    @property
    def needed_ids(self) -> tuple[str, ...]:
        """Columns of which a row must have at least one; empty where none is needed."""
        return tuple(self.persons.values()) if self.needs_person else self.one_of

    def is_personal(self, columns: Iterable[str]) -> bool:
        """Whether one of these columns is."""
        return any(self.column(name).field.is_personal for name in columns)

    def column(self, name: str) -> Column:
        for c in self.columns:
            if c.name == name:
                return c
        raise NotThereError(f"table {self.name} has no column {name!r}; it has {', '.join(self.column_names)}")


@cache
def _yaml(name: str) -> dict[str, dict[str, Any]]:
    raw: dict[str, dict[str, Any]] = yaml.load((HERE / name).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return raw


FEEDS: tuple[str, ...] = tuple(_yaml("tables/silver.yaml"))
"""Feeds are the tables of silver."""


@cache
def fields() -> dict[str, FieldEntry]:
    """The dictionary of fields by name."""
    raw = _yaml("fields.yaml")
    return {name: FieldEntry(name=name, **entry) for name, entry in raw.items()}


def _column(name: str, raw: dict[str, Any]) -> Column:
    entry = fields()[name]
    values = raw.get("values", ())
    return Column(field=entry, **{**raw, "values": entry.values if values is True else tuple(values)})


def _silver_lineage() -> list[Column]:
    optional = {"source_time"}
    return [Column(field=fields()[n], required=n not in optional) for n in SILVER_LINEAGE]


def _contract(layer: str, table: str, raw: dict[str, Any]) -> Contract:
    columns = [_column(name, spec or {}) for name, spec in raw["columns"].items()]
    extra: dict[str, Any] = {}
    if layer == "silver":
        columns += _silver_lineage()
        extra = {"partitions": ("event_month",)}
    return Contract(layer=layer, table=table, **{**raw, **extra, "columns": tuple(columns)})


def _restricted_copy(layer: str, feed: str, names: tuple[str, ...], what: dict[str, str]) -> Contract:
    optional = {"replayed_batch_id"}
    return Contract(
        layer=layer,
        table=feed,
        description=what,
        grain="_file x _row",
        key=("_batch_id", "_file", "_row"),
        partitions=("_batch_id",),
        restricted=True,
        columns=tuple(Column(field=fields()[n], required=n not in optional) for n in names),
    )


_BRONZE = ("source", "raw", "_batch_id", "_file", "_row", "_ingested_at")
_QUARANTINE = ("source", "raw", "reasons", "replayed_batch_id", "_batch_id", "_file", "_row", "_ingested_at")


@cache
def contracts() -> dict[str, Contract]:
    """Every table's contract by ``layer.table``."""
    found: dict[str, Contract] = {}
    for feed in FEEDS:
        bronze = {"zh": f"{feed} 原样留存", "en": f"{feed} as received"}
        quarantine = {"zh": f"{feed} 隔离行", "en": f"Rows of {feed} that were set aside, with every reason"}
        for c in (
            _restricted_copy("bronze", feed, _BRONZE, bronze),
            _restricted_copy("quarantine", feed, _QUARANTINE, quarantine),
        ):
            found[c.name] = c
    for layer in LAYERS:
        for table, spec in _yaml(f"tables/{layer}.yaml").items():
            c = _contract(layer, table, spec)
            found[c.name] = c
    return found


def contract(name: str) -> Contract:
    """The contract of ``layer.table``; NotThereError names the tables there are."""
    try:
        return contracts()[name]
    except KeyError:
        raise NotThereError(f"no table {name!r}; there are {', '.join(contracts())}") from None


@cache
def feeds() -> tuple[Contract, ...]:
    """The contract of every feed."""
    return tuple(contract(f"silver.{feed}") for feed in FEEDS)


REFERENCE = "reference"


def taken_together() -> dict[str, tuple[str, ...]]:
    """Feeds that arrive together, by the feed that the others arrive with; feeds of cadence reference are one."""
    found: dict[str, tuple[str, ...]] = {}
    for c in feeds():
        name = REFERENCE if c.cadence == REFERENCE else c.taken_with or c.table
        found[name] = (*found.get(name, ()), c.table)
    return found
