"""Which files of the inbox a project's mappings name, and which none does."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path

from features.sources import Mapping
from lake.manifest import ManifestRow

HIDDEN = ".*"
"""Names of files that are no arrivals at all; nobody is told of them."""
UNFINISHED = ("_*", "*~", "*.part", "*.tmp", "*.filepart", "*.crdownload")
"""Names of files that are still being written, as far as a name tells."""


def matches(inbox: Path, mappings: Iterable[Mapping]) -> list[tuple[Mapping, Path]]:
    """Every file of the inbox that a mapping names, in order of mapping and name."""
    found = []
    for mapping in mappings:
        for path in sorted(inbox.glob(mapping.files)):
            if path.is_file() and _is_arrival(path):
                found.append((mapping, path))
    return found


def unmatched(inbox: Path, mappings: Sequence[Mapping]) -> list[str]:
    """Files of the inbox that no mapping names: a new kind of file, or a mapping whose pattern is wrong."""
    named = {path for _, path in matches(inbox, mappings)}
    every = (p for p in inbox.rglob("*") if p.is_file() and _is_arrival(p))
    return sorted(str(p.relative_to(inbox)) for p in every if p not in named)


def unfinished(inbox: Path) -> list[str]:
    """Files of the inbox that wait because their names say that they are still being written, whatever a mapping names."""
    return sorted(str(p.relative_to(inbox)) for p in inbox.rglob("*") if p.is_file() and is_unfinished(p))


def unfinished_in_words(names: Sequence[str], shown: int) -> str:
    """How many wait and why, with the first names."""
    listed = ", ".join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")
    what = f"{len(names):,} files wait" if len(names) > 1 else "1 file waits"
    patterns = " ".join(UNFINISHED)
    return f"{what} as unfinished: {listed} (names like {patterns}; rename what is whole)"


def without_files(
    mappings: Sequence[Mapping], found: Sequence[tuple[Mapping, Path]], rows: Sequence[ManifestRow]
) -> list[str]:
    """What to say of mappings that no file was ever for: their pattern is wrong, or the feed is still to come."""
    seen = {m.name for m, _ in found} | {r.source for r in rows}
    return [
        f"sources/{m.name}.yaml ({m.feed}) names {m.files}: the inbox has no such file, and none was taken before"
        for m in mappings
        if m.name not in seen
    ]


def is_unfinished(path: Path) -> bool:
    return not _is_hidden(path) and any(fnmatch.fnmatch(path.name, pattern) for pattern in UNFINISHED)


def _is_hidden(path: Path) -> bool:
    return fnmatch.fnmatch(path.name, HIDDEN)


def _is_arrival(path: Path) -> bool:
    return not _is_hidden(path) and not is_unfinished(path)
