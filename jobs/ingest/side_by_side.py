"""Blocks of one file on several cores: the next ones are read while those before them are cleaned, and results keep their order.

Reading and cleaning are Arrow's and DuckDB's work, outside Python's lock, so threads of one task do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, each of which is got while the one before it is worked on; an error comes where its item would."""
    left, end = iter(items), object()
    with ThreadPoolExecutor(1) as reader:
        waiting: Future[Any] = reader.submit(next, left, end)
        while (item := waiting.result()) is not end:
            waiting = reader.submit(next, left, end)
            yield item


class InOrder(Generic[R]):
    """Work given to ``workers``, a thread each, and taken from them in the order in which it was given.

    Each worker has one piece of work at a time: what is in it need not be shared. With one worker there is no thread.
    """

    def __init__(self, workers: Sequence[Callable[..., R]]):
        self.workers = workers
        self._threads = [ThreadPoolExecutor(1) for _ in workers] if len(workers) > 1 else []
        self._given: deque[tuple[Future[R], Callable[[R], None]]] = deque()
        self._next = 0

    def give(self, then: Callable[[R], None], *work: Any) -> None:
        """``then`` is called here with the result, once those of earlier work are called."""
        if not self._threads:
            then(self.workers[0](*work))
            return
        if len(self._given) == len(self.workers):
            self._take()
        thread, worker = self._threads[self._next], self.workers[self._next]
        self._given.append((thread.submit(worker, *work), then))
        self._next = (self._next + 1) % len(self.workers)

    def finish(self) -> None:
        while self._given:
            self._take()

    def _take(self) -> None:
        found, then = self._given.popleft()
        then(found.result())

    def close(self) -> None:
        """Wait for what was begun and forget it."""
        self._given.clear()
        with ExitStack() as ending:
            for thread in self._threads:
                ending.enter_context(thread)
        self._threads = []
