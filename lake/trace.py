"""A trace of a command as Perfetto and chrome://tracing open it (Chrome's trace event format, JSON).

A span is a complete event (``X``) in the row of its process and thread, its kind the category (lake/spans.py); memory of the
tree and what is spilled are counters. Workers of this machine share its clock; those of a cluster have clocks of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lake.spans import Ended, listened
from lake.tree_memory import MEBIBYTE, Look, watched


@contextmanager
def traced(file: Path | None, spills: Path | None = None) -> Iterator[None]:
    """Write a trace of the block to ``file``, also when it ends with an error; none where no file is named."""
    if file is None:
        yield
        return
    with listened() as spans, watched(spills) as memory:
        try:
            yield
        finally:
            file.write_text(json.dumps({"traceEvents": [*events(spans.ended, memory.seen)]}), encoding="utf-8")


def events(spans: Sequence[Ended], looks: Iterable[Look]) -> Iterator[dict[str, Any]]:
    """Names of processes, spans and counters, each an event."""
    main = os.getpid()
    others = sorted({s.pid for s in spans} - {main})
    for pid, name in ((main, "huaxiang"), *((pid, f"worker {n}") for n, pid in enumerate(others, 1))):
        yield {"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": name}}
    for s in spans:
        begin, end = _microseconds(s.began), _microseconds(s.began + s.seconds)
        more = {} if s.peak_memory_mb is None else {"args": {"peak_memory_mb": round(s.peak_memory_mb, 1)}}
        where = {"pid": s.pid, "tid": s.thread}
        yield {"name": s.name, "cat": s.kind, "ph": "X", "ts": begin, "dur": end - begin, **where, **more}
    for look in looks:
        counted = {"ph": "C", "ts": _microseconds(look.at), "pid": main}
        held = {"main": look.main / MEBIBYTE, "workers": look.others / MEBIBYTE}
        yield {**counted, "name": "memory (MiB)", "args": {n: round(v, 1) for n, v in held.items()}}
        if look.spilled is not None:
            yield {**counted, "name": "spilled (MiB)", "args": {"spilled": round(look.spilled / MEBIBYTE, 1)}}


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)
