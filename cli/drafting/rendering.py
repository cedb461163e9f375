"""A draft as the text of a mapping file: what holds as YAML, what is guessed or asked for as comments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from cli.drafting.lines import several
from cli.drafting.masking import shown
from cli.drafting.rules import FieldLine, Setting, columns_read

LONGEST_SAMPLES = 60


def as_yaml(
    s: Setting,
    lines: Sequence[FieldLine],
    unused: Sequence[str],
    left_out: dict[str, str],
    feeds: Sequence[str],
    zone: str,
) -> str:
    """The mapping of one feed of ``feeds``. ``zone`` is the project's."""
    return (
        "\n".join(
            [*_head(s, lines, feeds, zone), *_where(s), "fields:", *map(_field, lines), *_rest(s, unused, left_out)]
        )
        + "\n"
    )


def _head(s: Setting, lines: Sequence[FieldLine], feeds: Sequence[str], zone: str) -> list[str]:
    sample = s.sample
    suffix = "".join(sample.file.suffixes[-2:]) if sample.file.suffix == ".gz" else sample.file.suffix
    found = [
        f"# Drafted from {sample.file.name}; read it through, decide what is commented out, then put it into sources/."
    ]
    found += [f"feed: {s.contract.table}", f"files: {feeds[0]}/*{suffix}        # below the inbox folder"]
    found.append(f"format: {sample.form}")
    if sample.form != "parquet":
        found.append(f"encoding: {sample.encoding}")
    if sample.form == "csv":
        found += [f"delimiter: {json.dumps(sample.delimiter)}"] if sample.delimiter != "," else []
        if sample.skip_rows:
            found.append(f"skip_rows: {sample.skip_rows}        # lines above the header")
        if not sample.header:
            found.append("header: false        # the first row looks like data; name the columns as they are meant")
            found.append(f"columns: {_flow(sample.columns)}")
        if not sample.quoted:
            found.append('quoting: none        # a quote (") stands inside values and is never closed')
    if s.decimal_comma:
        found.append('decimal: ","        # amounts such as 1.234,50')
    return found + _zone(s, lines, zone)


def _zone(s: Setting, lines: Sequence[FieldLine], zone: str) -> list[str]:
    """The zone is asked for, unless every time of the mapping names its own."""
    read = dict.fromkeys(n for line in lines for n in columns_read(line.rule) if n in s.written and s.sample.values(n))
    local = [n for n in read if not s.written[n].zoned]
    if not local:
        return []
    return [
        f"# time_zone: {zone}        # asked: {', '.join(local[:3])} stand without a zone, so the project's holds; fill in if it is another"
    ]


def _where(s: Setting) -> list[str]:
    if s.contract.table != "orders":
        return []
    column = s.orders.filled_first_rows()
    if column is None:
        return []
    why = f"only the first row holds the order's own fields in {several(len(s.orders.groups))}"
    return ["where:", f"  - {_flow({'column': column, 'is_empty': False})}        # {why}"]


def _field(line: FieldLine) -> str:
    rule = "?" if line.rule is None else _flow(line.rule)
    text = f"  {'' if line.active else '# '}{line.field}: {rule}" + (f"    # {line.comment}" if line.comment else "")
    return " ".join(text.splitlines())


def _rest(s: Setting, unused: Sequence[str], left_out: dict[str, str]) -> list[str]:
    found = []
    for column in dict.fromkeys(unused):
        values = [] if s.sample.columns.count(column) > 1 else s.sample.values(column)[:50]
        samples = ", ".join(dict.fromkeys(shown(v, column) for v in values))[:LONGEST_SAMPLES]
        why = left_out.get(column, "" if values else "no value seen")
        if s.sample.columns.count(column) > 1:
            why = "stands twice in the header, so no rule can name it"
        found.append(f"  # not used: {column}" + (f" ({samples})" if samples else "") + (f": {why}" if why else ""))
    return [" ".join(line.splitlines()) for line in found]


def _flow(rule: Any) -> str:
    text: str = yaml.safe_dump(rule, allow_unicode=True, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n...\n").strip()


def with_guesses(text: str, lines: Sequence[FieldLine]) -> str:
    """The mapping with the rules that are commented out taken as well, to see what would become of the rows."""
    for line in lines:
        if not line.active and line.rule is not None:
            text = text.replace(f"\n  # {line.field}: ", f"\n  {line.field}: ", 1)
    return text
