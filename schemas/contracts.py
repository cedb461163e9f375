"""The dictionary of fields and the contracts of tables, read once from YAML.

``fields()`` is the dictionary, ``contract("silver.orders")`` one table, ``contracts()`` all of them. Bronze and
quarantine tables are derived from the feeds, so they stand in no file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import NotThereError

HERE = Path(__file__).parent
LAYERS = ("silver", "identity", "activity", "profile", "segments", "fission", "audiences", "exports", "landing", "ops")
FEEDS = (
    "members",
    "products",
    "orders",
    "order_lines",
    "refunds",
    "browse",
    "shares",
    "coupons",
    "surveys",
    "manual_tags",
)
SILVER_LINEAGE = ("source_time", "event_month", "row_hash", "_batch_id", "_file", "_row", "_ingested_at")
NEWEST_FIRST = "source_time desc nulls last, _ingested_at desc, _file desc, _row desc"
"""Order of a silver row's versions in SQL, the one that counts first; features/versions.py says it to Spark."""
CONSENT_SAID_LAST = f"""first_value(marketing_consent ignore nulls) over (
    partition by member_id order by {NEWEST_FIRST} rows between unbounded preceding and unbounded following
)"""
"""What a member said last of marketing: a later version that says nothing takes neither a refusal nor an agreement back."""

Type = Literal["string", "int32", "int64", "float64", "bool", "date", "timestamp"]
Level = Literal["fail", "warn"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldEntry(_Frozen):
    """One field: its type, unit, class of personal data, allowed values and what it means in both languages."""

    name: str
    type: Type
    unit: str | None = None
    personal: Literal["none", "identifier", "contact", "sensitive"] = "none"
    values: tuple[str, ...] = ()
    zh: str
    en: str

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
    ``open`` tables have further columns that come from the tag catalogue. ``describes_users`` tables have one row per user
    and day; their columns beyond the key are attributes that tags may use.
    """

    layer: str
    table: str
    description: dict[str, str]
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
    persons: dict[str, str] = Field(default_factory=dict)
    peers: dict[str, str] = Field(default_factory=dict)
    restricted: bool = False
    open: bool = False
    describes_users: bool = False
    columns: tuple[Column, ...]
    checks: tuple[Check, ...] = ()
    volume: Volume | None = None

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.table}"

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

    def column(self, name: str) -> Column:
        for c in self.columns:
            if c.name == name:
                return c
        raise NotThereError(f"table {self.name} has no column {name!r}; it has {', '.join(self.column_names)}")


@cache
def fields() -> dict[str, FieldEntry]:
    """The dictionary of fields by name."""
    raw = yaml.load((HERE / "fields.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
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
        raw = yaml.load((HERE / "tables" / f"{layer}.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        for table, spec in raw.items():
            c = _contract(layer, table, spec)
            found[c.name] = c
    return found


def contract(name: str) -> Contract:
    """The contract of ``layer.table``; NotThereError names the tables there are."""
    try:
        return contracts()[name]
    except KeyError:
        raise NotThereError(f"no table {name!r}; there are {', '.join(contracts())}") from None
