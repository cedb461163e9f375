"""Memory of this process and all that it began, and what was spilled, looked at a few times a second by one light thread.

A page that several processes share counts once (PSS); where the system does not say it, a process counts what is its own
(USS), or failing that all that it holds. Such a look takes some milliseconds: it is taken when what the processes hold or have
spilled has grown, which costs next to nothing to ask, and else now and then. A peak shorter than ``EVERY_SECONDS`` may not be seen.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY_SECONDS = 0.2
CHILDREN_SECONDS = 2.0
"""How often it is asked who belongs to the tree: that reads a file of every process of the machine."""
GROWN = 1.05
"""A look is taken when processes hold so many times what they held at the last one."""
MOST_OF_THE_TIME = 0.005
"""Share of the time of one core that looks take where nothing grows: where a look takes longer there are fewer."""
MEBIBYTE = 1 << 20
_is_own_peak_watched = False


@dataclass(frozen=True)
class Look:
    """Bytes of the main process and of the others at a moment (seconds since 1970), and bytes in the folders of spills."""

    at: float
    main: int
    others: int
    spilled: int | None


@dataclass
class TreeMemory:
    """What was seen while this was open. ``spills`` are the folders that engine and tasks spill into; absent: not known."""

    spills: Path | None = None
    seen: list[Look] = field(default_factory=list)

    @property
    def peak_mb(self) -> float:
        """Greatest of the whole tree (MiB)."""
        return max((s.main + s.others for s in self.seen), default=0) / MEBIBYTE

    @property
    def main_peak_mb(self) -> float:
        """Greatest of the main process (MiB)."""
        return max((s.main for s in self.seen), default=0) / MEBIBYTE

    @property
    def spilled_mb(self) -> float | None:
        """Most that lay in the folders of spills at once (MiB); None where they are not known."""
        found = [s.spilled for s in self.seen if s.spilled is not None]
        return max(found) / MEBIBYTE if found else None


@contextmanager
def watched(spills: Path | None = None) -> Iterator[TreeMemory]:
    """Memory of the tree while the block runs, its first and its last moment included."""
    found = TreeMemory(spills)
    with _watch.lock:
        _watch.open.append(found)
        _watch.start()
    _watch.look()
    try:
        yield found
    finally:
        _watch.look()
        with _watch.lock:
            _watch.open = [w for w in _watch.open if w is not found]
            if not _watch.open:
                _watch.stop()


def watch_own_peak() -> None:
    """Forget what this process held before; a system that cannot leaves ``own_peak_mb`` without an answer."""
    global _is_own_peak_watched
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        _is_own_peak_watched = True


def own_peak_mb() -> float | None:
    """Most that this process alone held since ``watch_own_peak``, shared pages included (MiB); None where it is not known."""
    if not _is_own_peak_watched:
        return None
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def _bytes_of(process: psutil.Process) -> int:
    """A process that ended meanwhile, or that is not ours to look at, counts nothing."""
    with suppress(psutil.Error, OSError):
        found = process.memory_full_info()
        return int(getattr(found, "pss", 0) or getattr(found, "uss", 0) or found.rss)
    return 0


def _bytes_below(folder: Path) -> int:
    """Bytes on the disk; files may go while they are counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_blocks * 512
    return total


class _Watch:
    """The one thread, alive while anybody watches."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: list[TreeMemory] = []
        self._main = psutil.Process()
        self._others: list[psutil.Process] = []
        self._asked = float("-inf")
        self._held_then = self._spilled_then = 0
        self._ended: threading.Event | None = None

    def start(self) -> None:
        if self._ended is None:
            self._ended = threading.Event()
            threading.Thread(target=self._until, args=(self._ended,), name="memory", daemon=True).start()

    def stop(self) -> None:
        if self._ended is not None:
            self._ended.set()
            self._ended = None

    def _until(self, ended: threading.Event) -> None:
        due = 0.0
        while not ended.wait(EVERY_SECONDS):
            if time.monotonic() < due and not self._has_grown():
                continue
            began = time.thread_time()
            self.look()
            due = time.monotonic() + (time.thread_time() - began) / MOST_OF_THE_TIME

    def look(self) -> None:
        self._held_then, self._spilled_then = self._held(), self._spilled()
        main, others = _bytes_of(self._main), sum(_bytes_of(p) for p in self._tree())
        now = time.time()
        for watching in list(self.open):
            spilled = None if watching.spills is None else _bytes_below(watching.spills)
            watching.seen.append(Look(now, main, others, spilled))

    def _has_grown(self) -> bool:
        held, spilled = GROWN * self._held_then, GROWN * self._spilled_then
        return self._held() >= held or self._spilled() > spilled

    def _spilled(self) -> int:
        return sum(_bytes_below(folder) for folder in {w.spills for w in self.open} if folder is not None)

    def _held(self) -> int:
        """Bytes that the processes hold, shared ones in each of them."""
        held = 0
        for process in (self._main, *self._tree()):
            with suppress(psutil.Error):
                held += process.memory_info().rss
        return held

    def _tree(self) -> list[psutil.Process]:
        if time.monotonic() - self._asked > CHILDREN_SECONDS:
            with suppress(psutil.Error):
                self._others = self._main.children(recursive=True)
            self._asked = time.monotonic()
        return self._others


_watch = _Watch()
