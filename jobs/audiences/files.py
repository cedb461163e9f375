"""The files of one delivery: rows in parts as the platform takes them, and beside them what could not leave."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa

from audiences.delivery import in_main_units
from audiences.forms.lines import csv_head, lines_of_csv
from audiences.forms.parts import FilePart, digests, write_parts
from audiences.platforms import EXCEL_CHARACTERS, PlatformColumn, filled
from jobs.audiences.sent import SENT, SentChanges, write_sent
from project.audience_file import FileRows, id_name
from project.platforms import Target

REJECTED = "rejected.csv"
ROWS = 10_000
"""Rows that are Python's at a time."""


@dataclass
class WrittenFiles:
    """What was written into a delivery's folder. ``beside`` are files for who delivers, not for the platform."""

    parts: list[FilePart] = field(default_factory=list)
    beside: list[dict[str, Any]] = field(default_factory=list)
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)
    added: int | None = None
    removed: int | None = None


class _Rejects:
    """``rejected.csv``: uid, column, masked value and reason of every value that could not leave."""

    def __init__(self, folder: Path, counts: Mapping[str, Mapping[str, int]]):
        self.path, self.rows = folder / REJECTED, 0
        self.counts = {header: dict(by_reason) for header, by_reason in counts.items()}
        self._out: Any = None

    def add(self, rows: Iterable[tuple[int, str, str, str]]) -> None:
        for line in lines_of_csv(rows, excel=True):
            if self._out is None:
                self._out = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
                self._out.write(csv_head(("uid", "column", "value", "reason"), excel=True))
            self._out.write(line.content)
            self.rows += 1

    def too_long(self, uid: int, header: str, reason: str) -> None:
        by_reason = self.counts.setdefault(header, {})
        by_reason[reason] = by_reason.get(reason, 0) + 1
        self.add([(uid, header, "***", reason)])

    def closed(self) -> list[dict[str, Any]]:
        if self._out is None:
            return []
        self._out.close()
        return [beside(self.path, self.rows)]


def beside(path: Path, rows: int) -> dict[str, Any]:
    size, sha256, _ = digests(path)
    return {"file": path.name, "rows": rows, "bytes": size, "checksum": f"sha256:{sha256}"}


def write_delivery(
    folder: Path, target: Target, found: FileRows, words: Mapping[str, Any], currency: str, changes: SentChanges | None
) -> WrittenFiles:
    """Everything but the manifest. With ``changes`` the files hold these, and ``sent.parquet``, which lies there already, all."""
    rejects = _Rejects(folder, found.rejected)
    rejects.add(found.rejects())
    writing = _Writing(folder, target, words, currency, rejects)
    done = WrittenFiles()
    if changes is None:
        done.parts = writing.parts(writing.rows(found.tables()), None)
    else:
        came, went = writing.rows(_added(found, changes), "added"), writing.rows(changes.removed_rows(), "removed")
        if target.platform.tells_changes_in_rows:
            done.parts = writing.parts(_chained(came, went), "both")
        else:
            done.parts = [*writing.parts(came, "add"), *writing.parts(went, "remove")]
        done.added = found.rows if changes.added is None else len(changes.added)
        done.removed = changes.people_removed
        done.beside.append(beside(folder / SENT, found.rows))
    done.beside += rejects.closed()
    done.rejected = rejects.counts
    return done


def sent_file(folder: Path, target: Target, found: FileRows) -> Path:
    """Writes what the platform has after the delivery."""
    write_sent(folder / SENT, found, target.columns)
    return folder / SENT


def _chained(*rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for some in rows:
        yield from some


def _added(found: FileRows, changes: SentChanges) -> Iterator[pa.Table]:
    for table in found.tables():
        mask = changes.is_added(table["uid"])
        yield table if mask is None else table.filter(mask)


class _Writing:
    """Rows of tables as the platform's columns, and these as files."""

    def __init__(self, folder: Path, target: Target, words: Mapping[str, Any], currency: str, rejects: _Rejects):
        self.folder, self.target, self.words, self.currency, self.rejects = folder, target, words, currency, rejects
        limits = target.platform.limits
        self.most_bytes = limits.cell_bytes
        self.most_characters = EXCEL_CHARACTERS if target.platform.form == "xlsx" or target.platform.excel else None

    def parts(self, rows: Iterator[tuple[Any, ...]], change: str | None) -> list[FilePart]:
        name = filled(self.target.platform.file, {**self.words, "change": change or "all"})
        if change in ("add", "remove") and "{change}" not in self.target.platform.file:
            name = f"{name}-{change}"
        return write_parts(self.folder, name, self.target.platform, self.target.headers, rows, change)

    def rows(self, tables: Iterable[pa.Table | pa.RecordBatch], when: str | None = None) -> Iterator[tuple[Any, ...]]:
        for table in tables:
            whole = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
            for start in range(0, len(whole), ROWS):
                yield from self._piece(whole.slice(start, ROWS), when)

    def _piece(self, table: pa.Table, when: str | None) -> Iterator[tuple[Any, ...]]:
        platform = self.target.platform
        if platform.money == "main":
            money = [m for m in self.target.money if m in table.column_names]
            table = in_main_units(table, money, self.currency)
        columns = zip(self.target.columns, self.target.headers, strict=True)
        return zip(*(self._values(table, i, c, h, when) for i, (c, h) in enumerate(columns)), strict=True)

    def _values(
        self, table: pa.Table, number: int, column: PlatformColumn, header: str, when: str | None
    ) -> Iterable[Any]:
        if column.member_field is not None:
            # Rows of who went hold the ids only, by which the platform removes them.
            name = id_name(number)
            return table[name].to_pylist() if name in table.column_names else repeat(None, len(table))
        if column.profile is None:
            given = column.when is None or column.when == when
            return repeat(filled(column.value or "", self.words) if given else None, len(table))
        if column.profile not in table.column_names:
            return repeat(None, len(table))
        values: list[Any] = table[column.profile].to_pylist()
        return self._short(table["uid"], values, header) if self.most_bytes or self.most_characters else values

    def _short(self, uids: pa.ChunkedArray, values: Sequence[Any], header: str) -> list[Any]:
        """Texts that a cell takes; others are absent, and told."""
        kept: list[Any] = []
        for i, value in enumerate(values):
            reason = self._too_long(value) if isinstance(value, str) else None
            if reason is not None:
                self.rejects.too_long(uids[i].as_py(), header, reason)
            kept.append(value if reason is None else None)
        return kept

    def _too_long(self, text: str) -> str | None:
        if self.most_bytes is not None and len(text.encode()) > self.most_bytes:
            return f"longer than {self.most_bytes} bytes"
        # One less: a cell of a CSV for Excel may need its mark.
        if self.most_characters is not None and len(text) > self.most_characters - 1:
            return f"longer than {self.most_characters - 1:,} characters"
        return None


def as_listed(part: FilePart) -> dict[str, Any]:
    """A part as the manifest lists it."""
    return {k: v for k, v in asdict(part).items() if v is not None}
