"""What a report page is made of: texts in both languages, tables, charts, blocks, sections. Plain data, no HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from schemas.text import Text


def same(text: str) -> Text:
    """What reads alike in both languages: numbers, dates, names as the shop gave them."""
    return Text(text, text)


Cell = Text | str | None
WIDE_FROM, STACKED_UP_TO = 6, 16
"""Columns and rows of a table that a telephone shows row under row."""


@dataclass(frozen=True)
class Table:
    """Rows as text. ``numeric`` says which columns are numbers (set to the right), ``prose`` which one is sentences."""

    columns: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    prose: int | None = None

    @property
    def stacked(self) -> bool:
        """Too wide for a telephone, and short: there every row stands as a card of its own."""
        return len(self.columns) >= WIDE_FROM and len(self.rows) <= STACKED_UP_TO


def table(columns: Sequence[Text], rows: Sequence[Sequence[Cell]], first_text: int = 1) -> Table:
    """A table whose columns after the first ``first_text`` are numbers."""
    return Table(tuple(columns), tuple(tuple(r) for r in rows), frozenset(range(first_text, len(columns))))


@dataclass(frozen=True)
class Chart:
    """A plotly figure as plain data; texts in it may be ``Text``. ``height`` in pixels; ``says`` is read aloud."""

    data: tuple[dict[str, Any], ...]
    layout: dict[str, Any]
    height: int
    says: Text


@dataclass(frozen=True)
class Tile:
    """One number that stands out, what it is, and what it counts."""

    label: Text
    value: Text
    note: Text | None = None
    tone: str = ""


@dataclass(frozen=True)
class PyramidLevel:
    """One level of a drawn pyramid, from the top."""

    name: Text
    figure: Text
    needs: Text | None
    resources: Text | None
    strategy: Text | None


@dataclass(frozen=True)
class TagRow:
    """One tag of the catalogue with its quality. Coverages are shares of members and of visitors."""

    id: str
    name: Text
    kind: Text
    method: Text
    members: float | None
    visitors: float | None
    values: tuple[tuple[Text, str], ...]
    psi: str
    verdict: Text | None
    tone: str
    held: Text | None


@dataclass(frozen=True)
class TagBlock:
    """Tags below the two upper levels of their path."""

    name: Text
    tags: tuple[TagRow, ...]
    note: Text


@dataclass(frozen=True)
class Block:
    """One question answered: what is counted (``note``), a chart or tiles, the numbers, and the table they are from.

    ``missing`` says why there is nothing to show; ``shown``: the numbers stand open instead of behind a fold.
    """

    title: Text
    note: Text
    source: tuple[str, ...] = ()
    chart: Chart | None = None
    table: Table | None = None
    tiles: tuple[Tile, ...] = ()
    steps: tuple[PyramidLevel, ...] = ()
    groups: tuple[TagBlock, ...] = ()
    missing: Text | None = None
    wide: bool = False
    shown: bool = False


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    id: str
    title: Text
    intro: Text
    blocks: tuple[Block, ...] = field(default=())


def texts(part: Any) -> Iterator[Text]:
    """Every text in a part of the page, to see that both languages are there."""
    if isinstance(part, Text):
        yield part
    elif is_dataclass(part):
        for f in fields(part):
            yield from texts(getattr(part, f.name))
    elif isinstance(part, dict):
        for value in part.values():
            yield from texts(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from texts(value)


def count(value: float | None) -> str:
    """A whole number with thousands."""
    return "–" if value is None else f"{value:,.0f}"


def share(value: float | None, digits: int = 1) -> str:
    """A share as percent."""
    return "–" if value is None else f"{value:.{digits}%}"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with few decimals, trailing zeros left out."""
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def points(value: float | None, digits: int = 1) -> Text:
    """The difference of two shares, with its sign: percentage points, not percent."""
    if value is None:
        return same("–")
    text = f"{100 * value:+.{digits}f}"
    text = text.lstrip("+-") if not float(text) else text
    return Text(f"{text} 个百分点", f"{text} pp")
