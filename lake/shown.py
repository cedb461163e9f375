"""What long work on a lake tells of itself while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int, int], None]
"""Takes how much is done, and of how much."""
Shown = Callable[[str], AbstractContextManager[Advance]]
"""Begins a part of the work, by its name."""


@contextmanager
def unseen(name: str) -> Iterator[Advance]:
    """For nobody to see."""
    yield lambda done, total: None
