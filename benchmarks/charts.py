"""A chart beside each file of results: ``python -m benchmarks.charts`` draws them all anew; ``--record`` draws its own.

Seconds of every record, one panel a size, the oldest on the left. The same figures give the same bytes.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.records import RESULTS, Record, size, title

INCHES_WIDE, INCHES_A_PANEL = 7.5, 2.6


def draw(results: Path) -> Path:
    """The chart of a file of results, as SVG of the same name."""
    records: list[Record] = json.loads(results.read_text(encoding="utf-8"))
    ordered = sorted(records, key=size)
    sizes = {each: list(same) for each, same in groupby(ordered, key=size)}
    with matplotlib.rc_context({"svg.hashsalt": results.stem, "svg.fonttype": "none", "font.size": 9}):
        figure, panels = plt.subplots(
            len(sizes), 1, figsize=(INCHES_WIDE, INCHES_A_PANEL * len(sizes)), squeeze=False, layout="constrained"
        )
        for panel, (each, same) in zip(panels[:, 0], sizes.items(), strict=True):
            at = range(len(same))
            for name in (k for k in same[-1] if k.endswith("seconds")):
                panel.plot(at, [r.get(name) for r in same], marker="o", label=name.replace("_", " "))
            panel.set_title(title(each), loc="left")
            panel.set_xticks(list(at), [r["measured_at"][:10] for r in same])
            panel.set_ylim(bottom=0)
            panel.set_ylabel("seconds")
            panel.grid(axis="y", alpha=0.3)
            panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        path = results.with_suffix(".svg")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return path


if __name__ == "__main__":
    for file in sorted(RESULTS.glob("*.json")):
        print(draw(file))
