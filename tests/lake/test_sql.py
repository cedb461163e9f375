"""``huaxiang sql`` leaves out nothing unsaid: rows, columns of one name, readers that go away, and the release it reads."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cli.main import commands
from jobs import __version__
from lake.releases import write_release
from project.folder import Project

MANY = 10_001


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without any configuration, and two releases of which the older day was written last."""
    found = tmp_path_factory.mktemp("sql")
    (found / "huaxiang.yaml").write_text("currency: CNY\n")
    lake = Project.load(found).lake
    for n, day in enumerate((date(2026, 3, 31), date(2026, 3, 24))):
        write_release(lake, day, f"r{n}", {})
    return found


def typed(folder: Path, *words: str, code: int = 0) -> tuple[str, str]:
    done = CliRunner().invoke(commands(), ["sql", *words, "-p", str(folder)])
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *words]


def test_json_has_every_row(folder: Path) -> None:
    found = json.loads(typed(folder, f"select * from range({MANY})", "--json")[0])
    assert [r["range"] for r in found] == list(range(MANY))
    assert json.loads(typed(folder, "select 1 where false", "--json")[0]) == []


def test_a_terminal_is_told_that_there_are_more_rows(folder: Path) -> None:
    out, err = typed(folder, f"select * from range({MANY})")
    assert "".join(out.split()).startswith("first10,000rows")
    assert "--json prints all, --out FILE writes all" in err
    assert typed(folder, "select * from range(10000)", "--release", "1")[1] == ""


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_has_every_row_and_is_whole_or_not_there(folder: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"rows.{form}"
    said = typed(folder, f"select range as n, '=1+1' as f from range({MANY})", "--out", str(out))[0]
    assert said == f"{MANY:,} rows written to {out}\n"
    if form == "parquet":
        assert pq.read_table(out)["n"].to_pylist() == list(range(MANY))
    else:
        lines = out.read_text(encoding="utf-8").splitlines()
        assert len(lines) == MANY + (form == "csv")
        assert lines[-1] == (f"{MANY - 1},'=1+1" if form == "csv" else '{"n": 10000, "f": "=1+1"}')
    broken = "select case when range = 20000 then error('no') else range end as n from range(30000)"
    typed(folder, broken, "--out", str(tmp_path / f"broken.{form}"), code=1)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_columns_of_one_name_are_both_there(folder: Path) -> None:
    assert json.loads(typed(folder, "select 1 as a, 2 as a", "--json")[0]) == [{"a": 1, "a_2": 2}]


def test_a_file_of_an_unknown_form_is_refused(folder: Path) -> None:
    assert "must end in .csv, .jsonl, .parquet" in typed(folder, "select 1", "--out", "x.xlsx", code=2)[1]


def test_the_release_that_is_read_is_said_where_another_one_was_written_last(folder: Path) -> None:
    said = typed(folder, "select 1")[1]
    assert said.startswith("reading release 1 of 2026-03-31, the newest day; the last that was written is release 2")
    assert typed(folder, "select 1", "--release", "2")[1] == ""


@pytest.mark.parametrize("code", [0, 7])
def test_a_reader_that_goes_away_changes_no_exit_code_and_is_no_defect(folder: Path, code: int) -> None:
    asked = "select * from range(10000000000)"
    more = ["--release", "2"] if code == 0 else ["--release", "99"]
    words = command("sql", asked, "--json", "-p", str(folder), *more)
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stderr is not None
    if code == 0:
        assert running.stdout.readline() == "[\n"
    running.stdout.close()
    assert running.wait(timeout=60) == code
    assert running.stderr.read() == ""
    running.stderr.close()


def test_the_version_is_printed() -> None:
    done = subprocess.run(command("--version"), capture_output=True, text=True, check=True)
    assert done.stdout == f"huaxiang {__version__}\n"
