"""The command line itself: days, wrong usage and its exit code, numbers in tables, what ``check`` says it has read."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.demo import DemoReport, _audience_in_words
from cli.main import GROUPS, VERBS, commands, main
from cli.run import MOST_WARNINGS, _show_warnings
from cli.session import show_table
from cli.status import _release_in_words
from jobs.pipeline import RunReport
from lake.releases import write_release
from lake.run_notes import remember_warnings
from project import setup
from project.folder import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "shop"
    setup.init(folder)
    return folder


def typed(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(commands(), list(words))
    assert done.exit_code == code, done.output
    return " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("day", "said"), [("2026-04-31", "'2026-04-31': there is no such day"), ("yesterday", "'yesterday': no day")]
)
def test_a_day_that_there_is_not_is_called_so(project: Path, day: str, said: str) -> None:
    assert said in typed("run", "--as-of", day, "--project", str(project), code=2)
    assert said in typed("backfill", "--from", day, "--to", "2026-03-31", "--project", str(project), code=2)


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", "--engine", "pandas"),
        ("report", "--lang", "fr"),
        ("user", "1", "--lang", "fr"),
        ("gap", "--target", "much"),
        ("ingest", "--received-at", "noon"),
    ],
)
def test_an_option_with_a_value_that_it_cannot_have_is_wrong_usage(project: Path, words: tuple[str, ...]) -> None:
    assert json.loads(typed(*words, "--json", "--project", str(project), code=2))["error"] == "UsageError"


def test_a_demo_with_an_unknown_engine_makes_nothing(tmp_path: Path) -> None:
    assert "--engine is embedded or spark" in typed("demo", "--engine", "pandas", "--dir", str(tmp_path / "d"), code=2)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("words", [["status", "--nope"], ["run", "--as-of", "2026-04-31"], ["nope"]])
def test_wrong_usage_is_json_for_machines(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["huaxiang", *words, "--json"])
    with pytest.raises(SystemExit) as e:
        main()
    assert e.value.code == 2
    assert json.loads(capsys.readouterr().out)["error"] == "UsageError"


def test_exit_codes_of_verbs_hold_for_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["huaxiang", "status", "--json", "--project", str(tmp_path)])
    with pytest.raises(SystemExit) as e:
        main()
    assert e.value.code == 3


def test_small_fractions_keep_six_digits_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"n": 0.00123456789}, {"n": 1_234_567.891}, {"n": 3.0}, {"n": float("nan")}]
    show_table("exact", rows, exact=True)
    show_table("short", rows)
    exact, short = capsys.readouterr().out.split("short")
    assert [line.strip() for line in exact.splitlines()][-4:] == ["0.00123457", "1,234,567.89", "3", "nan"]
    assert "0.00123" not in short


def test_check_says_what_could_not_be_read(project: Path, tmp_path: Path) -> None:
    assert "could not be read" not in typed("check", "--project", str(project))
    shop = tmp_path / "shop"
    setup.init(shop)
    (shop / "tags" / "rfm.yaml").write_text("tags:\n\t- id: a\n", encoding="utf-8")
    (shop / "sources" / "orders.yaml").write_text("feed: nothing\n", encoding="utf-8")
    said = typed("check", "--project", str(shop), code=3)
    assert "sources could not be read, tags could not be read, audiences could not be read" in said
    assert "rfm.yaml:2: tabs are not allowed for indenting; use spaces" in said
    assert "0 tags" not in said


def test_a_release_and_a_delivery_are_said_in_words() -> None:
    latest = {"number": 5, "as_of": "2026-03-31", "users": 22_472, "tags": 262}
    assert _release_in_words(latest) == "5 of 2026-03-31: 22,472 users, 262 tags"
    made = {"name": "a", "users": 1202, "rows": 830, "file": "a.csv"}
    left_out = {"no marketing consent": 312, "no valid contact": 60, "no member": 0}
    assert _audience_in_words({**made, "left_out": left_out}) == (
        "Audience a: 830 rows of 1,202 users (left out: 312 no marketing consent, 60 no valid contact) -> a.csv"
    )
    assert _audience_in_words({**made, "left_out": {}}) == "Audience a: 830 rows -> a.csv"


def test_a_demo_with_refused_files_names_them_and_ends_with_4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = DemoReport(project=tmp_path, data="simulator", refused=["browse/1.jsonl (browse): cut off"], warnings=["w"])
    monkeypatch.setattr("cli.demo.demo", lambda *args, **options: made)
    said = typed("demo", "--dir", str(tmp_path), code=4)
    assert "1 files were REFUSED and are in no number" in said
    assert "browse/1.jsonl (browse): cut off" in said
    assert "The last day warned 1 times" in said


def test_warnings_beyond_twenty_are_counted_kept_and_listed_when_asked_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day, told = date(2026, 3, 31), tuple(f"w{n}" for n in range(25))
    lake = Project.load(project).lake
    remember_warnings(lake, "r", day, told)
    made = write_release(lake, day, "r", {})
    for most, shown in ((MOST_WARNINGS, 20), (None, 25)):
        _show_warnings([RunReport(day, made, already_done=False, warnings=told)], most)
        said = capsys.readouterr().err.splitlines()
        assert len([line for line in said if line.startswith("2026-03-31: warning: w")]) == shown
        if most is not None:
            assert said[-1] == "5 further warnings; `huaxiang status --warnings` lists all of a run"
    assert typed("status", "--warnings", "-p", str(project)).count("warning: w") == 25
    assert json.loads(typed("status", "--json", "-p", str(project)))["warnings"] == list(told)
    assert "The newest run warned 25 times" in typed("status", "-p", str(project))


HEAVY = {
    "pyarrow",
    "numpy",
    "deltalake",
    "duckdb",
    "pydantic",
    "pandas",
    "pyspark",
    "pysail",
    "great_expectations",
    "sklearn",
}
FOR_WORK = HEAVY - {"pyarrow", "numpy", "deltalake", "duckdb", "pydantic"}


@pytest.mark.parametrize(
    ("words", "not_needed"),
    [(["--help"], HEAVY), (["release", "list"], FOR_WORK), (["lake", "tidy", "--dry-run"], FOR_WORK)],
)
def test_a_verb_opens_only_the_libraries_that_it_needs(tmp_path: Path, words: list[str], not_needed: set[str]) -> None:
    """A second of every start, otherwise."""
    project = tmp_path / "shop"
    setup.init(project)
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('opened', *{m.split('.')[0] for m in sys.modules}, file=sys.stderr))\n"
        "from cli.main import main\n"
        f"sys.argv = {['huaxiang', *words]!r}\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    opened = set(done.stderr.splitlines()[-1].removeprefix("opened ").split())
    assert "typer" in opened and not opened & not_needed


def test_help_says_of_every_verb_what_the_verb_says_of_itself() -> None:
    shown = subprocess.run([sys.executable, "-m", "cli.main", "--help"], capture_output=True, text=True, check=True)
    words = " ".join(shown.stdout.replace("│", " ").split())
    for name in VERBS:
        real = next(c for c in commands().registered_commands if c.callback is not None and c.callback.__name__ == name)
        first = " ".join((real.callback.__doc__ or "").split("\n\n")[0].split())
        assert f"{name} {first}" in words
    assert all(f"{name} {what}" in words for name, (_, what) in GROUPS.items())
