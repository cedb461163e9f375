"""What ingest found in one file, counted by kind, each with the first row that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.person_forms import FORMS

KINDS = ("reasons", "unread", "remarks")
"""Findings of a file: why rows are in quarantine, texts that are absent because they are no phone or address, and more."""
_VALUE = r"^([A-Za-z_]+: )'.*' "
_EXAMPLE = re.compile(r"^[A-Za-z_]+: '(.*)' ")


@dataclass
class Finding:
    """``what`` was found in ``rows`` rows, first in ``row``; ``example`` is its text, masked where it is personal."""

    what: str
    rows: int
    row: int
    example: str | None = None


class Findings(dict[str, Finding]):
    """Findings of one file by what they say."""

    def add(self, found: Finding) -> None:
        known = self.setdefault(found.what, Finding(found.what, 0, found.row, found.example))
        known.rows += found.rows
        if found.row < known.row:
            known.row, known.example = found.row, found.example

    def listed(self) -> list[Finding]:
        """The most frequent first."""
        return sorted(self.values(), key=lambda f: (-f.rows, f.row))


def by_kind(texts: pa.ChunkedArray | pa.Array, rows: np.ndarray) -> Iterator[Finding]:
    """Equal texts together; null is nothing. ``rows`` are the row numbers of the texts."""
    there = pc.is_valid(texts)
    if not pc.any(there).as_py():
        return
    encoded = texts.filter(there).dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    numbers = rows[there.to_numpy(zero_copy_only=False)]
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    firsts = np.full(len(encoded.dictionary), np.iinfo(np.int64).max)
    np.minimum.at(firsts, codes, numbers)
    counts = np.bincount(codes, minlength=len(firsts))
    for what, count, first in zip(encoded.dictionary.to_pylist(), counts.tolist(), firsts.tolist(), strict=True):
        yield Finding(what, count, first)


def of_reasons(reasons: pa.ChunkedArray | pa.Array, rows: np.ndarray) -> Iterator[Finding]:
    """Reasons of quarantine by kind: the value is taken out of each sentence and becomes the example."""
    lines = pc.split_pattern(reasons, "\n")
    lines = lines.combine_chunks() if isinstance(lines, pa.ChunkedArray) else lines
    each, parents = pc.list_flatten(lines), pc.list_parent_indices(lines).to_numpy()
    kinds = pc.replace_substring_regex(each, _VALUE, r"\1")
    for found in by_kind(kinds, rows[parents]):
        at = np.flatnonzero(rows[parents] == found.row)
        sentence = next(each[int(n)].as_py() for n in at if kinds[int(n)].as_py() == found.what)
        value = _EXAMPLE.match(sentence)
        yield Finding(found.what, found.rows, found.row, value.group(1) if value else None)


def said(found: Finding, file: str | None = None) -> str:
    """``5 rows, ordered_at: is no time (auto), such as '待定' (orders/a.csv, row 3)``; a phone's form in words."""
    field, _, form = found.what.partition(": ")
    what = f"{field}, {words}" if (words := FORMS.get(field, {}).get(form)) else found.what
    place = f"{file}, row {found.row}" if file else f"row {found.row}"
    shown = f", such as '{found.example}' ({place})" if found.example else f" (such as {place})"
    return f"{found.rows:,} {what}{shown}"


def together(files: Iterable[tuple[str, Iterable[Finding]]]) -> list[tuple[str, Finding]]:
    """Findings of several files by kind: (the file of the example, the finding), the most frequent first."""
    found: dict[str, tuple[str, Finding]] = {}
    for name, mine in files:
        for f in mine:
            if f.what in found:
                found[f.what][1].rows += f.rows
            else:
                found[f.what] = (name, Finding(f.what, f.rows, f.row, f.example))
    return sorted(found.values(), key=lambda pair: -pair[1].rows)
