"""Platforms as they are shipped: the vendors' own vectors, the language with its mistakes, and files in their limits."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from audiences.contacts import HASHED_ALREADY, ShapedContact, contact, shaped_or_why
from audiences.forms.dmp import IdItem, dmp_line
from audiences.forms.parts import FilePart, write_parts
from audiences.language import Export
from audiences.platforms import Platform, PlatformColumn, header_of, read_platform, read_platforms, resolved
from project.example import EXAMPLE
from schemas.configuration import Words
from schemas.errors import ConfigurationError

PLATFORMS = read_platforms(sorted((EXAMPLE / "platforms").glob("*.yaml")))
MOBILE = "13800138000"
PHONE_SHA256 = "a6942f9771d67f34034d2f1926988ed3fad3bf1b4e7cedb9a31f31398dea43bc"
WITH_CODE = "bf08aacce7f9b2452863cf99373043c3333f0e3127f1f787c4abb46ab6cf2b83"
E164_SHA256 = "ec61f3c620a98bdead8c1f1f0ae747abd1b62a0c2dba4fd4bc22cf0d1d8653e5"
EMAIL_SHA256 = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"

SHIPPED = {
    "aliyun_sms": {"PhoneNumberJson": MOBILE},
    "excel": {"phone": "+8613800138000", "email": "a.b.c@gmail.com"},
    "google": {"Email": hashlib.sha256(b"abc@gmail.com").hexdigest(), "Phone": E164_SHA256},
    "hubspot": {"Email": "a.b.c@gmail.com", "Phone Number": "+8613800138000"},
    "klaviyo": {"Email": "a.b.c@gmail.com", "Phone Number": "+8613800138000"},
    "mailchimp": {"Email Address": "a.b.c@gmail.com"},
    "meta": {"email": hashlib.sha256(b"a.b.c@gmail.com").hexdigest(), "phone": WITH_CODE},
    "ocean_engine": {"MOBILE_HASH_SHA256": PHONE_SHA256},
    "plain_csv": {"phone": "+8613800138000", "email": "a.b.c@gmail.com"},
    "qianchuan": {"phone_sha256": PHONE_SHA256},
    "tencent_ads": {"SHA256_MOBILE_PHONE": PHONE_SHA256},
    "tencent_sms": {"手机号码": "+8613800138000"},
    "tiktok": {"Email_SHA256": hashlib.sha256(b"a.b.c@gmail.com").hexdigest(), "Phone_SHA256": WITH_CODE},
    "wechat_pay": {"phone": hashlib.md5(MOBILE.encode()).hexdigest()},
    "wecom": {"external_userid": "wmAbC"},
}
"""What each shipped platform gets of one person, by header."""
ONE = {"phone": "+86 138-0013-8000", "email": " A.B.C@Gmail.com", "external_userid": "wmAbC"}


@pytest.mark.parametrize("name", sorted(PLATFORMS))
def test_every_shipped_platform_gets_ids_as_its_vendor_asks(name: str) -> None:
    ids = PLATFORMS[name].platform.ids
    found = {header_of(c): contact(str(c.id), ONE[str(c.id)], c.hash, "CN", c.shape) for c in ids}
    assert found == SHIPPED[name]


# --- vectors of vendors, each recomputed ---


@pytest.mark.parametrize(
    ("kind", "text", "shape", "how", "expected"),
    [
        # Tencent Ads, developers.e.qq.com/docs/audience_management/file
        ("device_id", "ff1999cd-7177-4937-a474-74937a102630", "idfa", "md5", "2c010ed96aef2fc34983e1e7e9176b7e"),
        ("device_id", "A000002C9060F7", "imei", "md5", "f2d5a650733ca8c27d502b1c08da14e5"),
        ("device_id", "02:00:00:00:00:00", "mac", "md5", "e3f5536a141811db40efd6400f1d0a4e"),
        # Ocean Engine: no country code
        ("phone", MOBILE, "national", "sha256", PHONE_SHA256),
        # Meta: a number without its country code is another one's
        ("phone", MOBILE, "digits", "sha256", WITH_CODE),
        # Google: E.164
        ("phone", MOBILE, "e164", "sha256", E164_SHA256),
        # TikTok, customer-file: its phone example has no plus
        ("email", "JaneDoe@gmail.com ", "plain", "sha256", EMAIL_SHA256),
        ("device_id", "5F3A2B18-9C4D-4E7F-B8E2-17D3A1E69B25", "oaid", "sha256",
         "83dc3f5f32b9472613b0f038d36f22585a609d018af6f6067f50da318bf354bd"),
        # X: no salt
        ("openid", "adsapi", None, "sha256", "49e0be2aeccfb51a8dee4c945c8a70a9ac500cf6f5cb08112575f74db9b1470d"),
        # Meta, fb_custom_audience/util.ts
        ("phone", "+1 (650) 555-1212", "digits", "clear", "16505551212"),
        ("phone", "00919876543210", "digits", "clear", "919876543210"),
        # Google: dots at Gmail only, +tags stay
        ("email", "a.b.c@gmail.com", "gmail", "clear", "abc@gmail.com"),
        ("email", "user.name+NYC@Example.com", "gmail", "clear", "user.name+nyc@example.com"),
        ("email", "a.b@gmailx.com", "gmail", "clear", "a.b@gmailx.com"),
    ],
)  # fmt: skip
def test_a_vendors_vector(kind: str, text: str, shape: str | None, how: str, expected: str) -> None:
    assert contact(kind, text, how, "CN", shape) == expected


def test_the_vendors_own_digest_of_a_phone_is_of_digits_without_a_plus() -> None:
    # TikTok's example; the number is of no plan that phonenumbers knows, so only its digest is held.
    digest = "65b7e6dcf6f4310f8d7cbfbd78289a753062fb054d6664fb9aaac5df66a422d4"
    assert hashlib.sha256(b"37493828222").hexdigest() == digest
    (phone,) = [c for c in PLATFORMS["tiktok"].platform.ids if c.id == "phone"]
    assert phone.shape == "digits"


def test_ocean_engines_lines_are_those_of_the_protobuf_library() -> None:
    assert dmp_line([IdItem(6, PHONE_SHA256)]) == (
        b"CkQQBhpAYTY5NDJmOTc3MWQ2N2YzNDAzNGQyZjE5MjY5ODhlZDNmYWQzYmYxYjRlN2NlZGI5YTMxZjMxMzk4ZGVhNDNiYw=="
    )
    items = [IdItem(0, "356145080566857", ("1", "2"), 1_700_000_000), IdItem(7, "5F3A2B18-9c4d-4e7f-b8e2-17d3a1e69b25")]
    assert dmp_line(items) == (
        b"Ch8IgOLPqgYQABoPMzU2MTQ1MDgwNTY2ODU3IgExIgEyCigQBxokNWYzYTJiMTgtOWM0ZC00ZTdmLWI4ZTItMTdkM2ExZTY5YjI1"
    )


# --- what cannot leave ---


@pytest.mark.parametrize(
    ("kind", "text", "how", "shape", "reason"),
    [
        ("phone", PHONE_SHA256, "sha256", None, HASHED_ALREADY),
        ("phone", PHONE_SHA256.upper(), "clear", None, HASHED_ALREADY),
        ("email", hashlib.md5(b"x").hexdigest(), "sha256", None, HASHED_ALREADY),
        ("openid", hashlib.sha1(b"x").hexdigest(), "md5", None, HASHED_ALREADY),
        ("phone", "12345", "sha256", None, "no valid phone number"),
        ("phone", "+44 7911 123456", "sha256", "national", "phone number of another country"),
        ("email", "a@b", "sha256", None, "no valid e-mail address"),
        ("device_id", "356145080566857", "md5", "idfa", "no IDFA"),
        ("openid", "o\nx", "clear", None, "holds a control character"),
        ("openid", "o\u2028x", "clear", None, "holds a control character"),
    ],
)
def test_what_cannot_leave_has_a_reason(kind: str, text: str, how: str, shape: str | None, reason: str) -> None:
    assert shaped_or_why(kind, text, how, "CN", shape) == ShapedContact(None, reason)


@pytest.mark.parametrize("text", [None, "", "  "])
@pytest.mark.parametrize("kind", ["phone", "email", "openid"])
def test_the_hash_of_nothing_is_nothing(kind: str, text: str | None) -> None:
    assert shaped_or_why(kind, text, "sha256", "CN") == (None, None)
    assert contact(kind, text, "sha256", "CN") is None


def test_an_id_that_only_contains_a_digest_is_none() -> None:
    assert shaped_or_why("openid", f"o{PHONE_SHA256}", "sha256", "CN").text == f"o{PHONE_SHA256}"
    assert shaped_or_why("openid", PHONE_SHA256, "clear", "CN").text == PHONE_SHA256


# --- the language ---


GOOD = """\
name: {zh: 平台, en: Platform}
description: {zh: 平台, en: Platform}
form: csv
columns: [{id: phone, hash: sha256}]
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("form", "fom"), r"p.yaml:3: unknown key 'fom'; did you mean 'form'"),
        (GOOD.replace("id: phone", "id: phon"), r"p.yaml:4: .*no id 'phon'; did you mean 'phone'"),
        (GOOD.replace("sha256", "sha1"), r"p.yaml:4: .*'clear', 'sha256' or 'md5'"),
        (GOOD.replace("hash: sha256", "shape: e146"), r"p.yaml:4: .*no shape 'e146'; did you mean 'e164'"),
        (GOOD.replace("hash: sha256", "profile: city"), r"p.yaml:4: .*one of id, detail, profile and value"),
        (GOOD.replace("hash: sha256", 'header: "a\\nb"'), r"p.yaml:4: .*a line end"),
        (GOOD + "file: '../{audience}'\n", r"p.yaml:5: file: .*letters, digits"),
        (GOOD + "file: '.hidden'\n", r"p.yaml:5: file: .*letters, digits"),
        (GOOD + "file: '{audience.__class__}'\n", r"p.yaml:5: file: no word"),
        (GOOD + "file: '{audienc}'\n", r"p.yaml:5: file: no word {audienc}; did you mean 'audience'"),
        (GOOD + "limits: {mb: 0}\n", r"p.yaml:5: limits.mb: .*greater than 0"),
        (GOOD + "pack: zip\nform2: x\n", r"p.yaml:6: unknown key 'form2'"),
        (GOOD.replace("csv", "dmp"), r"p.yaml:1: .*a header of form dmp is a data type"),
        (GOOD.replace("csv", "txt").replace("}]", "}, {id: email}]"), r"one id a line"),
        (GOOD.replace("csv", "xlsx") + "pack: zip\n", r"packed already"),
        (GOOD.replace("}]", "}, {header: t, value: x, when: added}]"), r"when is of sends: changes"),
        (GOOD.replace("}]", "}, {header: phone, id: email}]"), r"header 'phone' stands twice"),
        (GOOD.replace("}]", "}, {profile: audience, header: x}]"), r"all columns of the audience would be called"),
        (GOOD + "country: China\n", r"p.yaml:5: country"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        read_platform(path)


@pytest.mark.parametrize("name", ["own", "Bad", "a b", "a.b"])
def test_a_platforms_id_is_a_plain_word(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="the file's name is the platform's id"):
        read_platform(tmp_path / f"{name}.yaml")


def test_the_audiences_columns_can_be_named_and_numbered() -> None:
    own = Export(columns=("user_id", "city"))
    headers = {n: [header_of(c) for c in resolved(PLATFORMS[n].platform, own)] for n in ("tencent_sms", "aliyun_sms")}
    assert headers["tencent_sms"] == ["手机号码", "{1}", "{2}"]
    assert headers["aliyun_sms"] == ["PhoneNumberJson", "TemplateParamJson.user_id", "TemplateParamJson.city"]


# --- forms and parts ---


def platform(form: str, *columns: dict[str, Any], **more: Any) -> Platform:
    words = {"zh": "平台", "en": "Platform"}
    return Platform.model_validate(
        {"name": words, "description": words, "form": form, "columns": columns or ({"id": "openid"},), **more}
    )


def written(folder: Path, p: Platform, rows: Sequence[Sequence[Any]], change: str | None = None) -> list[FilePart]:
    headers = [str(header_of(c)) for c in p.columns]
    return write_parts(folder, "x", p, headers, iter(rows), change)


def texts(folder: Path, parts: Sequence[FilePart]) -> Iterator[bytes]:
    for part in parts:
        path = folder / part.file
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as packed:
                (name,) = packed.namelist()
                yield packed.read(name)
        else:
            yield path.read_bytes()


IDS = [(f"{i:064x}",) for i in range(1000)]


@pytest.mark.parametrize("pack", ["none", "zip"])
@pytest.mark.parametrize("form", ["csv", "txt", "jsonl"])
def test_parts_keep_their_limits_and_lose_nobody(tmp_path: Path, form: str, pack: str) -> None:
    p = platform(form, pack=pack, limits={"mb": 0.01, "rows": 150})
    parts = written(tmp_path, p, IDS)
    assert len(parts) > 6 and [x.file for x in parts][:2] == [
        f"x-1.{s}" if pack == "none" else "x-1.zip" for s in [form]
    ] + [parts[1].file]
    assert all(x.bytes <= 10_000 and x.rows <= 150 for x in parts) and sum(x.rows for x in parts) == 1000
    assert all((tmp_path / x.file).stat().st_size == x.bytes for x in parts)
    found = re.findall(rb"[0-9a-f]{64}", b"".join(texts(tmp_path, parts)))
    assert found == [i.encode() for (i,) in IDS]


def test_a_part_has_the_checksums_that_platforms_ask_for(tmp_path: Path) -> None:
    (part,) = written(tmp_path, platform("txt"), IDS[:2])
    content = (tmp_path / "x.txt").read_bytes()
    assert content == f"{IDS[0][0]}\n{IDS[1][0]}\n".encode()
    assert part == FilePart(
        "x.txt", 2, 130, f"sha256:{hashlib.sha256(content).hexdigest()}", hashlib.md5(content).hexdigest()
    )
    assert (tmp_path / "x.txt").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("form", ["csv", "txt", "xlsx"])
def test_the_same_rows_give_the_same_file(tmp_path: Path, form: str) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        p = platform(form, pack="none" if form == "xlsx" else "zip")
        found.append(written(tmp_path / name, p, IDS[:5])[0].checksum)
    assert found[0] == found[1]


def test_without_anybody_there_is_a_file_but_none_of_changes(tmp_path: Path) -> None:
    assert [(x.file, x.rows) for x in written(tmp_path, platform("csv"), [])] == [("x.csv", 0)]
    assert written(tmp_path, platform("csv"), [], "remove") == []


def test_a_line_that_no_file_could_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"make limits\.mb larger"):
        written(tmp_path, platform("csv", limits={"mb": 0.001}), [("x" * 2000,)])


def test_a_list_without_a_header_has_none(tmp_path: Path) -> None:
    written(tmp_path, platform("csv", header=False), [("o1",)])
    assert (tmp_path / "x.csv").read_bytes() == b"o1\r\n"


def test_json_lines_are_one_object_a_row_or_one_call_of_many(tmp_path: Path) -> None:
    columns = (
        {"header": "P", "id": "phone"},
        {"header": "T.city", "profile": "city"},
        {"header": "T.n", "profile": "n"},
    )
    rows = [("138", "北京", 5), ("139", None, Decimal("1.50")), ("137", 'a"b', None)]
    for name, more in (("a", {}), ("b", {"rows_per_line": 2})):
        (tmp_path / name).mkdir()
        written(tmp_path / name, platform("jsonl", *columns, **more), rows)
    first, *_ = (tmp_path / "a" / "x.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first) == {"P": "138", "T": {"city": "北京", "n": "5"}}
    calls = [json.loads(line) for line in (tmp_path / "b" / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert calls[0] == {"P": ["138", "139"], "T": [{"city": "北京", "n": "5"}, {"city": "", "n": "1.50"}]}
    assert calls[1] == {"P": ["137"], "T": [{"city": 'a"b', "n": ""}]}


def test_lines_of_the_dmp_hold_so_many_ids_and_no_more(tmp_path: Path) -> None:
    p = platform("dmp", {"header": "MOBILE_HASH_SHA256", "id": "phone"}, rows_per_line=400)
    written(tmp_path, p, IDS)
    lines = (tmp_path / "x.txt").read_bytes().splitlines()
    assert [len(base64.b64decode(line)) // 70 for line in lines] == [400, 400, 200]


# --- workbooks ---

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def sheet(path: Path) -> list[dict[str, tuple[str, str]]]:
    """Rows of the first sheet: kind and text of each cell by its column."""
    with zipfile.ZipFile(path) as book:
        root = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
        for name in book.namelist():
            if name.endswith((".xml", ".rels")):
                ElementTree.fromstring(book.read(name))
        assert not root.findall(f".//{SHEET}f"), "no cell is a formula"
        assert not root.findall(f".//{SHEET}hyperlink")
    return [
        {re.sub(r"\d", "", c.attrib["r"]): (c.attrib.get("t", "n"), "".join(c.itertext())) for c in row}
        for row in root.iter(f"{SHEET}row")
    ]


def test_a_workbook_keeps_ids_as_text_and_runs_nothing(tmp_path: Path) -> None:
    columns = [{"header": f"h{i}", "profile": f"c{i}"} for i in range(6)]
    hostile = "=cmd|' /C calc'!A0"
    rows = [
        ("123456789012345678", "007", hostile, 3, Decimal("3613.00"), date(2026, 3, 1)),
        ("@SUM(A1)", "http://x.y/z", "+1", 12345678901234567, None, None),
        ("a\x01b<&>", "", "-2+3", True, 1.5, None),
    ]
    (part,) = written(tmp_path, platform("xlsx", *columns), rows)
    head, first, second, third = sheet(tmp_path / "x.xlsx")
    assert [text for _, text in head.values()] == [f"h{i}" for i in range(6)]
    assert first["A"] == ("inlineStr", "123456789012345678") and first["B"] == ("inlineStr", "007")
    assert first["C"] == ("inlineStr", hostile) and first["D"] == ("n", "3") and first["E"] == ("n", "3613")
    assert first["F"] == ("inlineStr", "2026-03-01")
    assert second["A"][0] == second["B"][0] == second["C"][0] == second["D"][0] == "inlineStr"
    assert third["A"] == ("inlineStr", "a_x0001_b<&>") and third["D"] == ("b", "1")
    assert part.rows == 3 and (tmp_path / "x.xlsx").stat().st_mode & 0o077 == 0


def test_a_workbook_is_parted_by_rows_and_by_size(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir(), (tmp_path / "size").mkdir()
    parts = written(tmp_path / "rows", platform("xlsx", limits={"rows": 400}), IDS)
    assert [(p.file, p.rows) for p in parts] == [("x-1.xlsx", 400), ("x-2.xlsx", 400), ("x-3.xlsx", 200)]
    assert len(sheet(tmp_path / "rows" / "x-1.xlsx")) == 401, "a header and its rows"
    parts = written(tmp_path / "size", platform("xlsx", limits={"mb": 0.05}), IDS)
    assert len(parts) > 2 and all(p.bytes <= 50_000 for p in parts) and sum(p.rows for p in parts) == 1000


# --- hostile texts ---


@pytest.mark.parametrize("header", ["=1+1", "@x", "-a", "+b"])
def test_a_header_is_no_formula(tmp_path: Path, header: str) -> None:
    p = platform("csv", {"header": header, "id": "openid"})
    written(tmp_path, p, [("=1+1",), ("@x",), ("+8613800138000",), ("+cmd|x",)])
    cells = [r[0] for r in csv.reader(io.StringIO((tmp_path / "x.csv").read_text(encoding="utf-8"), newline=""))]
    assert cells == [f"'{header}", "'=1+1", "'@x", "+8613800138000", "'+cmd|x"]


def test_names_in_a_zip_lead_nowhere(tmp_path: Path) -> None:
    (part,) = written(tmp_path, platform("txt", pack="zip"), IDS[:1])
    with zipfile.ZipFile(tmp_path / part.file) as packed:
        (entry,) = packed.infolist()
    assert entry.filename == "x.txt" and entry.external_attr >> 16 == 0o600


def test_words_of_a_platform_are_said_in_both_languages() -> None:
    for one in PLATFORMS.values():
        assert isinstance(one.platform.name, Words) and one.platform.description.zh and one.platform.description.en
        assert all(isinstance(c, PlatformColumn) for c in one.platform.columns)
