"""Tags are found by their roles: what is refused, what is told, and that no code names an id."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.tag import tag
from features.aipl import AiplSettings
from features.catalogue import user_attributes
from features.quality import declarations
from jobs.profile.diff import changes
from project import setup
from project.folder import Project
from project.loading import load_catalogue
from schemas.contracts import contracts
from schemas.errors import ConfigurationError, NotThereError
from schemas.tag_roles import ROLES, TagRole, in_short
from tests import shipped
from tests.tags.test_catalogue import load, text

ROOT = Path(__file__).parents[2]
PRODUCT = ("features", "jobs", "queries", "report", "audiences", "cli", "project", "models", "lake")
ALSO = {"lifecycle": "the method (methods/lifecycle.yaml), its topic and its part of the page"}
"""Words that are an id of the example shop and something of the code's own as well, with what."""
SCHEME = {"scheme": "true", "strategies": "{a: {zh: 做, en: Do}, b: {zh: 做, en: Do}, none: {zh: 做, en: Do}}"}


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module that is no docstring, nor a text that stands below what it describes, with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def test_no_module_names_a_tag_by_its_id() -> None:
    columns = {c.name for table in contracts().values() for c in table.columns} | set(user_attributes())
    ids = set(shipped.catalogue().tags) - columns - set(ALSO)
    assert len(ids) > 180
    named = []
    for path in (p for folder in PRODUCT for p in sorted((ROOT / folder).rglob("*.py"))):
        for line, value in strings(path):
            # a word of everyday speech is an id only where it stands alone
            words = {w for w in re.findall(r"[a-z][a-z0-9_]*", value) if "_" in w} | {value}
            named += [f"{path.relative_to(ROOT)}:{line}: {word}" for word in sorted(words & ids)]
    assert named == [], "find it by its role (schemas/tag_roles.py), or by the column that it shows"


def test_every_role_has_a_tag_in_the_example_shop_and_words_in_both_languages() -> None:
    assert set(shipped.catalogue().roles) == set(TagRole) == set(ROLES)
    for entry in ROLES.values():
        assert all(s.zh and s.en and s.zh != s.en for s in (entry.name, entry.means, entry.without, entry.needs))


# --- what is refused ---


def test_two_tags_of_one_role_are_refused_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as e:
        load(tmp_path, text("a", role="lifecycle", **SCHEME), text("b", role="lifecycle", **SCHEME))
    (line,) = str(e.value).splitlines()
    places = re.findall(r"[a-z0-9]+\.yaml:(\d+)", line)
    said = next(tmp_path.glob("*.yaml")).read_text(encoding="utf-8").splitlines()
    assert [said[int(n) - 1].strip() for n in places] == ["role: lifecycle"] * 2 and places[0] > places[1]
    assert "tag 'b': role lifecycle has tag 'a' at" in line


def test_an_unknown_role_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"yaml:\d+: tag 'a': role: unknown role; did you mean 'lifecycle'\?"):
        load(tmp_path, text("a", role="lifecycel", **SCHEME))


@pytest.mark.parametrize(
    ("role", "entry", "said"),
    [
        ("lifecycle", {}, "must be a segmentation"),
        ("aipl", SCHEME, "with at least the values awareness, interest, purchase, loyalty, none"),
        ("recency", SCHEME, "must be a whole number of unit days"),
    ],
)
def test_a_tag_that_is_not_what_its_role_needs_is_refused(
    tmp_path: Path, role: str, entry: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(tmp_path, text("a", role=role, **entry))


@pytest.mark.parametrize(
    ("tag", "change", "said"),
    [
        ("net_amount_365d", {"unit": "orders"}, "role monetary .* of unit minor"),
        ("rfm_recency", {"values": (0, 1, 2)}, "role recency_score .* from 1 to 5"),
        ("promotion_score", {"role": "recency_score"}, "role recency_score .* must be a whole number from 1 to 5"),
    ],
)
def test_units_and_bounds_of_a_role_are_held(tag: str, change: dict[str, Any], said: str) -> None:
    entry = shipped.catalogue().tags[tag].model_dump(by_alias=True, exclude={"fact"}) | {"fact": None}
    entry |= {"expression": entry["expression"] or "1", "method": "rule"} | change
    with pytest.raises(ValueError, match=said):
        type(shipped.catalogue().tags[tag]).model_validate(entry)


def test_the_settings_of_super_users_of_before_are_told_to_be_a_role_now() -> None:
    with pytest.raises(ValueError, match=r"super_scheme and super_value: .*`role: super_user`.*'super'"):
        AiplSettings.model_validate({"super_scheme": "vip", "super_value": "gold"})


# --- what is told ---


def without_roles(folder: Path, *kept: str) -> Path:
    """A project folder as it was copied before there were roles, but for some."""
    setup.init(folder)
    for path in (folder / "tags").glob("*.yaml"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        told = [x for x in lines if not x.startswith("    role: ") or x.strip().removeprefix("role: ") in kept]
        path.write_text("".join(told), encoding="utf-8")
    return folder


def test_check_tells_what_goes_without_and_which_tag_wants_the_role(tmp_path: Path) -> None:
    folder = without_roles(tmp_path / "shop", *(r for r in TagRole if r not in ("lifecycle", "pyramid")))
    done = CliRunner().invoke(tag, ["check", "--project", str(folder)])
    assert done.exit_code == 0, done.output
    told = [line for line in done.output.splitlines() if "No tag has the role" in line]
    assert [re.findall("role: ([a-z_]+)`", line) for line in told] == [["pyramid"], ["lifecycle"]]
    assert ROLES[TagRole.LIFECYCLE].without.en in told[1]
    where = re.search(r"tag 'lifecycle' has it, which stands here at (.*):(\d+)\.", told[1])
    assert where and "id: lifecycle" in Path(where[1]).read_text(encoding="utf-8").splitlines()[int(where[2]) - 1]
    (short,) = setup.check(folder).warnings
    assert "pyramid (用户金字塔 user pyramid), lifecycle (生命周期 lifecycle)" in short


def test_check_says_nothing_of_roles_where_each_has_a_tag(tmp_path: Path) -> None:
    setup.init(tmp_path / "shop")
    assert not [w for w in setup.check(tmp_path / "shop").warnings if "role" in w]
    assert in_short([]) == []


def test_a_project_of_before_roles_can_be_read(tmp_path: Path) -> None:
    found = Project.load(without_roles(tmp_path / "shop")).catalogue
    assert found.roles == {} and found.without(TagRole) == list(TagRole)
    with pytest.raises(NotThereError, match="No tag has the role aipl"):
        found.tag_of(TagRole.AIPL)


# --- what does not change ---


def test_the_score_of_a_layering_has_not_the_role_of_its_layers(tmp_path: Path) -> None:
    shutil.copytree(shipped.TAGS, tmp_path / "tags")
    path = tmp_path / "tags" / "layering.yaml"
    given = path.read_text(encoding="utf-8").replace(
        "  - id: value_layer\n", "  - id: value_layer\n    role: pyramid\n"
    )
    path.write_text(given, encoding="utf-8")
    segments = tmp_path / "tags" / "segments.yaml"
    segments.write_text(segments.read_text(encoding="utf-8").replace("    role: pyramid\n", ""), encoding="utf-8")
    found = load_catalogue(sorted((tmp_path / "tags").glob("*.yaml")))
    assert found.of_role(TagRole.PYRAMID) == "value_layer" and found.tags["value_layer_score"].role is None


def test_a_role_changes_no_value_so_quality_goes_on(tmp_path: Path) -> None:
    whole = shipped.catalogue()
    bare = replace(whole, tags={n: t.model_copy(update={"role": None}) for n, t in whole.tags.items()})
    assert declarations(whole, {}) == declarations(bare, {})


def test_a_catalogue_that_was_stored_before_roles_differs_in_nothing() -> None:
    whole = shipped.catalogue()
    before = {
        kind: {n: {k: v for k, v in e.items() if k != "role"} for n, e in entries.items()}
        for kind, entries in whole.declared.items()
    }
    nobody: Any = None
    assert changes(nobody, before, whole) == []
    given = replace(whole, tags=whole.tags | {"age": whole.tags["age"].model_copy(update={"role": TagRole.RECENCY})})
    (change,) = changes(nobody, whole.declared, given)
    assert (change.tag, change.kind, change.keys) == ("age", "worded", ("role",))
