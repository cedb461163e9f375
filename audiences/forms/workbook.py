"""Rows as an Excel workbook that opens without a question: text is text, whatever it looks like.

Long ids, leading zeros and ``=...`` are cells of text, never numbers or formulas, so nothing in them needs a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiences.delivery import cell
from audiences.forms.lines import FileLine, Row

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

SHEET = "Sheet1"
CELL_BYTES = 80
"""What a cell takes in the sheet's XML beside its value, at most."""
DIGITS = 15
"""A number of more would be rounded."""
_TEXT = {
    "strings_to_numbers": False,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "constant_memory": True,
    "in_memory": False,
}


def lines_of_workbook(rows: Iterable[Row]) -> Iterator[FileLine]:
    """Each row with the most bytes that it can take."""
    for row in rows:
        cells = [_value(v) for v in row]
        yield FileLine(cells, 1, sum(CELL_BYTES + _most_bytes(v) for v in cells if v is not None))


def _value(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if len(str(abs(value))) <= DIGITS else str(value)
    if isinstance(value, Decimal):
        return float(value) if len(value.as_tuple().digits) <= DIGITS else f"{value:f}"
    if isinstance(value, (datetime, date)):
        return cell(value, excel=False)
    return str(value)


def _most_bytes(value: Any) -> int:
    """In XML an ampersand is five bytes, and a control character ``_x0001_`` seven."""
    if not isinstance(value, str):
        return 24
    return len(value.encode()) if value.isalnum() else 7 * len(value)


class WorkbookWriter:
    """One workbook of one sheet; a row is on disk as soon as the next one comes."""

    def __init__(self, path: Path, headers: Sequence[str] | None):
        import xlsxwriter

        self._path = path
        self._book: Any = xlsxwriter.Workbook(str(path), {**_TEXT, "tmpdir": str(path.parent)})
        # The same rows give the same file, whenever it is made.
        self._book.set_properties({"created": datetime(2000, 1, 1)})
        self._sheet: Worksheet = self._book.add_worksheet(SHEET)
        self._sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
        self._row = 0
        if headers is not None:
            self.write(list(headers))
            self._sheet.freeze_panes(1, 0)

    def write(self, cells: Sequence[Any]) -> None:
        for i, value in enumerate(cells):
            if isinstance(value, str):
                self._sheet.write_string(self._row, i, value)
            elif isinstance(value, bool):
                self._sheet.write_boolean(self._row, i, value)
            elif isinstance(value, (int, float)):
                self._sheet.write_number(self._row, i, value)
        self._row += 1

    def close(self) -> None:
        self._book.close()
        self._path.chmod(0o600)
