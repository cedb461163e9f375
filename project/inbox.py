"""Which files of the inbox a project's mappings name, and which none does."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path

from features.sources import Mapping
from lake.manifest import ManifestRow

UNFINISHED = (".*", "*.part", "*.tmp", "*.crdownload", "*.filepart", "_*", "*~")
"""Names of files that are still being written, or are no deliveries at all."""


def matches(inbox: Path, mappings: Iterable[Mapping]) -> list[tuple[Mapping, Path]]:
    """Every file of the inbox that a mapping names, in order of mapping and name."""
    found = []
    for mapping in mappings:
        for path in sorted(inbox.glob(mapping.files)):
            if path.is_file() and not is_unfinished(path):
                found.append((mapping, path))
    return found


def unmatched(inbox: Path, mappings: Sequence[Mapping]) -> list[str]:
    """Files of the inbox that no mapping names: a new kind of file, or a mapping whose pattern is wrong."""
    named = {path for _, path in matches(inbox, mappings)}
    every = (p for p in inbox.rglob("*") if p.is_file() and not is_unfinished(p))
    return sorted(str(p.relative_to(inbox)) for p in every if p not in named)


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
    return any(fnmatch.fnmatch(path.name, pattern) for pattern in UNFINISHED)
