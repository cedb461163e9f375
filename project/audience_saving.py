"""An audience's file as somebody saves it: whole or not at all, and never over what somebody else saved meanwhile."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from audiences.language import ID
from project.folder import Project
from schemas.errors import HuaxiangError, UsageError


class ChangedMeanwhileError(HuaxiangError):
    """The file says something else than what the change began with; nothing was written."""

    def __init__(self, path: Path, there: str | None):
        what = "is gone" if there is None else "was changed by somebody else"
        super().__init__(f"{path.name} {what} since this change began; look at both and decide")
        self.there = there


def audience_path(project: Project, name: str) -> Path:
    """Where an audience of that name lies. UsageError for a name that is none."""
    if not ID.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be the name of an audience: small letters, digits and _, beginning with a letter, "
            "at most 63 of them"
        )
    return project.folder / "audiences" / f"{name}.yaml"


def audience_text(project: Project, name: str) -> str | None:
    """What the file says now; None where there is none."""
    try:
        return audience_path(project, name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None


def save_audience(project: Project, name: str, text: str, began: str | None) -> Path:
    """Write the file. ``began`` is what it said when the change began (None: nothing); ChangedMeanwhileError where it does not any more."""
    path = audience_path(project, name)
    path.parent.mkdir(exist_ok=True)
    if path.is_symlink():
        raise UsageError(f"{path.name} is a link; nothing is written through it")
    if began is None:
        _create(path, text, project)
        return path
    if (there := audience_text(project, name)) != began:
        raise ChangedMeanwhileError(path, there)
    whole = _beside(path, text)
    whole.replace(path)
    return path


def _create(path: Path, text: str, project: Project) -> None:
    whole = _beside(path, text)
    try:
        path.hardlink_to(whole)
    except FileExistsError:
        raise ChangedMeanwhileError(path, audience_text(project, path.stem)) from None
    finally:
        whole.unlink()


def _beside(path: Path, text: str) -> Path:
    """A whole file beside its place: a reader sees the old one or the new one."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    whole = Path(name)
    whole.chmod(0o644)
    return whole
