"""``huaxiang source draft FILE``: a mapping for an unknown file, proposed from its column names and values.

Nothing is written. What is only a guess says so in a comment, and the preview shows what ingest would make of the first
rows, with personal values masked.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from features.cleaning import Cleaner
from features.sources import HASHED, Mapping, mistakes, shortfalls
from features.text_forms import NO, YES
from jobs.byte_streams import GZIP
from jobs.project import ProjectSettings
from jobs.reading import PARQUET, text_of
from schemas.configuration import nearest
from schemas.contracts import FEEDS, Column, Contract, contract, fields
from schemas.errors import InputError, NotThereError

SAMPLE_BYTES, SAMPLE_ROWS, PREVIEW_ROWS = 4 << 20, 2_000, 5
MOST_VALUES = 30
_NUMBER = re.compile(r"^[¥￥$€£\s]*[+-]?[\d,]+(\.\d+)?\s*(元|万|万元)?$")
_TIME = re.compile(r"^\d{4}\s*[-/.年]\s*\d{1,2}|^\d{10}$|^\d{13}$|^\d{8}(\d{6})?$")
_HASH = re.compile(r"[0-9a-fA-F]{32,128}")
_UNIT_PRICES = ("unitprice", "price", "单价", "商品单价", "成交单价", "售价", "商品价格", "价格")
_NAMES_PEOPLE = re.compile(
    "姓名|收货人|联系人|买家|昵称|地址|身份证|证件|微信|手机|电话|name$|address|phone|mail|passport", re.IGNORECASE
)
_PERSONAL = re.compile(r"^(\+?86)?1[3-9]\d{9}$|@|^\d{17}[\dXx]$")


@dataclass
class Sample:
    """The head of a file: its form, its columns, and rows of text (None where a value is absent)."""

    form: str
    encoding: str
    delimiter: str
    columns: list[str]
    rows: list[list[str | None]]

    def values(self, column: str) -> list[str]:
        k = self.columns.index(column)
        return [v.strip() for row in self.rows if (v := row[k]) is not None and v.strip()]


@dataclass
class Draft:
    """The proposed mapping as YAML with comments, and what it makes of the first rows.

    ``shortfalls`` say what cannot come of it as it is, and the ways out.
    """

    file: str
    feed: str
    mapping: str
    missing: list[str] = field(default_factory=list)
    unused_columns: list[str] = field(default_factory=list)
    preview: list[dict[str, str]] = field(default_factory=list)
    rows_tried: int = 0
    rows_refused: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    shortfalls: list[str] = field(default_factory=list)

    def text(self) -> str:
        lines = [self.mapping.rstrip(), "", f"# --- the first rows of {self.file} through it ---"]
        for row in self.preview:
            lines.append("# " + ", ".join(f"{k}={v}" for k, v in row.items()))
        if self.rows_tried:
            lines.append(f"# {self.rows_tried - self.rows_refused:,} of {self.rows_tried:,} rows pass")
        lines += [f"# {n:,} rows: {reason}" for reason, n in self.reasons.items()]
        lines += [f"# not found and needed: {name} ({fields()[name].zh})" for name in self.missing]
        lines += [f"# {text}" for text in self.shortfalls]
        return "\n".join(lines)


def draft(file: Path, feed: str | None = None, settings: ProjectSettings | None = None) -> Draft:
    """A mapping for ``file``, its preview in the zone and currency of ``settings``.

    InputError if it cannot be read, NotThereError for a feed that there is not.
    """
    if feed is not None and feed not in FEEDS:
        raise NotThereError(f"no feed {feed!r}; {nearest(feed, list(FEEDS))}")
    sample = sniff(file)
    chosen = feed or guess_feed(sample.columns, file.name)
    c = contract(f"silver.{chosen}")
    found = guess_fields(sample, c)
    rules = {name: _rule(c.column(name), column, sample) for name, column in found.items()}
    rules |= _from_unit_price(sample, c, found)
    text = _as_yaml(file, sample, c, rules)
    needed = [col.name for col in c.feed_columns if col.required and col.name not in rules and col.name != c.generated]
    used = {column for rule, _ in rules.values() for column in _columns_of(rule)}
    unused = [n for n in sample.columns if n not in used]
    made = Draft(file.name, chosen, text, missing=needed, unused_columns=unused)
    content = yaml.load(text, Loader=yaml.CSafeLoader)
    if content.get("fields"):
        made.shortfalls = [said for _, said in shortfalls(Mapping.model_validate(content))]
    _preview(made, sample, c, settings or ProjectSettings())
    return made


# --- the file ---


def sniff(file: Path) -> Sample:
    """Form, encoding, delimiter, columns and first rows; gzip is recognised by content."""
    if not file.is_file():
        raise NotThereError(f"{file}: the file is not there")
    with file.open("rb") as f:
        start = f.read(4)
    if not start:
        raise InputError(f"{file}: the file is empty (0 bytes)")
    if start == PARQUET:
        return _parquet_sample(file)
    try:
        raw = pa.OSFile(str(file), "rb")
        stream = pa.CompressedInputStream(raw, "gzip") if start[:2] == GZIP else raw
        head = stream.read(SAMPLE_BYTES)
    except OSError as e:
        raise InputError(f"{file}: cannot be read ({e})") from None
    text, encoding = _decoded(file, head, cut=len(head) == SAMPLE_BYTES)
    if text.lstrip().startswith("{"):
        return _json_sample(file, text, encoding)
    return _csv_sample(file, text, encoding)


def _decoded(file: Path, head: bytes, *, cut: bool) -> tuple[str, str]:
    for encoding in ("utf-8-sig", "gb18030"):
        for spare in range(4 if cut else 1):
            try:
                text = head[: len(head) - spare].decode(encoding)
            except UnicodeDecodeError:
                continue
            if "\x00" not in text:
                return text, "utf-8" if encoding == "utf-8-sig" else encoding
    raise InputError(f"{file}: is neither UTF-8 nor GB18030 text, nor Parquet; save it as CSV UTF-8")


def _csv_sample(file: Path, text: str, encoding: str) -> Sample:
    best: tuple[int, int, str, list[list[str]]] | None = None
    for delimiter in (",", "\t", ";", "|"):
        rows = []
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
        if not rows:
            raise InputError(f"{file}: the file is empty: not even a header")
        alike = sum(len(r) == len(rows[0]) for r in rows)
        score = (len(rows[0]) if alike > len(rows) * 0.8 else 0, alike, delimiter, rows)
        if best is None or score[:2] > best[:2]:
            best = score
    assert best is not None
    _, _, delimiter, rows = best
    columns = [c.strip() for c in rows[0]]
    body: list[list[str | None]] = [list(r) for r in rows[1:] if len(r) == len(columns)]
    return Sample("csv", encoding, delimiter, columns, body)


def _json_sample(file: Path, text: str, encoding: str) -> Sample:
    objects: list[dict[str, Any]] = []
    columns: dict[str, None] = {}
    for line in text.splitlines()[:SAMPLE_ROWS]:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            objects.append(found)
            columns |= dict.fromkeys(found)
    if not objects:
        raise InputError(f"{file}: begins like JSON, but no line is a JSON object of its own")
    rows = [[_json_text(o.get(c)) for c in columns] for o in objects]
    return Sample("jsonl", encoding, ",", list(columns), rows)


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _parquet_sample(file: Path) -> Sample:
    try:
        opened = pq.ParquetFile(file)
        batch = next(opened.iter_batches(batch_size=SAMPLE_ROWS), None)
    except pa.ArrowInvalid as e:
        raise InputError(f"{file}: the Parquet file is damaged ({e})") from None
    names = opened.schema_arrow.names
    columns = [] if batch is None else [text_of(batch.column(k), n, file.name).to_pylist() for k, n in enumerate(names)]
    return Sample("parquet", "utf-8", ",", names, [list(r) for r in zip(*columns, strict=True)])


# --- guesses ---


@cache
def _words() -> dict[str, Any]:
    text = (Path(__file__).parent / "drafting_words.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-()（）\[\]【】:：.]+", "", str(name)).lower()


@cache
def _names_of(name: str) -> frozenset[str]:
    own = [name, name.removesuffix("_minor"), name.removesuffix("_id"), fields()[name].zh]
    return frozenset(_plain(n) for n in [*own, *_words()["fields"].get(name, [])])


def likeness(name: str, column: str) -> float:
    """How well a column's name fits a field: 1 the very name, less for a part of it, 0 for none."""
    plain = _plain(column)
    if plain in _names_of(name):
        return 1.0
    inside = [n for n in _names_of(name) if len(n) >= 2 and not n.isascii() and n in plain]
    return 0.3 + 0.4 * max(len(n) for n in inside) / len(plain) if inside else 0.0


def guess_feed(columns: Sequence[str], file_name: str) -> str:
    """The feed whose telling fields stand over most columns; the file's own name helps."""
    scores: Counter[str] = Counter()
    for feed, weights in _words()["feeds"].items():
        for name, weight in weights.items():
            scores[feed] += weight * max((likeness(name, c) for c in columns), default=0)
        if feed.rstrip("s") in file_name.lower() or contract(f"silver.{feed}").description["zh"][:2] in file_name:
            scores[feed] += 3
    return max(FEEDS, key=lambda f: scores[f])


def guess_fields(sample: Sample, c: Contract) -> dict[str, str]:
    """Field to column, each column once, the best likeness first; values have to fit the field's type."""
    scored = []
    for place, col in enumerate(c.feed_columns):
        for column in sample.columns:
            score = likeness(col.name, column)
            if score > 0 and _fits(col, sample.values(column)):
                scored.append((-score, not col.required, place, col.name, column))
    found: dict[str, str] = {}
    for _, _, _, name, column in sorted(scored):
        if name not in found and column not in found.values():
            found[name] = column
    return {col.name: found[col.name] for col in c.feed_columns if col.name in found}


def _fits(col: Column, values: Sequence[str]) -> bool:
    pattern = {"timestamp": _TIME, "date": _TIME, "int32": _NUMBER, "int64": _NUMBER}.get(col.field.type)
    if pattern is None or not values:
        return True
    return sum(bool(pattern.search(v)) for v in values) >= 0.5 * len(values)


def _rule(col: Column, column: str, sample: Sample) -> tuple[Any, str]:
    """The rule for a field, and a comment where it is a guess."""
    values = sample.values(column)
    kind = col.field.type
    if kind == "timestamp" and values and all(re.fullmatch(r"\d{13}", v) for v in values):
        return {"column": column, "time": "epoch_milliseconds"}, ""
    if kind == "timestamp" and values and all(re.fullmatch(r"\d{10}", v) for v in values):
        return {"column": column, "time": "epoch_seconds"}, ""
    if col.field.unit == "minor":
        fractions = any("." in v or "元" in v or "¥" in v or "￥" in v for v in values)
        minor = any(w in column.lower() for w in ("分", "cent", "fen", "minor"))
        comment = "" if fractions or minor else "check: whole numbers only; yuan (major) or fen (minor)?"
        return {"column": column, "unit": "minor" if minor and not fractions else "major"}, comment
    if col.values or kind == "bool":
        return _value_rule(col, column, values)
    if col.name in HASHED:
        ready = bool(values) and all(_HASH.fullmatch(v) for v in values)
        return {"column": column, "hash": not ready}, "its values look hashed already" if ready else ""
    return _known_words(col, column, values) or column, ""


def _from_unit_price(sample: Sample, c: Contract, found: dict[str, str]) -> dict[str, tuple[Any, str]]:
    """Money of a line as unit price times quantity, where no column holds it."""
    if c.table != "order_lines" or "net_amount_minor" in found or "quantity" not in found:
        return {}
    for column in sample.columns:
        if _plain(column) in _UNIT_PRICES and column not in found.values():
            rule = {"column": column, "times": found["quantity"], "unit": "major"}
            return {"net_amount_minor": (rule, "check: is this what was paid, after discounts?")}
    return {}


def _known_words(col: Column, column: str, values: Sequence[str]) -> dict[str, Any] | None:
    """``values:`` for free text whose every value is a word that we know by another name (channels), else None."""
    known = _names_of_values(col.name)
    seen = [v for v, _ in Counter(values).most_common(MOST_VALUES)]
    found = {v: known[_plain(v)] for v in seen if _plain(v) in known}
    if len(found) < len(seen) or all(k == v for k, v in found.items()):
        return None
    return {"column": column, "values": found}


def _names_of_values(name: str) -> dict[str, str]:
    return {_plain(w): value for value, words in _words()["values"].get(name, {}).items() for w in [value, *words]}


def _value_rule(col: Column, column: str, values: Sequence[str]) -> tuple[Any, str]:
    seen = [v for v, _ in Counter(values).most_common(MOST_VALUES)]
    if col.field.type == "bool":
        odd = [v for v in seen if v.lower() not in (*YES, *NO)]
        return column, f"check: what do {', '.join(odd[:5])} mean?" if odd else ""
    known = _names_of_values(col.name)
    found = {v: known[_plain(v)] for v in seen if known.get(_plain(v)) in col.values}
    odd = [v for v in seen if v not in found]
    comment = f"check: not mapped yet, so quarantined: {', '.join(odd)}" if odd else ""
    if all(k == v for k, v in found.items()) and not odd:
        return column, ""
    return {"column": column, "values": found} if found else column, comment


def _columns_of(rule: Any) -> list[str]:
    return [rule] if isinstance(rule, str) else [rule[k] for k in ("column", "times") if k in rule]


def _as_yaml(file: Path, sample: Sample, c: Contract, rules: dict[str, tuple[Any, str]]) -> str:
    lines = [f"# Drafted from {file.name}; read it through, then put it into sources/.", f"feed: {c.table}"]
    suffix = "".join(file.suffixes) or file.suffix
    lines += [f"files: {c.table}/*{suffix}        # below the inbox folder", f"format: {sample.form}"]
    if sample.form != "parquet":
        lines.append(f"encoding: {sample.encoding}")
    if sample.form == "csv" and sample.delimiter != ",":
        lines.append(f"delimiter: {json.dumps(sample.delimiter)}")
    lines.append("fields:")
    for col in c.feed_columns:
        if col.name in rules:
            rule, comment = rules[col.name]
            lines.append(f"  {col.name}: {_flow(rule)}" + (f"    # {comment}" if comment else ""))
        elif col.required and col.name != c.generated:
            lines.append(f"  # {col.name}: ?    # needed: {col.field.zh}, {col.field.en}")
    used = {column for rule, _ in rules.values() for column in _columns_of(rule)}
    for column in sample.columns:
        if column not in used:
            shown = ", ".join(masked_sample(v) for v in dict.fromkeys(sample.values(column)[:50]))[:60]
            shown = "***" if _NAMES_PEOPLE.search(column) else shown
            lines.append(f"  # not used: {column} ({shown})".replace("\n", " "))
    return "\n".join(lines) + "\n"


def _flow(rule: Any) -> str:
    text: str = yaml.safe_dump(rule, allow_unicode=True, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n...\n").strip()


def masked_sample(value: str) -> str:
    """A value of an unknown column as it may be shown: long numbers and addresses lose their middle."""
    if _TIME.search(value) and not value.isdigit():
        return value[:20]
    if _PERSONAL.search(value) or (len(value) >= 8 and sum(ch.isdigit() for ch in value) >= 8):
        return value[:1] + "***"
    return value[:20]


def _preview(made: Draft, sample: Sample, c: Contract, settings: ProjectSettings) -> None:
    content = yaml.load(made.mapping, Loader=yaml.CSafeLoader)
    if made.missing or not content.get("fields") or not sample.rows:
        return
    mapping = Mapping.model_validate(content)
    if any(mistakes(mapping)):
        return
    table = pa.table({f"c{k}": pa.array([r[k] for r in sample.rows], pa.string()) for k in range(len(sample.columns))})
    with duckdb.connect(config={"threads": 1}) as con:
        cleaner = Cleaner(
            mapping,
            zone=settings.time_zone,
            currency=settings.currency,
            guest_ids=settings.guest_ids,
            connection=con,
        )
        cleaned = cleaner(table, sample.columns)
    made.rows_tried, made.rows_refused = len(cleaned.refused), int(cleaned.refused.sum())
    reasons = Counter(line for text in cleaned.reasons.to_pylist() for line in text.splitlines())
    made.reasons = dict(reasons.most_common(5))
    good = cleaned.rows.filter(pa.array(~cleaned.refused)).slice(0, PREVIEW_ROWS).to_pylist()
    for row in good:
        there = {n: v for n, v in row.items() if n != "row_hash" and v is not None}
        made.preview.append({n: _shown(c.column(n), v, settings.time_zone) for n, v in there.items()})


def _shown(col: Column, value: Any, zone: str) -> str:
    text = value.astimezone(ZoneInfo(zone)).isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    return text[:1] + "***" if col.field.is_personal else text
