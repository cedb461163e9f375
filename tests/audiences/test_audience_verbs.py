"""``huaxiang audience`` and ``huaxiang user`` as they are typed: output for people and machines, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import audience as verbs
from queries.user import REVEALS
from tests.audiences.lake_shop import Shop

app = typer.Typer()
app.add_typer(verbs.audience, name="audience")
app.command()(verbs.user)


def typed(shop: Shop, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--project", str(shop.folder)])
    assert done.exit_code == code, done.output
    return done.output


def as_json(shop: Shop, *words: str, code: int = 0) -> Any:
    return json.loads(typed(shop, *words, "--json", code=code))


def test_the_way_from_list_to_file(shop: Shop) -> None:
    assert as_json(shop, "audience", "list")[0]["users"] is None
    assert as_json(shop, "audience", "preview", "beijing")["users"] == 3
    assert as_json(shop, "audience", "build", "beijing")[0]["enters"] == 3
    assert as_json(shop, "audience", "build")[0]["already_built"]
    (done,) = as_json(shop, "audience", "export", "--by", "li")
    assert done["rows"] == 3 and Path(done["file"]).is_file()
    assert json.loads(Path(done["manifest"]).read_text(encoding="utf-8"))["requested_by"] == "li"
    assert as_json(shop, "audience", "list")[0]["is_current"]


def test_people_read_words(shop: Shop) -> None:
    assert "3 of 8 users (37.50%); 3 members, 0 visitors" in typed(shop, "audience", "preview", "beijing")
    assert "An export now would hold 3 of them\n" in typed(shop, "audience", "preview", "beijing")
    why = typed(shop, "audience", "why", "beijing", "m000004")
    assert "m000004 is not in beijing" in why
    assert "Decided by: include.all.0: Registration city is 北京" in why
    assert "(value: 上海)  <- decided" in why
    assert "3 users; 3 entered, 0 left" in typed(shop, "audience", "build", "beijing")
    assert "built already" in typed(shop, "audience", "build", "beijing")
    assert "3 rows delivered" in typed(shop, "audience", "export", "beijing")
    assert "3 rows delivered before" in typed(shop, "audience", "export", "beijing")
    assert "beijing" in typed(shop, "audience", "list")


def test_an_export_can_go_elsewhere(shop: Shop, tmp_path: Path) -> None:
    typed(shop, "audience", "export", "beijing", "--out", str(tmp_path / "out"))
    assert [p.suffix for p in sorted((tmp_path / "out").rglob("*.*")) if p.is_file()] == [".csv", ".json"]


def test_a_user_is_shown_by_group_and_masked(shop: Shop) -> None:
    shown = typed(shop, "user", "m000001")
    assert "基本信息 / 人口信息" in shown and "女" in shown
    assert "138******01" in shown and "13800130001" not in shown
    assert "13800130001" in typed(shop, "user", "M1", "--member", "--reveal", "--purpose", "complaint")
    assert len(shop.lake.store.names(REVEALS)) == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("audience", "preview", "beijin"), "did you mean 'beijing'"),
        (("audience", "preview", "beijing", "--release", "9"), "no release '9'"),
        (("audience", "why", "beijing", "nobody"), "no user 'nobody'"),
        (("user", "99"), "uid 99 was never given to anybody"),
        (("user", "M9", "--member"), "no member has that id"),
    ],
)
def test_what_is_not_there_ends_with_7(shop: Shop, words: tuple[str, ...], expected: str) -> None:
    said = as_json(shop, *words, code=7)
    assert said["error"] == "NotThereError" and expected in said["message"]


def test_a_mistake_in_a_definition_ends_with_3(shop: Shop) -> None:
    shop.define("beijing", "include: {}\n")
    assert "beijing.yaml:1" in as_json(shop, "audience", "list", code=3)["message"]
