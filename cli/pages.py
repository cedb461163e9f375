"""Everything that is written from contracts, tags and steps, for people and for Airflow; a test holds that it is not stale.

``python -m cli.pages`` (``make pages``) writes ``docs/catalogue.md``, ``docs/dictionary.md``, ``docs/platforms.md``,
``docs/steps.md`` and ``dags/derived.json``.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

from audiences.platforms import read_platforms
from jobs.steps import STEPS, Step, layer_of
from project.loading import load_catalogue
from report.catalogue_page import HEAD, catalogue_page, dictionary_page, table_lines
from report.platforms_page import platforms_page
from schemas.contracts import contracts, taken_together

REPOSITORY = Path(__file__).parents[1]


def written() -> dict[str, str]:
    """Every such file with its text, by its path in the repository."""
    catalogue = load_catalogue(sorted((REPOSITORY / "conf" / "tags").glob("*.yaml")))
    return {
        "docs/catalogue.md": catalogue_page(catalogue),
        "docs/dictionary.md": dictionary_page(),
        "docs/platforms.md": platforms_page(read_platforms(sorted((REPOSITORY / "conf" / "platforms").glob("*.yaml")))),
        "docs/steps.md": steps_page(),
        "dags/derived.json": json.dumps(derived(), indent=1, ensure_ascii=False) + "\n",
    }


def derived() -> dict[str, object]:
    """What the DAGs need to know: feeds that are taken together, and the steps of a run in words."""
    return {"feeds": taken_together(), "steps": {s.name: what(s) for s in STEPS}}


def what(step: Step) -> str:
    """What a step makes, as its package says: ``Step ``NAME``: ...`` in the first line."""
    said = (import_module(f"jobs.{step.name}").__doc__ or "").splitlines()[0]
    return said.removeprefix(f"Step ``{step.name}``: ").removesuffix(".")


def steps_page() -> str:
    """The steps of a run as a picture and as a table."""
    lines = [
        "# Steps of a run 运行步骤",
        "",
        HEAD,
        "`huaxiang run --as-of DAY` runs them in this order and ends with a release, which pins every table that stands here; "
        "`--step NAME` runs one by itself and releases nothing. What their numbers mean: [the methods](methods.md).",
        "",
        "```mermaid",
        "flowchart LR",
        "  silver[(silver)]",
        *(f'  {s.name}["<b>{s.name}</b><br>{what(s)}"]' for s in STEPS),
        *(f"  {a} --> {b}" for a, b in arrows()),
        "```",
        "",
    ]
    rows = [[f"`{s.name}`", what(s), _tables(s.reads), _tables(s.writes)] for s in STEPS]
    return "\n".join([*lines, *table_lines(["step", "what it makes", "reads", "writes"], rows)]) + "\n"


def arrows() -> list[tuple[str, str]]:
    """Which step needs which, and silver; a need that another one brings with it is left out."""
    writer = {table: s.name for s in STEPS for table in s.writes}
    needs = {s.name: {writer.get(t, layer_of(t)) for t in s.reads} - {s.name} for s in STEPS}

    def brings(name: str) -> set[str]:
        below = needs.get(name, set())
        return below.union(*(brings(n) for n in below))

    return [
        (n, s.name)
        for s in STEPS
        for n in sorted(needs[s.name])
        if not any(n in brings(other) for other in needs[s.name])
    ]


def _tables(names: tuple[str, ...]) -> str:
    """Tables by layer; a whole layer by its name."""
    found = []
    for layer in dict.fromkeys(map(layer_of, names)):
        here = [n for n in names if layer_of(n) == layer]
        whole = len(here) > 1 and set(here) == {n for n, c in contracts().items() if c.layer == layer}
        found.append(f"all of `{layer}`" if whole else ", ".join(_linked(n) for n in here))
    return ", ".join(found)


def _linked(name: str) -> str:
    return f"[`{name}`](dictionary.md#{name.replace('.', '')})"


def main() -> None:
    """Write them."""
    for name, text in written().items():
        (REPOSITORY / name).write_text(text, encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
