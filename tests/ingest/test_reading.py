"""Blocks of delivered files: every line arrives, wherever a block ends, and what cannot be read is called by its name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features.sources import Mapping
from jobs.ingest.byte_streams import ArrivedFile, open_text
from jobs.ingest.file_columns import TextBlock
from jobs.ingest.reading import read_blocks
from schemas.errors import InputError

FIELDS = {"order_id": "id", "ordered_at": "at", "member_id": "who"}
BLOCK = 300


def a_mapping(**said: Any) -> Mapping:
    content = {"name": "orders", "feed": "orders", "files": "*", "format": "csv", "fields": FIELDS, **said}
    return Mapping.model_validate(content)


def blocks_of(path: Path, mapping: Mapping, block_bytes: int = BLOCK) -> list[TextBlock]:
    with duckdb.connect(config={"threads": 1}) as con:
        return list(read_blocks(path, path.name, mapping, con, block_bytes))


def rows_of(path: Path, mapping: Mapping, block_bytes: int = BLOCK) -> list[tuple[Any, ...]]:
    """(row, cells) of every row that has columns."""
    found = []
    for block in blocks_of(path, mapping, block_bytes):
        cells = [
            block.table[f"c{k}"].to_pylist()
            for k in range(block.table.num_columns - 1)
            if f"c{k}" in block.table.column_names
        ]
        found += list(zip(block.table["row"].to_pylist(), *cells, strict=True))
    return found


def refusal(path: Path, mapping: Mapping, block_bytes: int = BLOCK) -> str:
    with pytest.raises(InputError) as e:
        blocks_of(path, mapping, block_bytes)
    return str(e.value)


def written(path: Path, content: str | bytes, encoding: str = "utf-8", *, gz: bool = False) -> Path:
    data = content if isinstance(content, bytes) else content.encode(encoding)
    path.write_bytes(gzip.compress(data, mtime=0) if gz else data)
    return path


FORMS = [(e, g) for e in ("utf-8", "gb18030") for g in (False, True)]


@pytest.mark.parametrize(("encoding", "gz"), FORMS)
def test_chinese_text_at_every_place_of_a_block_loses_no_line_of_csv(tmp_path: Path, encoding: str, gz: bool) -> None:
    for shift in range(3):
        wanted = [(n, f"o{n}", "2026-03-01", "一㐀é"[n % 3] * (45 + n % 25)) for n in range(1, 1200)]
        wanted[0] = (1, " " * shift + "o1", *wanted[0][2:])
        text = "id,at,who\n" + "".join(f"{i},{at},{who}\n" for _, i, at, who in wanted)
        path = written(tmp_path / "1.csv", text, encoding, gz=gz)
        assert rows_of(path, a_mapping(encoding=encoding)) == wanted


@pytest.mark.parametrize(
    ("encoding", "gz", "end"), [(e, g, "\n") for e, g in FORMS] + [("utf-8", False, "\r\n"), ("gb18030", False, "\r")]
)
def test_chinese_text_at_every_place_of_a_block_loses_no_line_of_json(
    tmp_path: Path, encoding: str, gz: bool, end: str
) -> None:
    objects = [{"id": f"o{n}", "at": "x", "who": "一㐀é"[n % 3] * (n % 50)} for n in range(600)]
    lines = [json.dumps(o, ensure_ascii=False) for o in objects]
    path = written(tmp_path / "1.jsonl", end.join(lines), encoding, gz=gz)
    found = rows_of(path, a_mapping(format="jsonl", encoding=encoding), 2000)
    assert [(n, i) for n, i, _, _ in found] == [(n + 1, f"o{n}") for n in range(600)]


def test_a_read_is_full_until_the_file_ends(tmp_path: Path) -> None:
    """Arrow takes a short read for a whole block, and a line that is longer than it for one of more than 16 MiB."""
    path = written(tmp_path / "1", "é" + "一" * 70_000)
    stream = open_text(ArrivedFile(path, "1", a_mapping(), b"", BLOCK))
    assert [len(stream.read(700)) for _ in range(302)] == [700] * 300 + [2, 0]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_line_of_just_less_than_a_block_is_read(tmp_path: Path, form: str) -> None:
    mapping = a_mapping(format=form)
    for length in range(BLOCK - 12, BLOCK):
        row = (
            ",".join(["o1", "2026-03-01", "x" * (length - 15)])
            if form == "csv"
            else json.dumps({"id": "o1", "at": "2026", "who": "x" * (length - 40)})
        )
        path = written(tmp_path / "1", ("id,at,who\n" if form == "csv" else "") + f"{row}\n" * 9)
        assert len(rows_of(path, mapping)) == 9


# --- each failure says what it is ---

HEAD = "id,at,who\n"
ROWS = "".join(f"o{n},2026-03-01,m{n}\n" for n in range(50))
GZ = gzip.compress((HEAD + ROWS * 40).encode(), compresslevel=0)
CSV_FAILURES = {
    "a long line": (HEAD + ROWS + f"o,2026-03-01,{'x' * 700}\n" + ROWS, "the row from line 52 on is longer than 300 bytes; is it CSV?"),
    "an open quote": (HEAD + ROWS + 'o,2026-03-01,"m\no,2026-03-01,m\n', 'the quote (") opened on line 52 is never closed'),
    "a quote open over many lines": (HEAD + ROWS + 'o,2026-03-01,"m\n' + ROWS, "a cell spans more than 20 lines from line 52 on"),
    "a quote closed by a later one": (HEAD + ROWS + 'o,2026-03-01,"m\n' + 'o,2026-03-01,5"\n', 'the quote (") opened on line 52 takes in'),
    "text behind a quote": (HEAD + ROWS + 'o,2026-03-01,"m"x\n' + ROWS, "line 52: text stands behind the closing quote"),
    "no utf-8": ((HEAD + ROWS).encode() + b"o,2026-03-01,\xff\n" + ROWS.encode(), "byte 953 (0xFF) is not UTF-8"),
    "a cut gzip": (GZ[:-2000], "the gzip stream ends too early: the file was cut off on its way"),
    "a damaged gzip": (GZ[:9000] + b"\xff" * 64 + GZ[9064:], "the gzip stream is damaged"),
    "a zero": (HEAD + ROWS + "o,2026-03-01,\x00\n", "holds NUL characters"),
}  # fmt: skip


@pytest.mark.parametrize("what", CSV_FAILURES)
def test_each_failure_of_csv_is_called_by_its_name(tmp_path: Path, what: str) -> None:
    content, message = CSV_FAILURES[what]
    found = refusal(written(tmp_path / "1.csv", content), a_mapping())
    assert found.startswith("1.csv: ")
    assert message in found
    assert not any(other in found for _, other in CSV_FAILURES.values() if other != message)


OBJECTS = "".join(json.dumps({"id": f"o{n}", "at": "2026-03-01", "who": "m"}) + "\n" for n in range(50))
JSON_FAILURES = {
    "a long line": (OBJECTS + json.dumps({"id": "x" * 700}) + "\n" + OBJECTS, "line 51 is longer than 300 bytes; is it JSON Lines?"),
    "no utf-8": (OBJECTS.encode() + b"\xff\n", "(0xFF) is not UTF-8"),
    "a cut gzip": (gzip.compress(OBJECTS.encode() * 40, compresslevel=0)[:-2000], "the file was cut off on its way"),
    "no objects": ("[1]\n" * 50, "not one of its first lines is a JSON object"),
    "only blank lines": ("\n\r\n\n", "the file is empty: not one line"),
}  # fmt: skip


@pytest.mark.parametrize("what", JSON_FAILURES)
def test_each_failure_of_json_lines_is_called_by_its_name(tmp_path: Path, what: str) -> None:
    content, message = JSON_FAILURES[what]
    assert message in refusal(written(tmp_path / "1.jsonl", content), a_mapping(format="jsonl"))


def test_control_characters_in_json_lines_keep_their_row(tmp_path: Path) -> None:
    bad = '{"id":"o2","at":"\x01"}'
    path = written(tmp_path / "1.jsonl", '{"id":"o1","at":"x"}\n' + bad + '\n{"id":"o3","at":"x"}\n')
    [block] = blocks_of(path, a_mapping(format="jsonl"))
    assert block.table["row"].to_pylist() == [1, 3]
    assert block.torn == [(2, bad, "is no JSON object")]


def test_an_alias_of_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    from schemas.configuration import read_yaml
    from schemas.errors import ConfigurationError

    for text, line in (
        ("a: &x 1\nb: 2\nc: *x\n", 3),
        ("a: 1\nb: *nowhere\n", 2),
        ("a: 1\nb:\n  - !!python/name:os.system x\n", 3),
    ):
        path = written(tmp_path / "m.yaml", text)
        with pytest.raises(ConfigurationError) as e:
            read_yaml(path)
        assert str(e.value).startswith(f"{path}:{line}: ")
