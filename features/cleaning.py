"""Rows of text to typed rows of a feed: what a mapping and a contract say, as one SQL statement over a block.

A block is an Arrow table of text columns ``c0``, ``c1``, ... in the file's order; the file's own column names appear
in generated SQL as string literals only. Good rows are never touched one by one: DuckDB evaluates whole columns, and
only the rows that a check refuses are looked at again to write down their reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import text_forms as forms
from features.block_shape import Shape, look
from features.cleaning_sql import Composer, form_name
from features.cleaning_texts import PLACE
from features.instants import NO_TIME, business_months, instants_of
from features.person_forms import FORMS
from features.sources import Mapping
from schemas.arrow import arrow_field
from schemas.contracts import Contract

FEW_ROWS = 4096
FEW = 64
"""Rows that are put into their place by cutting a table around them, which copies nothing."""


@dataclass(frozen=True)
class Cleaned:
    """A block after cleaning; arrays run over the rows that ``where`` selects, in the block's order.

    ``position`` is the row's place in the block. ``rows`` has the mapped fields typed, ``row_hash`` and, where the key
    is made from the content, no key yet. ``refused`` marks rows for quarantine, of which ``reasons`` has one text each.
    ``moved`` marks rows with a stamp in a daylight-saving gap or overlap. ``event_us`` is microseconds UTC, with
    ``NO_TIME`` where no event time is known. ``unread`` has for a phone or address of e-mail the form of each text that
    is none (``features.person_forms.FORMS``), null for the others.
    """

    position: np.ndarray
    raw: pa.ChunkedArray
    rows: pa.Table
    event_us: np.ndarray
    month: np.ndarray
    moved: np.ndarray
    refused: np.ndarray
    reasons: pa.ChunkedArray
    unread: dict[str, pa.ChunkedArray]


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
        self.connection = connection
        self.composer = Composer(mapping, currency=currency, guest_ids=guest_ids, salt=salt)
        self._mostly_plain = True

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of ``Cleaned.rows``: the mapped fields in contract order, then ``row_hash``."""
        return pa.schema([*(arrow_field(c.field) for c in self.composer.fields), pa.field("row_hash", pa.string())])

    def __call__(self, block: pa.Table, columns: Sequence[str]) -> Cleaned:
        """``columns`` are the file's column names for ``c0``..; a ``raw`` column, where present, is kept as it is.

        ``place`` tells the row from every other of every file; without one, as in a preview, the block is the file.

        Every row is read quickly first; the rows that this refuses are read again thoroughly, and only what that
        refuses too is refused.
        """
        block = block.append_column("i", pa.array(np.arange(len(block), dtype=np.int64)))
        if self.composer.needs_place and PLACE not in block.column_names:
            block = block.append_column(PLACE, block["i"].cast(pa.string()))
        shape = look(block, columns)
        if not self.composer.likely:
            self.composer.likely = self._likely_times(block, columns)
        moved = np.zeros(len(block), dtype=bool)
        found, unread = self._evaluated(block, shape, moved, thorough=not self._mostly_plain)
        read = found
        if len(unread) and self._mostly_plain:
            self._mostly_plain = len(unread) < len(found) / 4
            read, unread = self._evaluated(unread, shape, moved, thorough=True)
            found = _replaced(found, read.select(found.column_names))
        said = pa.chunked_array([pa.array([], pa.string())])
        if len(unread):
            said = read.filter(read["refused"])["reasons"]
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
            unread={f: found[form_name(f)] for f in FORMS if form_name(f) in found.column_names},
        )

    def _likely_times(self, block: pa.Table, columns: Sequence[str]) -> dict[str, str]:
        """For each time, the format of its first value: trying the others first is what reading times costs."""
        found = {}
        for col in self.composer.fields:
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
        statements = self.composer.statements(shape, thorough=thorough)
        if self.composer.stamps:
            block = self._with_instants(block, statements.times, moved)
        found = self._run(statements.typed, block)
        refused = found.filter(found["refused"])["i"]
        if not len(refused):
            return found, block.slice(0, 0)
        again = block.filter(pc.is_in(block["i"], value_set=refused.combine_chunks()))
        return found, again if thorough else again.drop_columns([f"u{n}" for n in range(len(self.composer.stamps))])

    def _run(self, statement: str, block: pa.Table) -> pa.Table:
        # The name is looked up by DuckDB among registered tables only.
        self.connection.register("block", block)
        try:
            if len(block) > FEW_ROWS:
                return self.connection.sql(statement).to_arrow_table()
            # Of few rows nearly all is planning: a relation is bound twice before it is run, a table once.
            self.connection.execute(f"create or replace temp table made as {statement}")
            return self.connection.sql("from made").to_arrow_table()
        finally:
            self.connection.unregister("block")

    def _with_instants(self, block: pa.Table, statement: str, moved: np.ndarray) -> pa.Table:
        """The block with ``u<n>``, microseconds UTC of every mapped time; marks in ``moved`` what a clock change hit."""
        found = self._run(statement, block)
        for n, col in enumerate(self.composer.stamps):
            rule = self.mapping.fields[col.name]
            zone = rule.time_zone or self.mapping.time_zone or self.zone
            instants, hit = instants_of(found[f"n{n}"], zone)
            if zone != self.zone:
                # a date without a time has no zone: it is that business day, whatever zone the source's stamps are in
                days = pc.fill_null(found[f"d{n}"], False)
                instants = pc.if_else(days, instants_of(found[f"n{n}"], self.zone)[0], instants)
                hit = hit & ~days.to_numpy()
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
