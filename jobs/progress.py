"""What a person sees while steps run: a bar on a terminal, one line a step elsewhere, nothing for machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

Advance = Callable[[int, int], None]


@dataclass
class StepTime:
    """One finished step: its name and seconds."""

    name: str
    seconds: float


@dataclass
class Steps:
    """Times every step and shows it. ``plan`` is how many steps are to come, so that the bar knows its end."""

    quiet: bool = False
    plan: int = 0
    times: list[StepTime] = field(default_factory=list)
    _bar: Progress | None = None
    _whole: int = 0

    @contextmanager
    def shown(self) -> Iterator[Steps]:
        """Show the bar while the block runs (on a terminal)."""
        if self.quiet or not sys.stderr.isatty():
            yield self
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            self._bar, self._whole = bar, int(bar.add_task("all steps", total=self.plan or None))
            try:
                yield self
            finally:
                self._bar = None

    @contextmanager
    def step(self, name: str) -> Iterator[Advance]:
        """One step; the yielded function takes (done, total) of the tasks inside it."""
        started = time.perf_counter()
        task = None if self._bar is None else self._bar.add_task(name, total=None)

        def advance(done: int, total: int) -> None:
            if self._bar is not None and task is not None:
                self._bar.update(task, completed=done, total=total)

        try:
            yield advance
        finally:
            if self._bar is not None and task is not None:
                self._bar.remove_task(task)
        seconds = time.perf_counter() - started
        self.times.append(StepTime(name, seconds))
        if self._bar is not None:
            self._bar.advance(TaskID(self._whole))
        elif not self.quiet:
            print(f"  {name}: {seconds:.1f} s", file=sys.stderr, flush=True)
