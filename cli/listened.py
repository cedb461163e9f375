"""Output whose reader may go away (``huaxiang ... | head``): what is said after that is dropped, and the work goes on."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


class Listened:
    """A text stream that says nothing more once its pipe is closed; everything else is the stream's own."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.is_closed_by_reader = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._turn_away()
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._turn_away()

    def _turn_away(self) -> None:
        """What is still in the buffer would fail again, and once more when the interpreter ends."""
        self.is_closed_by_reader = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        self._stream.flush()


def nobody_listens() -> bool:
    """Whether the reader of standard output has gone: what would only be printed need not be made."""
    return bool(getattr(sys.stdout, "is_closed_by_reader", False))
