"""``huaxiang source draft FILE``: mappings for an unknown file, proposed from its column names and values.

Nothing is written. What is only a guess says so with its evidence, and is commented out where it is an id or money: an
id that is none merges people, a total that is no line's is counted for each of them. What cannot be known is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from cli.drafting.lines import SampleOrders, amounts_of, totals
from cli.drafting.matching import Guess, Matches, guess_feeds, is_clear, match
from cli.drafting.preview import Trial, tried_rows
from cli.drafting.rendering import as_yaml
from cli.drafting.rules import FieldLine, Setting, columns_read, lines_of
from cli.drafting.sample import Sample, sniff
from cli.drafting.times import Written, ways_of_writing
from lake.budget import in_memory
from project.folder import ProjectSettings
from schemas.configuration import nearest
from schemas.contracts import FEEDS, Contract, contract
from schemas.errors import NotThereError

TOGETHER = ("orders", "order_lines")
_ORDER_SIGNS = ("paid_at", "member_id", "phone", "openid", "unionid", "email")
_LINE_SIGNS = ("quantity", "sku_id", "line_id")


@dataclass
class Part:
    """One mapping: its lines, the YAML with comments, what is missing, and what it makes of the first rows."""

    feed: str
    save_as: str
    mapping: str
    lines: list[FieldLine]
    missing: list[str]
    unused_columns: list[str]
    preview: Trial


@dataclass
class Draft:
    """The mappings proposed for a file: one a feed. ``is_sure``: no other feed fits nearly as well."""

    file: str
    is_sure: bool
    nearest: list[Guess]
    parts: list[Part] = field(default_factory=list)
    names_products: bool = False
    """Do the lines also say what their products are called, for a mapping of ``products`` from the same file?"""

    def text(self) -> str:
        several = len(self.parts) > 1
        found = [f"# {self.file}: {self._feeds()}"]
        for part in self.parts:
            title = f"# === {part.save_as} ===" if several else f"# save as {part.save_as}"
            found += [title, part.mapping.rstrip(), "", *part.preview.comments(self.file), ""]
        if several:
            found.append(
                "# One file, two mappings: save each under its own name; both take their rows from the same file."
            )
        if self.names_products:
            found.append("# It also says what the products are called: --feed products drafts a mapping for that.")
        return "\n".join(found)

    def _feeds(self) -> str:
        said = [f"{g.feed} (by {', '.join(g.by)})" if g.by else g.feed for g in self.nearest]
        if not self.is_sure and not self.nearest[0].weight:
            return f"UNSURE which feed this is: no column speaks for any. Say which: --feed, one of {', '.join(FEEDS)}"
        if self.is_sure:
            return f"the columns are those of {' and '.join(p.feed for p in self.parts)}: {said[0]}"
        return (
            f"UNSURE which feed this is. Nearest: {said[0]}, then {said[1]}. Say which: --feed {self.nearest[0].feed}"
        )


def draft(file: Path, feed: str | None = None, settings: ProjectSettings | None = None) -> Draft:
    """Mappings for ``file``, their preview in the zone and currency of ``settings``.

    InputError if it cannot be read, NotThereError for a feed that there is not.
    """
    if feed is not None and feed not in FEEDS:
        raise NotThereError(f"no feed {feed!r}; {nearest(feed, list(FEEDS))}")
    settings = settings or ProjectSettings()
    sample = sniff(file)
    guesses = guess_feeds(sample)
    made = Draft(file.name, feed is not None or is_clear(guesses), guesses[:2])
    feeds = [feed] if feed else _feeds(sample, guesses[0].feed)
    matches = {f: match(sample, contract(f"silver.{f}")) for f in feeds}
    orders = SampleOrders(sample, _order_columns(sample, matches))
    if "order_lines" in feeds:
        matches["order_lines"] = match(sample, contract("silver.order_lines"), totals(orders, amounts_of(sample)))
    products = match(sample, contract("silver.products")).of
    described = "product_name" in products or "category" in products
    made.names_products = "order_lines" in feeds and "sku_id" in products and described
    with in_memory(threads=1) as con:
        written = ways_of_writing(sample, _times(feeds, matches), con)
        for f in feeds:
            made.parts.append(_part(sample, contract(f"silver.{f}"), matches[f], orders, written, feeds, settings, con))
    return made


def _feeds(sample: Sample, first: str) -> list[str]:
    """The feeds of the file: orders and their lines where it holds both."""
    if first not in TOGETHER:
        return [first]
    orders, lines = (match(sample, contract(f"silver.{f}")) for f in TOGETHER)
    signs = sum(n in lines.of for n in _LINE_SIGNS) + bool(amounts_of(sample))
    # A file of lines repeats the order's number and time; more of the order than that makes a row of orders.
    own = set(orders.of) - {col.name for col in contract("silver.order_lines").columns}
    told = any(n in own for n in _ORDER_SIGNS) or ("ordered_at" in orders.of and len(own) > 1)
    has_orders = "order_id" in orders.of and told
    has_lines = signs >= 2 or ("sku_id" in lines.of and not has_orders)
    kept = [f for f, there in zip(TOGETHER, (has_orders, has_lines), strict=True) if there]
    return kept or [first]


def _order_columns(sample: Sample, matches: dict[str, Matches]) -> tuple[str, ...]:
    """The column of the order's number, else those of its buyer and its time."""
    number = next((m.column("order_id") for m in matches.values() if "order_id" in m.of), None)
    if number:
        return (number,)
    buyers = match(sample, contract("silver.orders"))
    person = next((m for n in contract("silver.orders").persons.values() if (m := buyers.column(n))), None)
    placed = buyers.column("ordered_at") or buyers.column("paid_at")
    return (person, placed) if person and placed else ()


def _times(feeds: list[str], matches: dict[str, Matches]) -> list[str]:
    found: dict[str, None] = {}
    for f in feeds:
        kinds = {col.name for col in contract(f"silver.{f}").feed_columns if col.field.type in ("timestamp", "date")}
        found |= {m.column: None for n, m in matches[f].of.items() if n in kinds}
    return list(found)


def _part(
    sample: Sample,
    c: Contract,
    matches: Matches,
    orders: SampleOrders,
    written: dict[str, Written],
    feeds: list[str],
    settings: ProjectSettings,
    connection: duckdb.DuckDBPyConnection,
) -> Part:
    person = match(sample, contract("silver.orders")).column("member_id") if c.table == "order_lines" else None
    setting = Setting(sample, c, matches, orders, written, person)
    lines = lines_of(setting)
    said = {line.field for line in lines if line.active}
    missing = [col.name for col in c.feed_columns if col.required and col.name not in said and col.name != c.generated]
    if c.needed_ids and not said & set(c.needed_ids):
        missing.append(" or ".join(c.needed_ids[:3]))
    used = {n for line in lines if line.rule is not None for n in columns_read(line.rule)}
    unused = [n for n in sample.columns if n not in used]
    amounts = [n for n in amounts_of(sample) if n in unused] if c.table == "order_lines" else []
    left_out = {**matches.left_out, **totals(orders, amounts)}
    text = as_yaml(setting, lines, unused, left_out, feeds, settings.time_zone)
    found = tried_rows(sample, c, text, lines, settings, connection)
    return Part(c.table, f"sources/{c.table}.yaml", text, lines, missing, unused, found)
