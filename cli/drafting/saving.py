"""Drafted mappings as files of a project."""

from __future__ import annotations

from pathlib import Path

from cli.drafting.proposal import Draft
from schemas.errors import HuaxiangError


def save(found: Draft, folder: Path) -> list[Path]:
    """Write each mapping of a draft below ``folder``; HuaxiangError where one of these names is taken already."""
    paths = [folder / part.save_as for part in found.parts]
    there = [str(p) for p in paths if p.exists()]
    if there:
        raise HuaxiangError(
            f"{', '.join(there)}: is there already; move it, or save the draft by hand under another name"
        )
    for path, part in zip(paths, found.parts, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(part.mapping, encoding="utf-8")
    return paths
