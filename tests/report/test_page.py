"""The report page from hand-made tables: self-contained, escaped, in two languages, with every part of the material."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from features.rhythm import Silence
from lake.manifest import ManifestRow
from project.held import Marks
from report.blocks import Block, Section, texts
from report.data import ReportData, report_data
from report.page import WORDS, as_packed, attention, html, overview, plotly_script, report, sections
from report.words import FEEDS as FEED_NAMES
from report.words import ID_KINDS, Vocabulary
from schemas.contracts import FEEDS, fields
from schemas.errors import HuaxiangError, NotThereError
from schemas.text import Text
from tests.report.made_shop import HOSTILE, HOSTILE_CATEGORY, SCHEMES, D, MadeShop

CHINESE = re.compile("[\u4e00-\u9fff]")
PARTS = (
    "tags",
    "rfm",
    "pyramid",
    "aipl",
    "lifecycle",
    "quadrants",
    "promotion",
    "layering",
    "fission",
    "cross",
    "brushing",
    "campaigns",
    "segmentations",
    "flows",
    "quality",
)


class Reader(HTMLParser):
    """Elements with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.visible: list[str] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside is None:
            self.visible.append(data)


@pytest.fixture(scope="module")
def data(made: MadeShop) -> ReportData:
    return report_data(made.project, made.made)


@pytest.fixture(scope="module")
def text(data: ReportData) -> str:
    return html(data)[0]


@pytest.fixture(scope="module")
def page(text: str) -> Reader:
    return Reader(text)


@pytest.fixture(scope="module")
def charts(page: Reader) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(page.scripts[1])
    return found


def blocks(found: tuple[Section, ...]) -> list[Block]:
    return [b for s in found for b in s.blocks]


def test_the_page_has_every_part_of_the_material(page: Reader) -> None:
    ids = [a["id"] for tag, a in page.elements if tag == "section" and "id" in a]
    assert ids == list(PARTS)


def test_nothing_is_missing_where_every_table_has_rows(data: ReportData) -> None:
    assert [b.title.en for b in blocks(sections(data)) if b.missing] == []


def test_the_page_loads_nothing(page: Reader) -> None:
    """No element may fetch, and the page's own policy forbids it to the browser."""
    assert not [t for t, _ in page.elements if t in ("link", "img", "iframe", "object", "embed", "base", "form")]
    assert not [a for _, a in page.elements if "src" in a or "srcset" in a or "onerror" in a]
    assert {str(a["href"])[:1] for _, a in page.elements if "href" in a} == {"#"}
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none';") and "http" not in str(policy)
    assert "@import" not in "".join(page.visible)


def test_plotly_stands_in_the_page_once_and_packed(page: Reader, text: str) -> None:
    assert len(page.scripts) == 3
    assert gzip.decompress(base64.b64decode(page.scripts[0])).decode() == plotly_script()
    assert "</script" not in plotly_script().lower(), "it becomes a script element again"
    assert len(text) < 0.6 * len(plotly_script())


def test_hostile_names_and_values_are_text(text: str, page: Reader) -> None:
    assert HOSTILE not in text and HOSTILE_CATEGORY not in text
    assert "window.broken" not in "".join(page.scripts[::2])
    assert HOSTILE in "".join(page.visible)


def test_data_inside_the_script_cannot_end_it(text: str, page: Reader) -> None:
    inside = text.split('id="charts">', 1)[1].split("</script>", 1)[0]
    assert not set("<>&") & set(inside)
    assert "&lt;img src=x" in json.dumps(json.loads(page.scripts[1]), ensure_ascii=False)


def test_plotly_accepts_every_chart(charts: list[dict[str, Any]]) -> None:
    assert len(charts) >= 25
    for spec in charts:
        go.Figure(spoken(spec["data"], "zh"), spoken(spec["layout"], "zh"))


def spoken(value: Any, lang: str) -> Any:
    if isinstance(value, dict):
        return value[lang] if set(value) == {"zh", "en"} else {k: spoken(v, lang) for k, v in value.items()}
    return [spoken(v, lang) for v in value] if isinstance(value, list) else value


def test_every_text_is_there_in_both_languages(data: ReportData) -> None:
    own = [*texts(sections(data)), *texts(overview(data)), *texts(list(vars(WORDS).values()))]
    assert len(own) > 500
    assert [t for t in own if not t.zh.strip() and t.en.strip()] == []
    assert [t for t in own if t.zh.strip() and not t.en.strip()] == []
    shops = ("北京", "上海", "面霜", "面膜", "口红", HOSTILE, HOSTILE_CATEGORY)
    said = [t for t in own if CHINESE.search(t.en) and not any(s in t.en for s in shops)]
    assert said == []


def test_prose_is_chinese_in_chinese(data: ReportData) -> None:
    for b in blocks(sections(data)):
        assert CHINESE.search(b.note.zh) and not CHINESE.search(b.note.en), b.title
        assert b.title.zh and b.title.en


def test_every_block_says_what_it_counts_and_where_from(data: ReportData) -> None:
    for b in blocks(sections(data)):
        assert len(b.note.en) > 15 and len(b.note.zh) > 5, b.title
        assert b.source, b.title
        if b.chart is not None:
            assert b.table is not None and b.table.rows, b.title


def test_the_head_tells_members_from_visitors(data: ReportData) -> None:
    tiles = {t.label.en: t.value.en for t in overview(data)}
    assert (tiles["Members"], tiles["Visitors"]) == ("240", "60")


def test_a_young_shop_is_told_what_is_missing_instead_of_empty_charts(bare: MadeShop) -> None:
    found = report_data(bare.project, bare.made)
    text, drawn = html(found)
    assert drawn < 12
    missing = {b.title.en: b.missing.en for b in blocks(sections(found)) if b.missing}
    assert missing["Quadrant transitions, latest period"] == "This release has not judged moves between quadrants."
    assert "No earlier run has this segmentation" in missing["Flow between stages"]
    for b in blocks(sections(found)):
        assert b.missing or b.chart or b.table or b.tiles or b.steps or b.groups, b.title
    assert "这次发布没有判断过象限迁移" in text


def test_the_pyramid_shows_needs_and_resources_of_every_level(data: ReportData) -> None:
    (block,) = [b for b in blocks(sections(data)) if b.steps]
    assert [s.name.en for s in block.steps] == ["Spokesperson", "Repeat", "First purchase", "Follower"]
    assert all(s.needs and s.resources and s.strategy for s in block.steps)


def test_every_whole_table_and_the_alerts_say_how_the_people_become_a_list(data: ReportData) -> None:
    whole = [
        b
        for b in blocks(sections(data))
        if b.title.en.endswith(("users, money, means and strategy", "money and means"))
    ]
    assert len(whole) == 6
    for b in whole:
        assert re.search(r"\{tag: \w+, is: \w+\}", b.note.zh) and "into an audience" in b.note.en, b.title
        assert b.table is not None and b.table.stacked
    (alerts,) = [b for b in blocks(sections(data)) if b.title.en == "Alerts"]
    assert "{alert: moving_to_rare_low}" in alerts.note.zh


def test_the_benchmark_says_which_one_it_is_and_what_is_marked(data: ReportData) -> None:
    (block,) = [b for b in blocks(sections(data)) if b.title.en == "Against the benchmark"]
    assert "本店前 28 天" in block.note.zh and "百分点" in block.note.zh and "–" in block.note.zh
    assert block.table is not None
    assert all(str(r[3].zh).endswith("个百分点") for r in block.table.rows if isinstance(r[3], Text) and r[3].zh != "–")


def test_who_turned_to_self_buyer_is_no_level(data: ReportData) -> None:
    (block,) = [b for b in blocks(sections(data)) if b.title.en == "Distributors"]
    assert block.table is not None and "self-buyer" not in str(block.table.rows)
    assert [t.label.en for t in block.tiles] == ["Of them turned to self-buyer"]


def test_feeds_and_channels_have_chinese_names() -> None:
    assert set(FEED_NAMES) == set(FEEDS) and FEED_NAMES["browse"].zh == "浏览行为"
    assert set(ID_KINDS) == set(fields()["id_kind"].values or ())


def test_a_held_tag_and_a_raised_alert_stand_at_the_top(text: str) -> None:
    head = text.split('id="tags"')[0]
    assert "1 tags held: Scheme quadrant" in head
    assert "Moving to rare, low value: 6.10%, above the limit 5.00%" in head


def test_what_is_made_from_a_held_tag_says_so_where_it_stands(data: ReportData) -> None:
    marked = [b.title.en for b in blocks(sections(data)) if b.note.en.startswith("Mind: made from held tags")]
    assert any("quadrant" in title for title in marked)
    assert all("uadrant" in title for title in marked)


def test_who_moved_since_a_day_on_which_a_tag_was_held_says_so(data: ReportData) -> None:
    assert data.flows_from is not None
    start = max(a["from_as_of"] for a in data.alerts if a.get("from_as_of"))
    then = Marks({"quadrant": start}, dict.fromkeys(SCHEMES, ("quadrant",)))
    for day, title in ((data.flows_from, "who moved"), (start, "Quadrant transitions")):
        free = replace(data, held=Marks(), held_then={day: then})
        marked = [b.title.en for b in blocks(sections(free)) if b.note.en.startswith("Mind: made from held tags")]
        assert any(title in m for m in marked), (day, marked)
        # the day's own shares are made from what is published again
        assert not any("share of users" in m for m in marked)


def test_a_feed_out_of_step_stands_at_the_top_with_its_rows(data: ReportData) -> None:
    short = {"alert": "feed_rows.orders", "number": 120.0, "limit_number": 1200.0, "is_raised": True}
    said = attention(replace(data, alerts=[*data.alerts, short]))
    assert Text("订单：每天 120 行，平时 1,200 行", "Orders: 120 rows a day, usually 1,200") in said
    # it lists nobody, so no tile offers its people
    assert not any("feed_rows" in str(b) for b in blocks(sections(replace(data, alerts=[*data.alerts, short]))))


def test_no_person_is_on_the_page(text: str) -> None:
    """Neither public ids nor contacts; alert users are counts."""
    own = text.replace(as_packed(plotly_script()), "")
    assert not re.search(r"u0000\d\d", own) and "1380013800" not in own and '"uid"' not in own


def test_an_unknown_name_is_shown_as_it_is(data: ReportData) -> None:
    (block,) = [b for b in blocks(sections(data)) if b.title.en == "Reasons for flags"]
    assert block.table is not None
    assert [r[0] for r in block.table.rows][-1] == Text("something else", "something else")


def test_values_come_in_declared_order_then_what_else_is_there(made: MadeShop) -> None:
    words = Vocabulary(made.project.catalogue)
    assert words.order("value_layer", there={"zinc": 1, "gold": 2}) == [*SCHEMES["value_layer"][0], "zinc"]
    assert words.value("lifecycle", "no_such") == Text("no_such", "no_such")


def test_the_file_is_written_where_exports_go(made: MadeShop, tmp_path: Path) -> None:
    done = report(made.project, as_of=D)
    assert done.file == made.folder / "exports" / f"report-{D}.html" and done.bytes == done.file.stat().st_size
    there = report(made.project, number=1, out=tmp_path / "new" / "r.html", lang="en")
    assert 'data-lang="en"' in there.file.read_text(encoding="utf-8")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["r.html"]


def test_a_day_without_a_release_names_the_days_that_have_one(made: MadeShop) -> None:
    with pytest.raises(NotThereError, match=f"2026-01-01 has no release; days with a release: {D}"):
        report(made.project, as_of=D.replace(month=1, day=1))
    with pytest.raises(HuaxiangError, match=f"release 1 is of {D}, not of 2026-01-01"):
        report(made.project, as_of=D.replace(month=1, day=1), number=1)


def test_what_is_missing_stands_in_the_first_box_in_both_languages(data: ReportData) -> None:
    waiting = ManifestRow(
        feed="browse", source="browse", file="browse/3.jsonl", path="", checksum="c", bytes=1, columns="", rows_read=0,
        rows_not_selected=0, rows_silver=0, rows_duplicate=0, rows_quarantined=0, rows_late=0, dst_moved=0,
        late_days_p95=None, late_days_max=None, event_first_us=None, event_last_us=None, state="refused",
        batch_id="b", ingested_us=0, message="no",
    )  # fmt: skip
    silent = {"orders": Silence(D - timedelta(days=2), 2, 1, True)}
    at = replace(data.at, refused={"browse": 2})
    text = html(replace(data, at=at, refused=[waiting], silent=silent))[0]
    assert "Browsing: files that were refused when this was released and are in no number: 2; still waiting: 1" in text
    assert "发布时浏览行为有 2 个文件被拒收，不在任何数字里；现在还有 1 个待处理" in text
    assert f"Orders: no row of the last 2 days, the newest is of {D - timedelta(days=2)}" in text
    assert "browse/3.jsonl" in text


def test_a_table_that_is_cut_says_so(data: ReportData) -> None:
    one = data.associations[0]
    many = [one | {"left_item": f"c{n}", "right_item": f"d{n}", "lift": 1 + n} for n in range(70, 0, -1)]
    text = html(replace(data, associations=many))[0]
    assert "The chart shows the first 15 of 70 pairs, the table the first 60 of 70 rules." in text
    assert "图为前 15 对，共 70 对；表为前 60 条，共 70 条。" in text
    assert "The chart shows the first" not in html(data)[0]
