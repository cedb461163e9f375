"""An audience at a platform: what leaves, what is kept back and told, what changed since, and that nothing leaves twice."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads
import pytest
import typer
from typer.testing import CliRunner

from audiences.delivery import read_manifest
from audiences.funnel import funnel_of
from cli import audience as verbs
from jobs.audiences.export import Exported, export
from lake.lake import Lake
from project.audience_tables import deliveries
from project.example import EXAMPLE
from schemas.errors import ConfigurationError, HuaxiangError, InputError, NotThereError
from tests.audiences.lake_shop import EARLY, D, Shop, beijing_shop, people, silver

EVERYBODY = """\
name: {zh: 全部会员, en: Everybody}
description: {zh: 全部, en: Everybody}
owner: crm
include: {tag: paid_amount_90d, at_least: 0}
export: {columns: [user_id, register_city, paid_amount_90d]}
"""
app = typer.Typer()
app.add_typer(verbs.audience, name="audience")
app.command("nothing")(lambda: None)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = beijing_shop(tmp_path_factory.mktemp("template") / "shop")
    shop.define("everybody", EVERYBODY)
    shutil.copytree(EXAMPLE / "platforms", shop.folder / "platforms")
    return shop.folder


def records(shop: Shop, **members: Mapping[str, Any]) -> None:
    """These and no other member records, of uids that their names say: ``M1``."""
    rows = [
        silver(EARLY + timedelta(days=i), i, member_id=m[:2], **{"marketing_consent": True, **v})
        for i, (m, v) in enumerate(members.items())
    ]
    shop.put("silver.members", rows)


def phone(number: int) -> dict[str, Any]:
    return {"phone": f"1380000020{number}"}


def to(shop: Shop, platform: str | None, **more: Any) -> Exported:
    return export(shop.project, "everybody", requested_by="li", to=platform, **more)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def lines(done: Exported, change: str | None = None) -> list[str]:
    """Lines of the files, of those with that change."""
    found = []
    for part in done.parts:
        if part.get("change") == change:
            path = Path(done.folder) / part["file"]
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as packed:
                    found += packed.read(packed.namelist()[0]).decode().splitlines()
            else:
                found += path.read_text(encoding="utf-8").splitlines()
    return found


def rejected(done: Exported) -> list[dict[str, str]]:
    text = (Path(done.folder) / "rejected.csv").read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_ids_leave_in_the_platforms_form_with_manifest_and_note(shop: Shop) -> None:
    records(shop, M1=phone(1), M2={"phone": "+86 138-0000-0202"})
    done = to(shop, "qianchuan")
    assert lines(done) == [sha("13800000201"), sha("13800000202")]
    manifest = read_manifest(Path(done.folder))
    (part,) = manifest["files"]
    content = (Path(done.folder) / part["file"]).read_bytes()
    assert part["checksum"] == manifest["checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (part["md5"], part["rows"], part["bytes"]) == (hashlib.md5(content).hexdigest(), 2, len(content))
    assert (manifest["platform"], manifest["country"], manifest["rows"]) == ("qianchuan", "CN", 2)
    (noted,) = deliveries(shop.lake, "everybody")
    assert (noted["platform"], noted["rows"], noted["delivery_id"]) == ("qianchuan", 2, done.delivery_id)
    assert (Path(done.folder).stat().st_mode & 0o077, (Path(done.folder) / part["file"]).stat().st_mode & 0o077) == (
        0,
        0,
    )


def test_a_repetition_changes_nothing_and_another_platform_or_form_is_another_delivery(shop: Shop) -> None:
    first = to(shop, "qianchuan")
    again = to(shop, "qianchuan")
    assert again.already_delivered and again.delivery_id == first.delivery_id
    assert not to(shop, "meta").already_delivered and not to(shop, None).already_delivered
    path = shop.folder / "platforms" / "qianchuan.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("mb: 25", "mb: 20"), encoding="utf-8")
    assert not to(shop, "qianchuan").already_delivered
    assert len(deliveries(shop.lake)) == 4


def test_the_funnel_tells_of_everybody_why_they_have_no_row(shop: Shop) -> None:
    records(
        shop,
        M1=phone(1),
        M2=phone(1),
        M3={**phone(3), "marketing_consent": False},
        M4={"phone": "12345"},
        M5={"email": "x@example.com"},
        M6={"phone": sha("13800000206")},
    )
    done = to(shop, "qianchuan")
    funnel = {s["step"]: (s["people"], s["lost"]) for s in done.funnel}
    assert funnel == {
        "members": (8, {}),
        "persons": (8, {}),
        "allowed": (6, {"refused marketing": 1, "contact is in the file already": 1}),
        "identified": (3, {"no member": 2, "no contact of the kind": 1}),
        "valid": (1, {"no valid contact": 2}),
        "written": (1, {}),
    }
    assert json.loads(json.dumps(read_manifest(Path(done.folder))["funnel"])) == list(done.funnel)


def test_a_funnel_that_loses_somebody_unsaid_is_a_defect() -> None:
    with pytest.raises(ValueError, match="8 members"):
        funnel_of(8, {"no member": 1}, 6)
    with pytest.raises(ValueError, match="made up"):
        funnel_of(8, {"made up": 1}, 8)


def test_what_cannot_leave_stands_masked_beside_the_delivery_and_is_counted(shop: Shop) -> None:
    records(shop, M1=phone(1), M2={"phone": "12345678"}, M3={"phone": sha("13800000203")})
    done = to(shop, "meta")
    assert rejected(done) == [
        {"uid": "2", "column": "phone", "value": "12*****8", "reason": "no valid phone number"},
        {"uid": "3", "column": "phone", "value": f"{sha('13800000203')[:3]}********{sha('13800000203')[-2:]}", "reason": "hashed already"},
    ]  # fmt: skip
    assert done.rejected == {"phone": {"no valid phone number": 1, "hashed already": 1}}
    manifest = read_manifest(Path(done.folder))
    assert [(f["file"], f["rows"]) for f in manifest["beside"]] == [("rejected.csv", 2)]
    assert (Path(done.folder) / "rejected.csv").stat().st_mode & 0o077 == 0
    assert done.notes == ("1 rows, and the platform asks for 100 at least: it may refuse them or show nothing",)


def test_a_column_of_digests_throughout_stops_the_delivery(shop: Shop) -> None:
    records(shop, M1={"phone": sha("1")}, M2={"phone": sha("2")}, M3={"email": "x@example.com"})
    with pytest.raises(
        InputError, match=r"column 'phone_sha256': all 2 values are digests already.*Nothing was delivered"
    ):
        to(shop, "qianchuan")
    assert deliveries(shop.lake) == [] and not list((shop.folder / "exports").rglob("*.*"))


def test_the_default_country_is_the_projects_or_the_platforms(shop: Shop) -> None:
    records(shop, M1={"phone": "(650) 555-1212"}, M2={"phone": "+86 13800000202"})
    nameless = "," * 6
    assert lines(to(shop, "meta"))[1:] == [f",{sha('8613800000202')}{nameless}"]
    settings = shop.folder / "huaxiang.yaml"
    settings.write_text(settings.read_text(encoding="utf-8") + "default_country: US\n", encoding="utf-8")
    done = to(shop, "meta")
    assert not done.already_delivered, "another country is another file"
    assert lines(done)[1:] == [f",{sha('16505551212')}{nameless}", f",{sha('8613800000202')}{nameless}"]


def test_columns_of_the_audience_follow_the_ids_where_the_platform_takes_them(shop: Shop) -> None:
    records(shop, M1={"email": "U@example.com"})
    done = to(shop, "klaviyo")
    assert lines(done) == [
        "Email,Phone Number,user_id,register_city,paid_amount_90d_CNY",
        "u@example.com,,m000001,北京,100.00",
    ]
    assert done.parts[0]["file"] == "everybody-2026-03-10-klaviyo.csv"


def test_a_text_that_the_platform_would_cut_is_left_out_and_told(shop: Shop) -> None:
    shop.release(D, people(u1={"register_city": "京" * 86}), number=2)
    records(shop, M1={"email": "u@example.com"}, M2={"email": "v@example.com"})
    done = to(shop, "mailchimp")
    assert lines(done)[1:] == ["u@example.com,m000001,,100.00", "v@example.com,m000002,北京,200.00"]
    assert done.rejected == {"register_city": {"longer than 255 bytes": 1}}
    assert rejected(done) == [
        {"uid": "1", "column": "register_city", "value": "***", "reason": "longer than 255 bytes"}
    ]


def test_parts_are_listed_each_with_its_checksum(shop: Shop) -> None:
    path = shop.folder / "platforms" / "plain_csv.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "limits: {rows: 1}\n", encoding="utf-8")
    records(shop, M1=phone(1), M2=phone(2))
    done = to(shop, "plain_csv")
    assert [p["file"] for p in done.parts] == [f"everybody-2026-03-10-plain_csv-{i}.csv" for i in (1, 2)]
    (Path(done.folder) / done.parts[1]["file"]).write_bytes(b"x")
    with pytest.raises(HuaxiangError, match="was changed after it was delivered"):
        to(shop, "plain_csv")


# --- changes ---


def next_day(shop: Shop, days: int = 1, **changed: Any) -> None:
    shop.release(D + timedelta(days=days), people(**changed))


def test_a_platform_that_is_sent_changes_gets_who_came_and_who_went(shop: Shop) -> None:
    records(shop, M1=phone(1), M2=phone(2), M3=phone(3))
    first = to(shop, "tencent_ads")
    assert lines(first, "add") == [sha(f"1380000020{i}") for i in (1, 2, 3)] and lines(first, "remove") == []
    assert first.changes == {"added": 3, "removed": 0, "since": None}
    next_day(shop, u4={"paid_amount_90d": 5})
    records(shop, M1={**phone(1), "marketing_consent": False}, M2=phone(2), M3=phone(5), M4=phone(4))
    second = to(shop, "tencent_ads")
    assert lines(second, "add") == [sha("13800000205"), sha("13800000204")]
    assert lines(second, "remove") == [sha("13800000201"), sha("13800000203")]
    assert second.changes == {"added": 2, "removed": 2, "since": first.delivery_id}
    assert [p["change"] for p in second.parts] == ["add", "remove"] and second.rows == 4
    next_day(shop, 2)
    third = to(shop, "tencent_ads")
    assert third.parts == () and third.changes == {"added": 0, "removed": 0, "since": second.delivery_id}
    assert to(shop, "tencent_ads").already_delivered


def test_an_id_that_went_over_to_another_person_is_not_removed(shop: Shop) -> None:
    records(shop, M1=phone(1), M2=phone(2))
    to(shop, "tencent_ads")
    next_day(shop)
    records(shop, M2=phone(1))
    done = to(shop, "tencent_ads")
    assert (lines(done, "add"), lines(done, "remove")) == ([], [sha("13800000202")])


def test_everybody_is_sent_anew_where_it_is_asked_for_or_nothing_is_there_to_compare_with(shop: Shop) -> None:
    records(shop, M1=phone(1))
    first = to(shop, "tencent_ads")
    done = to(shop, "tencent_ads", full=True)
    assert done.folder != first.folder and lines(done, "add") == [sha("13800000201")]
    shutil.rmtree(done.folder)
    next_day(shop)
    with pytest.raises(HuaxiangError, match="is not there to compare with; --full sends everybody anew"):
        to(shop, "tencent_ads")
    assert to(shop, "tencent_ads", full=True).changes == {"added": 1, "removed": 0, "since": None}


def test_tags_of_wecom_are_added_and_removed_in_one_file(shop: Shop) -> None:
    records(shop, M1={"external_userid": "wm1"}, M2={"external_userid": "wm2"})
    to(shop, "wecom")
    next_day(shop)
    records(shop, M1={"external_userid": "wm1"}, M3={"external_userid": "wm3"})
    done = to(shop, "wecom")
    assert lines(done, "both") == [
        "userid,external_userid,add_tag,remove_tag",
        ",wm3,全部会员,",
        ",wm2,,全部会员",
    ]


def test_a_folder_with_quotes_and_brackets_in_its_name_is_a_folder(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "l'[shop]*"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    shutil.copytree(template, odd / "shop")
    shop = Shop.at(odd / "shop")
    records(shop, M1=phone(1), M2=phone(2))
    to(shop, "tencent_ads")
    next_day(shop)
    records(shop, M2=phone(2))
    assert lines(to(shop, "tencent_ads"), "remove") == [sha("13800000201")]


# --- verbs, mistakes ---


def typed(shop: Shop, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["audience", *words, "--project", str(shop.folder)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_funnel_is_said_in_both_languages(shop: Shop) -> None:
    records(shop, M1=phone(1), M2={"phone": "12345"})
    said = typed(shop, "export", "everybody", "--to", "tencent_ads")
    assert "everybody at 2026-03-10 to tencent_ads: 1 rows delivered" in said
    assert "1 added 新增, 0 removed 移除; the first delivery" in said
    assert "人群成员 members of the audience" in said and "1 标识无效 no valid contact" in said
    assert "1 of SHA256_MOBILE_PHONE: no valid phone number (rejected.csv)" in said
    (found,) = json.loads(typed(shop, "export", "everybody", "--to", "tencent_ads", "--json"))
    assert found["already_delivered"] and found["funnel"][-1]["people"] == 1


@pytest.mark.parametrize(
    ("name", "said"), [("tencent_add", "did you mean 'tencent_ads'"), ("../x", "known are"), ("/tmp/x", "--out")]
)
def test_a_platform_that_is_not_there_ends_with_7(shop: Shop, name: str, said: str) -> None:
    assert said in typed(shop, "export", "everybody", "--to", name, "--json", code=7)
    with pytest.raises(NotThereError):
        to(shop, name)


def test_a_column_that_the_profile_does_not_have_is_named_with_its_line(shop: Shop) -> None:
    path = shop.folder / "platforms" / "meta.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("columns:", "columns:\n  - {profile: register_cit}"), encoding="utf-8"
    )
    with pytest.raises(
        ConfigurationError,
        match=r"meta\.yaml:\d+: the profile has no column 'register_cit'; did you mean 'register_city'",
    ):
        to(shop, "meta")


def test_two_columns_called_alike_are_refused(shop: Shop) -> None:
    path = shop.folder / "platforms" / "klaviyo.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("header: Email,", "header: user_id,"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="two columns are called 'user_id'"):
        to(shop, "klaviyo")


def test_an_id_that_no_file_of_members_has_brought_yet_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lake.dataset

    def older(lake: Lake, table: str, *args: Any, **more: Any) -> Any:
        found = real(lake, table, *args, **more)
        if table != "silver.members":
            return found
        return pads.dataset(found.to_table().drop_columns(["external_userid"]))

    monkeypatch.setattr(Lake, "dataset", older)
    records(shop, M1=phone(1))
    assert to(shop, "qianchuan").rows == 1
    with pytest.raises(NotThereError, match="no file of members with 'external_userid' has been taken yet"):
        to(shop, "wecom")


def test_a_delivery_that_fails_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiences.delivery.seal", full)
    with pytest.raises(OSError, match="No space"):
        to(shop, "qianchuan")
    assert not [p for p in (shop.folder / "exports").rglob("*") if p.is_file()] and deliveries(shop.lake) == []
