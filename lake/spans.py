"""Where the time goes: spans of this process and of its workers, which cost next to nothing while nobody listens.

The kinds, and what their seconds are:

- ``step``: a step of a run, or an ingest, whole;
- ``frames``: the engine at work on frames, which are lazy: reading, computing and writing at once, and not to be parted;
- ``tasks``: map tasks at work, from the first that is handed out to the last that is back;
- ``task``: one of them, in the process that ran it; ``read`` and ``write``, inside: files opened and read, files written,
  where a task says so. What is left of a task is its computing;
- ``audit``: judging what is staged, its queries included;
- ``commit``: making staged files part of a table: their footers, the transaction, and on a store the way of the files there;
- ``waiting``: for a lock that another holds;
- ``start``: starting the engine, which a step does not count by itself.

Of spans inside each other the outermost counts (``Division``), so that the parts never add up to more than the whole.
What no span claims is the ``rest``: plans and lists of files, small queries of the main process, its start.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
PARTS = ("frames", "tasks", "audit", "commit", "waiting")
"""Kinds that divide a step."""
OF_TASKS = ("read", "write")
"""Kinds that divide a task."""
_EPOCH = time.time() - time.perf_counter()
_listening: list[Spans] = []
_open = threading.local()


@dataclass(frozen=True)
class Ended:
    """One that has ended. ``began`` is in seconds since 1970 by the clock of its machine; ``is_outer``: in no other but a step's."""

    kind: str
    name: str
    began: float
    seconds: float
    pid: int
    thread: int
    is_outer: bool = True
    peak_memory_mb: float | None = None


@dataclass
class Division:
    """Seconds of one step by kind, of all workers together for ``task`` and what is in it, and tasks counted."""

    seconds: float
    parts: dict[str, float]
    task_seconds: float
    task_parts: dict[str, float]
    tasks: int

    @property
    def rest(self) -> float:
        return max(0.0, self.seconds - sum(self.parts.values()))


@dataclass
class Spans:
    """Spans that ended while this listened, in the order of their ends."""

    ended: list[Ended] = field(default_factory=list)

    def division(self, seconds: float) -> Division:
        """How a step of this length divides; of this process only what the calling thread did, others ran beside it."""
        here = (os.getpid(), threading.get_ident())
        mine = [s for s in self.ended if s.is_outer and (s.pid, s.thread) == here]
        tasks = [s for s in self.ended if s.kind == "task"]
        return Division(
            seconds,
            {kind: _seconds(mine, kind) for kind in PARTS},
            _seconds(tasks, "task"),
            {kind: _seconds([s for s in self.ended if s.pid != here[0]], kind) for kind in OF_TASKS},
            len(tasks),
        )


@contextmanager
def listened() -> Iterator[Spans]:
    """Spans that end in the block, also those that workers bring; may be nested, each hears all."""
    found = Spans()
    _listening.append(found)
    try:
        yield found
    finally:
        _listening[:] = [s for s in _listening if s is not found]


@contextmanager
def span(kind: str, name: str) -> Iterator[None]:
    """The block as a span, if anybody listens; also when it ends with an error."""
    if not _listening:
        yield
        return
    depth = getattr(_open, "depth", 0)
    inside = depth + (kind != "step")
    began = time.perf_counter()
    _open.depth = inside
    try:
        yield
    finally:
        _open.depth = depth
        seconds = time.perf_counter() - began
        tell([Ended(kind, name, _EPOCH + began, seconds, os.getpid(), threading.get_ident(), is_outer=depth == 0)])


def each(kind: str, name: str, items: Iterable[T]) -> Iterator[T]:
    """The items as they come; getting each is a span, what is done with it is not."""
    left = iter(items)
    while True:
        with span(kind, name):
            try:
                item = next(left)
            except StopIteration:
                return
        yield item


def tell(spans: Iterable[Ended]) -> None:
    """Tell all who listen of spans that have ended, here or in a worker."""
    found = list(spans)
    for listener in _listening:
        listener.ended += found


def as_sent(spans: Iterable[Ended]) -> list[dict[str, Any]]:
    """Spans as they travel."""
    return [asdict(s) for s in spans]


def as_received(values: Iterable[dict[str, Any]]) -> list[Ended]:
    return [Ended(**v) for v in values]


def _seconds(spans: Sequence[Ended], kind: str) -> float:
    return sum(s.seconds for s in spans if s.kind == kind)
