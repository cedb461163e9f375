"""A full disk, whoever of us, Arrow, DuckDB, delta-rs or the engine runs into it: one sentence that names it."""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import DiskFullError

if TYPE_CHECKING:
    from lake.lake import Lake

FULL = (errno.ENOSPC, errno.EDQUOT)
SAID = ("No space left on device", "Disk quota exceeded", "(os error 28)", "(os error 122)")
NEARLY_NOTHING = 32 << 20
"""Bytes free below which a disk is taken for the one that is full: what failed to be written may have been removed."""


def is_full(e: BaseException) -> bool:
    """Whether an error, or one that it came from, says that a disk or a quota is full."""
    seen: BaseException | None = e
    for _ in range(10):
        if seen is None:
            return False
        if isinstance(seen, DiskFullError) or (isinstance(seen, OSError) and seen.errno in FULL):
            return True
        if any(text in str(seen) for text in SAID):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def which(e: BaseException, *folders: Path) -> str:
    """The file that could not be written where the error names it, else the folder on whose disk nothing is left."""
    named = getattr(e, "filename", None)
    if named:
        return str(named)
    for folder in (*folders, Path(tempfile.gettempdir())):
        there = next((p for p in (folder, *folder.parents) if p.exists()), None)
        if there is not None and shutil.disk_usage(there).free < NEARLY_NOTHING:
            return str(folder)
    return " or ".join(dict.fromkeys(str(f) for f in (*folders, Path(tempfile.gettempdir()))))


@contextmanager
def told_when_full(lake: Lake, published: Callable[[], str] | None = None) -> Iterator[None]:
    """DiskFullError that names the disk and says what is published; one that says so already goes on as it is."""
    try:
        yield
    except Exception as e:
        if not is_full(e) or (isinstance(e, DiskFullError) and e.is_told):
            raise
        what = released(lake) if published is None else published()
        raise DiskFullError(
            f"the disk is full ({which(e, lake.root)}): {what}; free space and run the same command again, it goes on",
            is_told=True,
        ) from None


def released(lake: Lake) -> str:
    """What readers see, in words."""
    from lake import releases

    current = releases.latest(lake)
    if current is None:
        return "nothing is released, nothing half-made is published"
    return f"readers see release {current.number} of {current.as_of} as before, nothing half-made is published"


def pass_over_writers(unraisable: Any) -> None:
    """``sys.unraisablehook``: a writer that is thrown away on a full disk fails once more to write, and has been told of."""
    if unraisable.exc_value is None or not is_full(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)
