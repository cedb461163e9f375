"""Twelve catalogues with one mistake each (``broken/``, the first line says which), and what the command says of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import commands
from project import setup

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.yaml"))


def checked(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(commands(), ["tag", "check", "--project", str(folder), *words])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without tags or audiences."""
    folder = tmp_path_factory.mktemp("broken") / "project"
    setup.init(folder)
    for part in ("tags", "audiences"):
        shutil.rmtree(folder / part)
        (folder / part).mkdir()
    return folder


def test_there_are_twelve() -> None:
    assert len(BROKEN) == 12


@pytest.mark.parametrize("path", BROKEN, ids=lambda p: p.stem)
def test_a_broken_catalogue_is_refused_with_file_line_tag_and_reason(empty: Path, path: Path) -> None:
    line, message = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split(": ", 1)
    for old in (empty / "tags").glob("*.yaml"):
        old.unlink()
    shutil.copy(path, empty / "tags" / path.name)
    done = checked(empty, "--json")
    assert done.exit_code == 3
    (mistake,) = json.loads(done.stdout)["mistakes"]
    assert mistake.startswith(f"{empty / 'tags' / path.name}:{line}: {message}")
    assert "tag '" in mistake
    assert checked(empty).stdout.splitlines()[-1] == "1 mistakes."


def test_the_shipped_catalogue_passes_with_its_audiences(tmp_path: Path) -> None:
    setup.init(tmp_path / "project")
    done = checked(tmp_path / "project", "--json")
    assert done.exit_code == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["mistakes"] == [] and report["tags"] >= 45 and report["audiences"] >= 3
