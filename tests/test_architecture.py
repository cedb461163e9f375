"""Rules of the house that hold for every file: which way imports point, and what no file may name."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = ("models", "features", "lake", "schemas")
MAY_IMPORT = {
    "schemas": {"schemas"},
    "lake": {"lake", "schemas"},
    "features": {"features", "schemas"},
    "models": {"models", "schemas"},
    "audiences": {"audiences", "schemas"},
    "campaigns": {"campaigns", "schemas"},
    "simulator": {"simulator", "schemas"},
    "project": {"project", "audiences", "campaigns", *BELOW},
    # Who writes tables and who asks a release know nothing of each other.
    "jobs": {"jobs", "project", "audiences", "campaigns", *BELOW},
    "queries": {"queries", "project", "audiences", "campaigns", *BELOW},
    "report": {"report", "queries", "project", "audiences", "campaigns", *BELOW},
    "portal": {"portal", "report", "queries", "project", "audiences", "campaigns", *BELOW},
    "cli": {"cli", "portal", "report", "queries", "jobs", "project", "audiences", "campaigns", "simulator", *BELOW},
    # Commands only.
    "dags": {"dags"},
    # What an analyst may: read a project's releases.
    "notebooks": {"project", "lake", "schemas"},
}
OURS = set(MAY_IMPORT) | {"benchmarks", "tests"}
TASK = re.compile(r"[a-z_]+(\.[a-z_]+)+:[a-z_]+")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "process", "handle"}
TEXT = {".py", ".yaml", ".yml", ".md", ".cfg", ".toml", ".txt", ".sh", ".xml", ".json", ".html", ""}


def files() -> list[Path]:
    """Every file of the project that git has or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        made = {"__pycache__", "build", "demo"}
        # A copy without git: all but what tools make.
        return [
            p
            for p in ROOT.rglob("*")
            if p.is_file() and not any(x in made or (x[0] == "." and x != ".ci") for x in p.relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def modules(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> list[tuple[int, str]]:
    """Top-level packages that a module imports or names as a task, wherever in it, with the line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name.split(".")[0]) for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.lineno, node.module.split(".")[0]))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and TASK.fullmatch(node.value):
            # A map task is named as "module:function" and imported by the worker that runs it.
            found.append((node.lineno, node.value.split(".")[0]))
    return found


def modules_by_name() -> dict[str, Path]:
    """Every module of the distribution by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in MAY_IMPORT
        for path in modules(folder)
    }


def needed(path: Path, known: dict[str, Path]) -> set[str]:
    """Our own modules that a module imports anywhere in it, for types only as well, or names as a task."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {n if (n := f"{node.module}.{a.name}") in known else node.module for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and TASK.fullmatch(node.value):
            found.add(node.value.split(":")[0])
    return found & set(known)


def test_no_files_import_each_other_in_a_circle() -> None:
    known = modules_by_name()
    # A module may name a task of its own.
    left = {name: needed(path, known) - {name} for name, path in known.items()}
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        for name in free:
            del left[name]
    assert sorted(left) == []


def tasks() -> list[tuple[str, str]]:
    """Every map task that is named by a string: where, and its name."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node.value)
        for folder in MAY_IMPORT
        for path in modules(folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and TASK.fullmatch(node.value)
    ]


def test_every_task_that_a_string_names_is_there() -> None:
    found = tasks()
    assert len(found) > 10
    wrong = []
    for where, name in found:
        module, function = name.split(":")
        path = ROOT / (module.replace(".", "/") + ".py")
        defined = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
        if not any(isinstance(node, ast.FunctionDef) and node.name == function for node in defined):
            wrong.append(f"{where} names {name}")
    assert not wrong


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_imports_point_one_way(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(folder)
        for line, name in imported(path)
        if name in OURS and name not in MAY_IMPORT[folder]
    ]
    assert not wrong


IMPURE = re.compile(
    r"\b(os\.environ|datetime\.now\(|date\.today\(|time\.time\(|SparkSession\.builder|open_engine|read_yaml|"
    r"read_folder|read_parquet|read_csv|read_json|read_table|write_table|ParquetFile|ParquetWriter|memory_map|OSFile|"
    r"tempfile|duckdb\.connect|np\.(load|save|memmap)|joblib|pickle)|(?<![.\w])open\("
    r"|\.(read_text|read_bytes|write_text|write_bytes|mkdir|iterdir|rglob|is_file|unlink)\("
    r"|from pathlib import .*(?<!Pure)\bPath\b|^\s*import (os|io|pathlib|shutil|subprocess|socket)\b"
)


def test_features_and_models_are_pure() -> None:
    """No session, path, file, clock or environment in the middle of the pipeline."""
    wrong = [
        f"{path.relative_to(ROOT)}:{i}: {line.strip()}"
        for folder in ("features", "models")
        for path in modules(folder)
        for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if IMPURE.search(line)
    ]
    assert not wrong


OF_PATHS = re.compile(
    r"\.(glob|rglob|iterdir|hardlink_to|symlink_to)\(|\bos\.(link|symlink|listdir|scandir|walk|rename|replace)\("
    r"|\b(fcntl|flock|LocalFileSystem)\b|\blake\.root\b|\bstore\.folder\b|\bjournal\._held\b"
)
BESIDE_THE_LAKE = {
    "portal/assets.py": "the package's own styles and scripts",
    "audiences/delivery.py": "a folder of exports",
    "audiences/id_files.py": "a project's lists of ids",
    "audiences/language.py": "a project's audiences",
    "cli/pages.py": "the repository's tags",
    "jobs/profile/diff.py": "another version of a project's tags",
    "portal/drafting.py": "a project's lists of ids",
    "project/audience_saving.py": "a project's audiences",
    "project/example.py": "the example's tags",
    "project/folder.py": "a project's YAML",
    "project/inbox.py": "an inbox that is a folder",
    "project/setup.py": "a project's files",
    "schemas/contracts.py": "contracts of this distribution",
}
"""Modules that list or move paths, none of them of a lake."""


def test_nothing_outside_lake_lists_moves_links_or_locks_a_path_of_the_lake() -> None:
    """Steps write into folders that the lake gives them and read files that it made local; where they lie is its own."""
    found = {
        str(path.relative_to(ROOT)): line
        for folder in set(MAY_IMPORT) - {"lake", "simulator"}
        for path in modules(folder)
        for line in path.read_text(encoding="utf-8").splitlines()
        if OF_PATHS.search(line)
    }
    assert set(found) == set(BESIDE_THE_LAKE)


def test_no_module_has_a_name_that_says_nothing() -> None:
    wrong = [str(p.relative_to(ROOT)) for folder in MAY_IMPORT for p in modules(folder) if p.stem in VAGUE]
    assert not wrong


NAMED_ALIKE = {
    "main": "what a module does that is run by itself",
    "insight": "what every topic of jobs/insights gives; the step asks each module for it",
}
"""Public names that several modules may define, and why. Verbs of cli/ and routes of portal/ are named as what they call
and need no entry."""


def defined(path: Path) -> set[str]:
    """Public classes and functions of a module; verbs of the command line and routes of the portal are not counted."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        marks = {ast.unparse(d) for d in node.decorator_list}
        room = path.relative_to(ROOT).parts[0]
        routed = room == "portal" and any(mark.startswith("router.") for mark in marks)
        if not routed and not ("verb" in marks and room == "cli"):
            found.add(node.name)
    return found


def test_a_name_is_defined_once_so_that_a_word_means_one_thing() -> None:
    """A class or function of the same name elsewhere either means the same and one goes, or it needs a word of its own."""
    where: dict[str, list[str]] = {}
    for folder in sorted(set(MAY_IMPORT) - {"dags", "notebooks"}):
        for path in modules(folder):
            for name in sorted(defined(path)):
                where.setdefault(name, []).append(str(path.relative_to(ROOT)))
    twice = {name: places for name, places in where.items() if len(places) > 1}
    assert {name: places for name, places in twice.items() if name not in NAMED_ALIKE} == {}
    assert set(NAMED_ALIKE) <= set(twice), "an entry that nothing needs any more"


def test_no_file_names_a_machine_or_a_package_host() -> None:
    """Hosts come from the reader's own settings of pip, Java and apt; paths from the reader's own machine."""
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "maven" + ".org", "repo1" + ".", "deb.debian" + ".org")
    paths = (r"/ro" + r"ot/", r"/ho" + r"me/", r"/Us" + r"ers/", r"/wo" + r"rk/", r"file:" + r"//")
    forbidden = re.compile("|".join([re.escape(h) for h in hosts] + list(paths)))
    wrong = []
    for path in files():
        if path.suffix not in TEXT or path.name == "LICENSE":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        wrong += [
            f"{path.relative_to(ROOT)}:{i}: {line.strip()[:80]}"
            for i, line in enumerate(text.splitlines(), 1)
            if forbidden.search(line)
        ]
    assert not wrong


def test_no_file_is_large() -> None:
    assert not [f"{p.relative_to(ROOT)}" for p in files() if p.stat().st_size > 1_000_000]


def _direct(config: configparser.ConfigParser) -> set[str]:
    """Names of the distributions that setup.cfg asks for, extras included."""
    listed = config["options"]["install_requires"] + "".join(config["options.extras_require"].values())
    return {re.split(r"[\s<>=!\[]", line)[0] for line in listed.splitlines() if line and not line.startswith("#")}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def test_every_direct_dependency_is_pinned_and_has_its_reason() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    pins = _plain((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    reasons = _plain((ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"))
    for name in map(_plain, _direct(config)):
        assert f"\n{name}==" in pins, f"{name} is not in constraints.txt"
        assert f"| {name} |" in reasons, f"{name} is not in docs/dependencies.md"


def test_every_import_is_of_something_that_the_base_installation_or_an_extra_brings() -> None:
    """What another package happens to bring today is gone tomorrow. An extra that is not installed here is not judged."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    declared = {_plain(d) for d in _direct(config)}
    brought = packages_distributions()
    wrong = []
    for folder in sorted(set(MAY_IMPORT) | {"benchmarks", "tests"}):
        for path in modules(folder):
            local = OURS | {p.stem for p in path.parent.glob("*.py")}
            for line, name in imported(path):
                distributions = {_plain(d) for d in brought.get(name, ())}
                known = name in local or name in sys.stdlib_module_names or name not in brought
                if not known and not distributions & declared:
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}, which setup.cfg does not name")
    assert not wrong


def test_every_dag_is_in_the_page_of_schedules() -> None:
    page = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
    makers = {"early_every_day", "every_sunday", "after"}
    ids = {
        node.args[0].value
        for path in modules("dags")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in makers
        and isinstance(node.args[0], ast.Constant)
    }
    assert ids == {"profile_daily", "audience_exports", "lake_care"}, "those of ingest are made of dags/derived.json"
    assert {i for i in {*ids, "ingest_reference"} if f"| `{i}` |" not in page} == set()


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in (p for p in files() if p.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken
