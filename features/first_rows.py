"""Is the first row of a table a header, or does it hold data already? Asked of the cells and of the rows below them.

A file without a header loses its first row without a word where a mapping takes that row's values for names. A sign is
one that names of columns do not give: a time over times, a phone number, a price, a text of the very form of all below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TIME = re.compile(
    r"\d{4}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,2}\s*日?([\sT]*\d{1,2}[:时].*)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}(\s+\d{1,2}:.*)?"
)
CONTACT = re.compile(r"(\+?86[\s-]?)?1[3-9]\d{9}|[^@\s]+@[^@\s]+\.[^@\s.]+")
PRICE = re.compile(r"[¥￥$€£]\s*-?\d[\d.,]*|-?\d{1,3}(,\d{3})+(\.\d+)?|-?\d+[.,]\d{1,4}(\s*[元¥￥$€£])?")
NUMBER = re.compile(r"-?\d+([.,]\d+)?%?")
LONG_DIGITS = 8
"""No column is called by a number of so many digits."""
FEWEST_ROWS = 3
"""Rows below that a form must hold in to say anything."""


def is_value(cell: str) -> bool:
    """Can the text be nothing but a value: a day or time, a phone number, an address of e-mail?"""
    return bool(TIME.fullmatch(cell) or CONTACT.fullmatch(cell))


def sign_of_data(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Why ``cells`` must be data and no names of columns, in words without the values; empty if they may be names.

    ``rows`` are those below, of which only such with as many cells count.
    """
    filled = [c for c in cells if c]
    if len(filled) > 1 and all(is_value(c) or NUMBER.fullmatch(c) or PRICE.fullmatch(c) for c in filled):
        return "all its cells are numbers, times or contacts"
    below = [[c.strip(" \t\ufeff") for c in row] for row in rows if len(row) == len(cells)]
    below = [row for row in below if row != list(cells)]
    values = [[row[k] for row in below if row[k]] for k in range(len(cells))]
    for what, form in (("a time", TIME), ("a phone number or e-mail address", CONTACT), ("a price", PRICE)):
        for k, cell in enumerate(cells):
            if form.fullmatch(cell) and values[k] and all(form.fullmatch(v) for v in values[k]):
                return f"cell {k + 1} is {what}, as those below it are"
    for k, cell in enumerate(cells):
        if len(values[k]) >= FEWEST_ROWS and _tells(cell) and all(_form(v) == _form(cell) for v in values[k]):
            return f"cell {k + 1} has the form of all those below it"
    # One may be chance, and a column that holds its own name or nothing is an answer of a survey.
    repeated = sum(bool(cell) and cell in mine and len(set(mine)) > 1 for cell, mine in zip(cells, values, strict=True))
    return f"{repeated} of its cells stand below themselves as values" if repeated > 1 else ""


def _tells(cell: str) -> bool:
    """Has the text a form of its own: several digits beside other signs, or a long number?"""
    digits = sum(c.isdigit() for c in cell)
    return digits >= LONG_DIGITS or (digits > 1 and not cell.isdigit())


def _form(text: str) -> str:
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))
