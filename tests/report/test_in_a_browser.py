"""The report in a real browser, at the width of a desk and of a telephone, in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from queries.user import card
from report.card import write_card
from report.page import report
from tests.report import browser
from tests.report.browser import Tab
from tests.report.made_shop import MadeShop

pytestmark = pytest.mark.slow
WIDTHS = (1440, 390)
DRAWN = "document.documentElement.dataset.charts === 'drawn'"
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
LARGE = """[...document.querySelectorAll('.chart')].filter(c => {
  const plot = c.querySelector('.main-svg'), box = c.getBoundingClientRect();
  return !plot || box.width < 150 || box.height < 80 || plot.getBoundingClientRect().width > box.width + 1;
}).map(c => c.id)"""
CUT = """[...document.querySelectorAll('.block:not(.absent) .scroll')].filter(s => s.scrollWidth > s.clientWidth + 1)
  .map(s => s.getAttribute('aria-label'))"""
PROSE = """[...document.querySelectorAll('.stacked td.prose')].filter(c => {
  const box = c.getBoundingClientRect(); return box.left < 0 || box.right > window.innerWidth || box.width < 150;
}).length"""
SMALL = """[...document.querySelectorAll('.heatmaplayer text')].filter(t => parseFloat(getComputedStyle(t).fontSize) < 11).length"""
SHOWN = "[...document.querySelectorAll('h2')].map(h => h.innerText).join('|')"
TICKS = "[...document.querySelectorAll('.chart text')].map(t => t.textContent).join('|')"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    program = browser.found()
    if program is None:
        message = "no Chromium on this machine: install chromium, or name one in CHROMIUM"
        pytest.skip(message)
    with browser.tab(program) as t:
        yield t


@pytest.fixture(scope="module")
def page(made: MadeShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(made.project, out=tmp_path_factory.mktemp("page") / "report.html").file


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_is_whole_at_this_width(tab: Tab, page: Path, width: int) -> None:
    tab.errors.clear()
    tab.requests.clear()
    tab.size(width)
    tab.open(page)
    tab.until(DRAWN)
    for lang, title, tick in (("en", "Fission", "Members"), ("zh", "裂变", "会员")):
        tab.value(f"document.querySelector('[data-set-lang={lang}]').click()")
        tab.until(DRAWN)
        assert title in tab.value(SHOWN) and tick in tab.value(TICKS)
        assert tab.value("document.documentElement.lang") == {"zh": "zh-CN", "en": "en"}[lang]
        assert tab.value("document.querySelectorAll('[aria-pressed=true]').length") == 1
        assert tab.value(OVERFLOW) <= 0
        assert tab.value(LARGE) == []
    tab.value("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert tab.value(OVERFLOW) <= 0
    assert tab.value(PROSE) == 0
    assert tab.value(SMALL) == 0
    if width == 1440:
        assert tab.value(CUT) == []
        assert tab.value("(n => n.scrollWidth - n.clientWidth)(document.querySelector('.top nav'))") <= 0
    assert tab.value("window.broken") is None
    assert tab.errors == []
    assert [r for r in tab.requests if not r.startswith(("data:", page.as_uri()))] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_card_is_whole_at_this_width(tab: Tab, made: MadeShop, tmp_path: Path, width: int) -> None:
    tab.errors.clear()
    tab.size(width)
    tab.open(write_card(made.project, card(made.project, 4), tmp_path / "card.html"))
    assert tab.value("[...document.querySelectorAll('h1')].map(h => h.innerText).join()") == "用户画像卡"
    tab.value("document.querySelector('[data-set-lang=en]').click()")
    assert tab.value("[...document.querySelectorAll('h1')].map(h => h.innerText).join()") == "User card"
    tab.value("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert tab.value(OVERFLOW) <= 0
    assert tab.value("window.broken") is None
    assert tab.errors == []
