"""Are the quotes of a CSV in order? Asked of its bytes as they go by, because Arrow reads on over a stray quote.

A quote that opens after some text, or text behind a closing quote, makes one cell of many rows, and nobody would know.
The rules are those of Python's csv reader with ``strict=True`` (a test holds them to it), for whole arrays of quotes at
once: what a run of neighbouring quotes does depends on its length and on the signs before and behind it only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.sources import Mapping
from schemas.errors import InputError

QUOTE, LF, CR = 0x22, 0x0A, 0x0D
MAX_CELL_LINES = 20
FEWEST_COLUMNS = 3
"""Of a table of two columns, a line of a cell with one comma says nothing."""


@dataclass(frozen=True)
class _Runs:
    """Runs of neighbouring quotes in order: the place of the first and last quote, and what stands around them.

    ``quoted`` says whether the text behind the run lies within quotes, ``quoted_before`` the same of the text before it.
    """

    first: np.ndarray
    last: np.ndarray
    quoted: np.ndarray
    quoted_before: np.ndarray
    wrong: np.ndarray

    @property
    def openers(self) -> np.ndarray:
        return self.first[self.quoted & ~self.quoted_before]

    @property
    def closers(self) -> np.ndarray:
        return self.last[self.quoted_before & ~self.quoted]


class QuoteCheck:
    """Bytes of one table in order, through ``feed`` and at last ``end``; InputError names line and remedy.

    ``columns`` is how many the table has, ``lines`` how many of the file stand above it.
    """

    def __init__(self, name: str, mapping: Mapping, delimiter: str, columns: int, lines: int = 0):
        self.name, self.mapping, self.columns = name, mapping, columns
        self.delimiter = ord(delimiter)
        self.most = mapping.max_cell_lines or MAX_CELL_LINES
        self.lines = lines
        self.cells_of_several_lines = 0
        self.before = LF
        # An open cell and signs of which the next one decides wait here, so that a piece always begins outside quotes.
        self.held = b""
        self.unfinished = 0
        """How many of the bytes fed last stand behind the last end of a row."""

    @property
    def tells_of_several_lines(self) -> bool:
        """Were there cells of several lines, and the mapping does not say that they are meant?"""
        return self.cells_of_several_lines > 0 and self.mapping.max_cell_lines is None

    def feed(self, data: bytes) -> None:
        text = self.held + data if self.held else data
        cut = len(text.rstrip(b'"\r'))
        if text.find(b'"', 0, cut) >= 0:
            cut, end = self._checked(text, cut)
        else:
            self.lines += count_of_lines(text[:cut])
            end = end_of_last_line(text, cut)
        self.unfinished = len(text) - end if end else self.unfinished + len(data)
        self.before = text[cut - 1] if cut else self.before
        self.held = text[cut:]

    def end(self) -> None:
        self.feed(b"\n")
        if self.held:
            self._refuse(f'the quote (") opened on line {self.lines + 1:,} is never closed')

    def _checked(self, text: bytes, cut: int) -> tuple[int, int]:
        """Up to where the text is in order and outside quotes, whose lines are counted, and where its last row ends."""
        signs = np.frombuffer(text, dtype=np.uint8)
        runs = self._runs(signs, cut)
        ends = _ends_of_lines(signs[:cut])
        openers, closers = runs.openers, runs.closers
        wrong = np.flatnonzero(runs.wrong)
        limit = int(runs.last[wrong[0]]) if len(wrong) else cut
        self._look_into_cells(signs, ends[ends < limit], openers, closers, runs)
        if len(wrong):
            opened = openers[openers < limit][-1] if runs.quoted_before[wrong[0]] else runs.first[wrong[0]]
            self._refuse_text_behind(limit, int(opened), ends)
        cut = int(openers[-1]) if len(openers) > len(closers) else cut
        self.lines += int(np.searchsorted(ends, cut))
        for end in ends[::-1].tolist():
            run = int(np.searchsorted(runs.first, end)) - 1
            if run < 0 or not runs.quoted[run]:
                return cut, end + 1
        return cut, 0

    def _runs(self, signs: np.ndarray, cut: int) -> _Runs:
        quotes = np.flatnonzero(signs[:cut] == QUOTE)
        apart = np.diff(quotes) > 1
        first, last = quotes[np.append(True, apart)], quotes[np.append(apart, True)]
        before = signs[first - 1]
        if first[0] == 0:
            before[0] = self.before
        odd = (last - first) % 2 == 0
        begins, closes = self._is_edge(before), self._is_edge(signs[last + 1])
        # An odd run at the beginning of a cell opens or closes; behind text it can only close, or is text itself.
        turns = np.cumsum(odd & begins, dtype=np.int32)
        settled = np.maximum.accumulate(np.where(odd & ~begins, turns, np.int32(0)))
        quoted = ((turns - settled) & 1).astype(bool)
        quoted_before = np.concatenate([[False], quoted[:-1]])
        wrong = ~closes & ((quoted_before & odd) | (~quoted_before & ~odd & begins))
        return _Runs(first, last, quoted, quoted_before, wrong)

    def _is_edge(self, signs: np.ndarray) -> np.ndarray:
        found: np.ndarray = (signs == self.delimiter) | (signs == LF) | (signs == CR)
        return found

    def _look_into_cells(
        self, signs: np.ndarray, ends: np.ndarray, openers: np.ndarray, closers: np.ndarray, runs: _Runs
    ) -> None:
        """Cells of several lines: not of too many, and none that holds a whole row of the table."""
        at = np.searchsorted(runs.first, ends) - 1
        inside = ends[(at >= 0) & runs.quoted[at]]
        if not len(inside):
            return
        cell = np.searchsorted(openers, inside) - 1
        self.cells_of_several_lines += int((np.unique(cell) < len(closers)).sum())
        long = np.flatnonzero(np.bincount(cell) >= self.most)
        if len(long):
            line = self._line(int(openers[long[0]]), ends)
            self._refuse(
                f'a cell spans more than {self.most} lines from line {line:,} on: is its quote (") never closed? '
                f"If it is one cell, say `max_cell_lines:` in {self.mapping.name}.yaml"
            )
        if self.mapping.max_cell_lines is not None or self.columns < FEWEST_COLUMNS:
            return
        # What an open cell takes in is not known yet: it is looked at when it is closed.
        inside, cell = inside[cell < len(closers)], cell[cell < len(closers)]
        following = np.minimum(np.append(inside[1:], len(signs)), closers[cell])
        parts = np.flatnonzero(signs == self.delimiter)
        like_rows = np.searchsorted(parts, following) - np.searchsorted(parts, inside) >= self.columns - 1
        if like_rows.any():
            which = cell[np.flatnonzero(like_rows)[0]]
            line = self._line(int(openers[which]), ends)
            self._refuse(
                f'the quote (") opened on line {line:,} takes in what looks like further rows; if that is one cell, say '
                f"`max_cell_lines: {MAX_CELL_LINES}` in {self.mapping.name}.yaml"
            )

    def _refuse_text_behind(self, at: int, opened: int, ends: np.ndarray) -> None:
        line, first = self._line(at, ends), self._line(opened, ends)
        where = f", opened on line {first:,}," if first != line else ""
        self._refuse(f'line {line:,}: text stands behind the closing quote (") of a cell{where}')

    def _line(self, at: int, ends: np.ndarray) -> int:
        return self.lines + int(np.searchsorted(ends, at)) + 1

    def _refuse(self, what: str) -> None:
        raise InputError(
            f"{self.name}: {what}; mend the file, or say `quoting: none` in {self.mapping.name}.yaml if its quotes are "
            "signs like any other"
        )


def _ends_of_lines(signs: np.ndarray) -> np.ndarray:
    """Places of LF, and of CR that no LF follows."""
    found = signs == LF
    lone = np.flatnonzero(signs == CR)
    if len(lone):
        lone = lone[signs[np.minimum(lone + 1, len(signs) - 1)] != LF]
        found[lone] = True
    return np.flatnonzero(found)


def end_of_last_line(text: bytes, stop: int) -> int:
    """Where a line ends before ``stop``, as far behind as one is sure of; 0 for nowhere."""
    return text.rfind(b"\n", 0, stop) + 1 or text.rfind(b"\r", 0, stop) + 1


def count_of_lines(text: bytes) -> int:
    count = text.count(b"\n")
    return count + text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else count
