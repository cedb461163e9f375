"""A delivery: one folder with its files and their manifest, which appears whole or not at all.

A CSV is safe to open in a spreadsheet. A text cell that a spreadsheet would run as a formula or turn into a number
gets one apostrophe in front, and so does a text that begins with an apostrophe: taking one leading apostrophe off each
text cell gives the values back.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from schemas.errors import HuaxiangError
from schemas.money import main_units, minor_digits

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
MARK = "'"
MANIFEST = "manifest.json"
_PARTIAL = ".partial-"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")
_BECOMES_NUMBER = re.compile(r"\d{12,}|0\d+|\d+(\.\d*)?[eE][+-]?\d+")
_E164 = re.compile(r"\+\d{7,15}", re.ASCII)
_LONGEST_EXACT_INTEGER = 15
_PIECE = 1 << 20


class DeliveryExistsError(HuaxiangError):
    """A delivery of that name is there already; nothing was written."""


def starts_formula(text: str) -> bool:
    """Whether a spreadsheet could run ``text``.

    What comes before the first visible character is looked through (spaces, byte-order marks, zero-width characters),
    and full-width forms count as what they stand for.
    """
    if text.startswith(_FORMULA):
        return True
    if text.isascii() and text[:1].isalnum():
        return False
    folded = unicodedata.normalize("NFKC", text)
    seen = next((c for c in folded if unicodedata.category(c) not in _INVISIBLE), "")
    return seen in _FORMULA


def becomes_number(text: str) -> bool:
    """Whether a spreadsheet would show other digits than these: long ids, leading zeros, ``12E5``."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _BECOMES_NUMBER.fullmatch(text.strip()) is not None


def cell(value: Any, excel: bool = True) -> str:
    """One value as the text of a CSV cell; absent is empty.

    Text that starts a formula or with an apostrophe is marked; for ``excel`` also text that would become a number, and
    whole numbers of more than 15 digits, which would be rounded. Otherwise telephone numbers (+8613…) stay as they are.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        text = str(value)
        return MARK + text if excel and len(text.lstrip("-")) > _LONGEST_EXACT_INTEGER else text
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return MARK + text if excel and len(value.as_tuple().digits) > _LONGEST_EXACT_INTEGER else text
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    text = str(value)
    if not excel and _E164.fullmatch(text):
        return text
    if text.startswith(MARK) or (excel and becomes_number(text)) or (text != "" and starts_formula(text)):
        return MARK + text
    return text


def in_main_units(table: pa.Table, money: Iterable[str], currency: str) -> pa.Table:
    """The columns ``money`` of minor units as decimals of the currency: 361300 is 3613.00 in CNY."""
    kind = pa.decimal128(38, minor_digits(currency))
    for name in money:
        values = [None if v is None else main_units(v, currency) for v in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(values, kind))
    return table


def money_header(name: str, unit: str) -> str:
    """The header of a column of money, which says its unit: a currency for main units, or ``minor``."""
    return f"{name.removesuffix('_minor')}_{unit}"


def csv_bytes(table: pa.Table, excel: bool = True) -> bytes:
    """The table as CSV: UTF-8, header of column names, CR LF, quotes where needed.

    For ``excel`` with a byte-order mark, and with every cell marked that a spreadsheet would change (see ``cell``).
    """
    out = io.StringIO(newline="")
    write_csv(out, table.schema, table.to_batches(), excel)
    return ((BOM if excel else "") + out.getvalue()).encode()


def write_csv(out: TextIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch], excel: bool = True) -> None:
    """Header and rows of ``csv_bytes`` into a text file opened with ``newline=""``; one batch is in memory at a time."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([cell(name) for name in schema.names])
    for batch in batches:
        columns = [[cell(v, excel) for v in column.to_pylist()] for column in batch.columns]
        writer.writerows(zip(*columns, strict=True))


@contextmanager
def delivery_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside ``folder`` to write into; it takes the name in one rename when the block ends well.

    All of it is there afterwards or nothing, whatever happens in between. DeliveryExistsError if the name is taken:
    nothing is ever overwritten. Only the owner may read what was written: it may hold contacts.
    """
    if folder.exists():
        raise DeliveryExistsError(f"{folder} is there already; deliveries are never overwritten")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent / f"{_PARTIAL}{folder.name}-{uuid.uuid4().hex}"
    partial.mkdir(mode=0o700)
    try:
        yield partial
        _sync_folder(partial)
        try:
            partial.rename(folder)
        except OSError:
            raise DeliveryExistsError(f"{folder} appeared meanwhile; deliveries are never overwritten") from None
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def seal(partial: Path, manifest: Mapping[str, Any]) -> None:
    """Sync the files that the manifest lists, and write it beside them: what a delivery ends with."""
    for listed in listed_files(manifest):
        _sync_file(partial / listed["file"])
    _write_synced(partial / MANIFEST, manifest_bytes(manifest))


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, ensure_ascii=False, indent=2) + "\n").encode()


def listed_files(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every file of a delivery but the manifest: ``files`` are for the platform, ``beside`` for who delivers."""
    return [*manifest["files"], *manifest.get("beside", ())]


def checksum_of(files: Sequence[Mapping[str, Any]]) -> str:
    """One checksum of a delivery's files: of one file its own, of several that of their checksums and names."""
    if len(files) == 1:
        return str(files[0]["checksum"])
    lines = "".join(f"{f['checksum'].removeprefix('sha256:')}  {f['file']}\n" for f in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a delivery; HuaxiangError if the files beside it are not those that it describes."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))

    def pieces(name: str) -> Iterator[bytes] | None:
        path = folder / name
        return _pieces(path) if path.is_file() else None

    refuse_changed(manifest, pieces, str(folder))
    return manifest


def refuse_changed(manifest: Mapping[str, Any], pieces: Callable[[str], Iterable[bytes] | None], place: str) -> None:
    """HuaxiangError where a file of a delivery is not the one that its manifest describes; None for pieces: it is gone."""
    for listed in listed_files(manifest):
        found, digest = pieces(listed["file"]), hashlib.sha256()
        for piece in found or ():
            digest.update(piece)
        if found is None or f"sha256:{digest.hexdigest()}" != listed["checksum"]:
            what = "is gone" if found is None else "was changed"
            raise HuaxiangError(f"{place}/{listed['file']} {what} after it was delivered; export it again (--again)")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def write_beside(folder: Path, name: str, content: bytes) -> None:
    """A note beside a delivery's files, whole or as it was."""
    partial = folder / f"{_PARTIAL}{uuid.uuid4().hex}"
    _write_synced(partial, content)
    partial.replace(folder / name)


def clear_partials(parent: Path) -> int:
    """Remove what killed deliveries left in ``parent``; call it only while no other delivery there is running."""
    found = [p for p in parent.glob(f"{_PARTIAL}*") if p.is_dir()] if parent.is_dir() else []
    for p in found:
        shutil.rmtree(p, ignore_errors=True)
    return len(found)


def unmarked(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """Cells as they were before marking: one leading apostrophe taken off each."""
    return [[c[1:] if c.startswith(MARK) else c for c in row] for row in rows]


def _write_synced(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())


def _sync_file(path: Path) -> None:
    with path.open("rb+") as f:
        os.fsync(f.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
