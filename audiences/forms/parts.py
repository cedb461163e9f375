"""Files of a delivery in as many parts as the platform's limits ask for, each with its checksums."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from audiences.forms.lines import FileLine, Row, csv_head, lines_of_csv, lines_of_dmp, lines_of_ids, lines_of_json
from audiences.forms.workbook import CELL_BYTES, WorkbookWriter, lines_of_workbook
from audiences.platforms import Platform
from schemas.errors import ConfigurationError

MB = 1_000_000
PACKING = 1024
"""What a zip takes beside its content, at most."""
WORKBOOK = 16_384
"""What a workbook takes beside its rows, at most."""
PIECE = 1 << 20
SUFFIXES = {"csv": ".csv", "txt": ".txt", "jsonl": ".jsonl", "xlsx": ".xlsx", "dmp": ".txt"}


@dataclass(frozen=True)
class FilePart:
    """One file of a delivery. ``change``: who stands in it is new to the platform (add), or to be removed from it."""

    file: str
    rows: int
    bytes: int
    checksum: str
    md5: str
    change: str | None = None


class _Writer(Protocol):
    def write(self, content: Any) -> None: ...

    def close(self) -> None: ...


class _TextWriter:
    """A file of lines, or a zip with one such file."""

    def __init__(self, path: Path, inner: str | None, head: bytes):
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._zip = None if inner is None else zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)
        # A fixed time, so that the same rows give the same file.
        entry = None if inner is None else zipfile.ZipInfo(inner, (1980, 1, 1, 0, 0, 0))
        if entry is not None:
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        self._out: IO[bytes] = (
            self._file if self._zip is None or entry is None else self._zip.open(entry, "w", force_zip64=True)
        )
        self._lines, self._held = [head], len(head)

    def write(self, content: bytes) -> None:
        # Packing costs by the call as well as by the byte.
        self._lines.append(content)
        self._held += len(content)
        if self._held >= PIECE:
            self._flush()

    def _flush(self) -> None:
        self._out.write(b"".join(self._lines))
        self._lines, self._held = [], 0

    def close(self) -> None:
        self._flush()
        if self._zip is not None:
            self._out.close()
            self._zip.close()
        self._file.close()


def write_parts(
    folder: Path, name: str, platform: Platform, headers: Sequence[str], rows: Iterable[Row], change: str | None = None
) -> list[FilePart]:
    """The rows as files ``NAME.csv``, or ``NAME-1.csv``, ``NAME-2.csv``... where the limits ask for several.

    A piece of a file is in memory at a time. Without rows there is one file all the same, unless it is of changes.
    ConfigurationError where a single line is more than a file may hold.
    """
    suffix = SUFFIXES[platform.form]
    outer = ".zip" if platform.pack == "zip" else suffix
    most_rows, head = platform.most_rows, _head(platform, headers)
    most_bytes = None if platform.limits.mb is None else int(platform.limits.mb * MB) - _beside(platform, headers, head)
    written: list[tuple[Path, int]] = []
    writer: _Writer | None = None
    inside = size = 0

    def opened() -> _Writer:
        path = folder / f"{name}-{len(written) + 1}{outer}"
        written.append((path, 0))
        if platform.form == "xlsx":
            return WorkbookWriter(path, headers if platform.header else None)
        return _TextWriter(path, f"{name}{suffix}" if platform.pack == "zip" else None, head)

    try:
        for line in _lines(platform, headers, rows):
            if most_bytes is not None and line.bytes > most_bytes:
                raise ConfigurationError(
                    f"one line of {name}{suffix} takes {line.bytes:,} bytes, and a file may have "
                    f"{platform.limits.mb:g} MB: make limits.mb larger, or rows_per_line smaller"
                )
            full = (most_rows is not None and inside + line.rows > most_rows) or (
                most_bytes is not None and size + line.bytes > most_bytes
            )
            if writer is not None and full:
                writer.close()
                writer, inside, size = None, 0, 0
            writer = writer or opened()
            writer.write(line.content)
            inside, size = inside + line.rows, size + line.bytes
            written[-1] = (written[-1][0], inside)
        if not written and change is None:
            writer = opened()
    finally:
        if writer is not None:
            writer.close()
    if len(written) == 1:
        whole = folder / f"{name}{outer}"
        written = [(written[0][0].rename(whole), written[0][1])]
    return [_described(path, count, change) for path, count in written]


def _lines(platform: Platform, headers: Sequence[str], rows: Iterable[Row]) -> Iterator[FileLine]:
    if platform.form == "csv":
        return lines_of_csv(rows, platform.excel)
    if platform.form == "txt":
        return lines_of_ids(rows)
    # A line is never of more rows than its file may have.
    per_line = min((n for n in (platform.rows_per_line, platform.most_rows) if n is not None), default=None)
    if platform.form == "jsonl":
        return lines_of_json(rows, headers, None if platform.rows_per_line is None else per_line)
    if platform.form == "dmp":
        return lines_of_dmp(rows, headers, per_line)
    return lines_of_workbook(rows)


def _head(platform: Platform, headers: Sequence[str]) -> bytes:
    if platform.form != "csv":
        return b""
    return csv_head(headers, platform.excel) if platform.header else csv_head((), platform.excel)[:-2]


def _beside(platform: Platform, headers: Sequence[str], head: bytes) -> int:
    """Bytes of a file that are no rows."""
    if platform.form == "xlsx":
        return WORKBOOK + sum(CELL_BYTES + 7 * len(h) for h in headers)
    return len(head) + (PACKING if platform.pack == "zip" else 0)


def _described(path: Path, rows: int, change: str | None) -> FilePart:
    size, sha256, md5 = digests(path)
    return FilePart(path.name, rows, size, f"sha256:{sha256}", md5, change)


def digests(path: Path) -> tuple[int, str, str]:
    """Bytes, SHA-256 and MD5 of a file; a piece of it is in memory at a time."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            sha256.update(piece)
            md5.update(piece)
            size += len(piece)
    return size, sha256.hexdigest(), md5.hexdigest()
