"""A project that has nothing but shares runs to its release and its report."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from jobs.pipeline import run
from lake.engine import Engine
from lake.sql import connect
from report.page import report
from tests.pipeline.hand_made import new_project, taken

DAY = date(2026, 3, 10)
SHARES = (
    "e1,2026-03-01 12:00,share,a,,,c1,s1,",
    "e2,2026-03-02 09:00:00,share_open,b,,a,c1,s1,",
    "e3,2026-03-02 09:00:00,register,b,,a,,,",
    "e4,2026-03-03 10:00,join_group,c,,a,c1,s1,",
    "e5,2026-03-03,register,c,,,,,",
    "e6,2026-03-04 10:00,share_open,d,,b,c2,s1,",
    "e7,2026-03-04 10:00,share_open,a,,a,c1,s1,",
)


@pytest.mark.slow
def test_a_project_that_has_only_shares_runs_to_its_release_and_loses_no_touch(tmp_path: Path, engine: Engine) -> None:
    project = new_project(tmp_path / "project")
    taken(project, engine, "1", {"shares": SHARES})
    assert run(project, engine, DAY).release.as_of == DAY

    with connect(project.lake, None) as con:

        def rows(sql: str) -> list[tuple[object, ...]]:
            return con.execute(sql).fetchall()

        con.execute("create temp view who as select uid, id_value as id from identity.identifiers")
        edges = rows(
            "select w.id, p.id, touch_kind from fission.share_edges e join who w using (uid) "
            "join who p on p.uid = parent_uid order by 1"
        )
        assert edges == [("b", "a", "share_open"), ("c", "a", "join_group")], "in the second, on the date of joining"
        touches = rows("select touch_kind, touch_outcome, touches from fission.touches where touches > 0 order by all")
        assert touches == [
            ("join_group", "first", 1),
            ("register", "repeated", 1),
            ("share_open", "first", 1),
            ("share_open", "self_invite", 1),
            ("share_open", "waiting", 1),
        ]
        tree = "tree_users, tree_depth, tree_joined from fission.{} join who on uid = root_uid"
        assert rows(f"select id, {tree.format('reach_trees')}") == [("a", 4, 2, 2)]
        assert rows(f"select id, sku_code, {tree.format('card_trees')}") == [("a", 1, 4, 2, 2)]

    page = report(project, as_of=DAY, out=tmp_path / "page.html").file.read_text(encoding="utf-8")
    assert "尚未加入" in page and "Has not joined" in page
