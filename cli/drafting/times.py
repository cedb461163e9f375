"""How the times of a file are written: decided by all of its rows, with the proof; what they leave open is asked.

Which of two figures is the day shows only where one is above 12. One file is written by one program, so a column that
proves the order proves it for the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import duckdb
import pyarrow as pa

from cli.drafting.forms import is_serial
from cli.drafting.sample import Sample
from cli.drafting.words import words
from features.sources import Mapping
from jobs.ingest.reading import read_blocks
from schemas.errors import InputError
from schemas.quarantine import literal

_FIGURES = r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(\D.*)?$"
_OFFSET = r":\d{2}(\.\d+)?\s*([Zz]|UTC|GMT|[+-]\d{2}(:?\d{2})?)$"
_EPOCHS = {10: "epoch_seconds", 13: "epoch_milliseconds", 16: "epoch_microseconds"}
_READ_BY_AUTO = re.compile(r"\d{4}\s*[-/.年]|\d{8}$|\d{12}$|\d{14}$|\d{4}$")
MOST_SHAPES = 20


@dataclass
class Counts:
    """Of one column over all rows: values there, and how many are written in which way."""

    there: int = 0
    figures: int = 0
    first_above: int = 0
    second_above: int = 0
    offsets: int = 0
    shapes: set[str] = field(default_factory=set)
    months: dict[str, int] = field(default_factory=dict)

    def add(self, row: Sequence[int], shapes: Sequence[str]) -> None:
        self.there += row[0]
        self.figures += row[1]
        self.first_above += row[2]
        self.second_above += row[3]
        self.offsets += row[4]
        for name, n in zip(words()["named_months"], row[5:], strict=True):
            self.months[name] = self.months.get(name, 0) + n
        if len(self.shapes) < MOST_SHAPES:
            self.shapes |= set(shapes)


@dataclass(frozen=True)
class Written:
    """How one column of times is written: ``forms`` for ``time:`` (empty: ``auto`` reads it), and why.

    ``asked``: the rows do not tell; ``forms`` is one of several ways. ``zoned``: the stamps name their zone, or count
    from 1970, so no zone is to be asked for.
    """

    forms: tuple[str, ...] = ()
    why: str = ""
    asked: bool = False
    zoned: bool = False


def ways_of_writing(
    sample: Sample, columns: Sequence[str], connection: duckdb.DuckDBPyConnection
) -> dict[str, Written]:
    """For each of ``columns``, how its times are written. Reads the whole file once if that matters."""
    open_ones = [c for c in columns if not _known_by_digits(sample.values(c))]
    counts, rows = _count(sample, open_ones, connection)
    first = sum(c.first_above for c in counts.values())
    second = sum(c.second_above for c in counts.values())
    found = {}
    for column in columns:
        known = _known_by_digits(sample.values(column))
        found[column] = known or _decided(column, counts[column], first, second, rows)
    return found


def _known_by_digits(values: Sequence[str]) -> Written | None:
    """Epochs and days counted by a spreadsheet, which need no look at all rows."""
    if not values:
        return Written()
    for length, name in _EPOCHS.items():
        if all(re.fullmatch(rf"1\d{{{length - 1}}}", v) for v in values):
            return Written((name,), zoned=True)
    if all(is_serial(v) for v in values):
        day = date(1899, 12, 30) + timedelta(days=int(float(values[0])))
        return Written(("excel_serial",), f"days as a spreadsheet counts them: {values[0]} is {day.isoformat()}")
    return None


def _decided(column: str, counts: Counts, first: int, second: int, rows: str) -> Written:
    zoned = counts.offsets > 0.5 * counts.there
    if counts.figures:
        return _figures(column, counts, first, second, rows)
    name, n = max(counts.months.items(), key=lambda m: m[1], default=("", 0))
    if n and n >= 0.5 * counts.there:
        return Written((name,), f"{name} reads {n:,} of {counts.there:,} values in {rows}")
    if zoned:
        return Written((), f"{counts.offsets:,} of {counts.there:,} stamps carry their own zone", zoned=True)
    return Written()


def _figures(column: str, counts: Counts, first: int, second: int, rows: str) -> Written:
    """Day or month first? A figure above 12 is a day; none, or both, leave it open."""
    both, neither = first > 0 and second > 0, first == 0 and second == 0
    day_first = first > 0 and second == 0
    forms = _formats(counts, day_first=day_first)
    other = _formats(counts, day_first=not day_first)
    if neither:
        why = f"no figure above 12 in {rows}: month first? If the day is first: {', '.join(other)}"
        return Written(forms, why, asked=True)
    if both:
        why = f"a figure above 12 stands first {first:,} times and second {second:,} times in {rows}: which is meant?"
        return Written(forms, why, asked=True)
    own = counts.first_above if day_first else counts.second_above
    place = "first" if day_first else "second"
    said = f"{own:,} of {counts.there:,}" if own else f"as in another column of {rows}; none of {counts.there:,}"
    proof = f"day 13..31 seen in {place} place in {said} values in {rows}"
    return Written(forms if forms else (), proof, asked=not forms)


def _formats(counts: Counts, *, day_first: bool) -> tuple[str, ...]:
    """Formats of the shapes that were seen; ``auto`` last where some values are written in other ways."""
    made = {_format(shape, day_first=day_first) for shape in counts.shapes}
    return (*sorted(f for f in made if f), *(["auto"] if counts.figures < counts.there else []))


def _format(shape: str, *, day_first: bool) -> str | None:
    """``9/9/Y 9:9 P`` is ``%m/%d/%Y %I:%M %p``; None for what is no date in figures."""
    if not re.match(r"9[/.-]9[/.-][9Y]", shape):
        return None
    half = "P" in shape
    parts = iter(["%d" if day_first else "%m", "%m" if day_first else "%d"])
    clock = iter(["%I" if half else "%H", "%M", "%S", "%f"])
    text, at = "", 0
    for ch in shape:
        if ch in "9Y" and at < 3:
            text += next(parts) if at < 2 else ("%Y" if ch == "Y" else "%y")
            at += 1
        elif ch == "9":
            text += next(clock, "")
        else:
            text += "%p" if ch == "P" else ch
    return text if re.fullmatch(r"[%a-zA-Z/.:, T-]+", text) else None


def _count(sample: Sample, columns: Sequence[str], con: duckdb.DuckDBPyConnection) -> tuple[dict[str, Counts], str]:
    """Counts of each column, and which rows they are of: all, or the first ones where the file cannot be read whole."""
    counts, n = {c: Counts() for c in columns}, len(sample.rows)
    if not columns:
        return counts, ""
    if not all(all(map(_READ_BY_AUTO.match, sample.values(c))) for c in columns):
        try:
            n = 0
            for table in _whole(sample, columns, con):
                n += len(table)
                _add(counts, con, table)
            return counts, f"all {n:,} rows"
        except InputError:
            counts, n = {c: Counts() for c in columns}, len(sample.rows)
    _add(counts, con, _table(sample, columns))
    return counts, f"the first {n:,} rows"


def _whole(sample: Sample, columns: Sequence[str], con: duckdb.DuckDBPyConnection) -> Iterator[pa.Table]:
    mapping = Mapping.model_validate(
        reading_of(sample) | {"feed": "orders", "fields": {f"f{k}": {"column": c} for k, c in enumerate(columns)}}
    )
    for block in read_blocks(sample.file, sample.file.name, mapping, con):
        places = [list(block.columns).index(c) for c in columns]
        yield pa.table({f"c{k}": block.table[f"c{p}"] for k, p in enumerate(places)})


def _table(sample: Sample, columns: Sequence[str]) -> pa.Table:
    return pa.table({f"c{k}": pa.array(sample.cells(c), pa.string()) for k, c in enumerate(columns)})


def _add(counts: dict[str, Counts], con: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
    con.register("block", table)
    for k, column in enumerate(counts):
        figures = [f"try_cast(regexp_extract(v, '{_FIGURES}', {n}) as integer) > 12" for n in (1, 2)]
        tests = [f"regexp_matches(v, '{_FIGURES}')", *figures, f"regexp_matches(v, '{_OFFSET}')"]
        # Reading a time by every format is slow, so only where letters stand in it.
        lettered = "regexp_matches(v, '[A-Za-z]{3}')"
        tests += [f"{lettered} and try_strptime(v, {literal(name)}) is not null" for name in words()["named_months"]]
        asked = ", ".join(["count(*)", *(f"count(*) filter ({t})" for t in tests)])
        values = f"(select trim(c{k}) as v from block where trim(coalesce(c{k}, '')) <> '')"
        row = con.sql(f"select {asked} from {values}").fetchall()[0]
        short = "regexp_replace(regexp_replace(v, '\\d{4}', 'Y', 'g'), '\\d+', '9', 'g')"
        shape = f"regexp_replace({short}, '(?i)\\b[ap]m\\b', 'P')"
        shapes = con.sql(
            f"select distinct {shape} from {values} where regexp_matches(v, '{_FIGURES}') limit {MOST_SHAPES}"
        )
        counts[column].add(row, [s for (s,) in shapes.fetchall()])
    con.unregister("block")


def reading_of(sample: Sample) -> dict[str, object]:
    """The keys of a mapping that say how the file is read, without those that hold by default."""
    said: dict[str, object] = {"files": "x", "format": sample.form}
    if sample.form != "parquet":
        said["encoding"] = sample.encoding
    if sample.form == "csv":
        said |= {"delimiter": sample.delimiter} if sample.delimiter != "," else {}
        said |= {"skip_rows": sample.skip_rows} if sample.skip_rows else {}
        said |= {"quoting": "none"} if not sample.quoted else {}
        said |= {} if sample.header else {"header": False, "columns": sample.columns}
    return said
