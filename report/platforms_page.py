"""Generated page: ``docs/platforms.md`` from the platforms of the example shop, with what each gets of one person."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from audiences.contacts import contact
from audiences.platforms import AUDIENCE, Platform, PlatformColumn, PlatformFile, header_of
from report.catalogue_page import HEAD, table_lines
from schemas.money import DEFAULT_CURRENCY

SAMPLE = {
    "phone": "13800138000",
    "email": "A.B.C@gmail.com",
    "external_userid": "wmAbC",
}
"""One person, as a shop may hold them."""
COUNTRY = "CN"


def platforms_page(platforms: Mapping[str, PlatformFile]) -> str:
    """Every platform in a table, then what each is for, and what stands in its files of one person."""
    lines = [
        "# Platforms 投放平台",
        "",
        HEAD,
        f"{len(platforms)} platforms come with the example shop (`conf/platforms/`) and are copied by `huaxiang init`; how a file "
        "of them is written stands in [audiences](audiences.md#platforms). "
        "`huaxiang audience export NAME --to PLATFORM` delivers. The vendors' rules change: read their page before a first upload.",
        "",
    ]
    rows = [
        [
            f"[`{n}`](#{n})",
            f.platform.name.zh,
            f.platform.name.en,
            _form(f.platform),
            _limits(f.platform),
            f.platform.sends,
        ]
        for n, f in platforms.items()
    ]
    lines += table_lines(["platform", "名称", "name", "files", "limits", "sends"], rows)
    person = ", ".join(f"{kind} `{text}`" for kind, text in SAMPLE.items())
    lines += ["", f"The values below are of one person: {person}.", ""]
    return (
        "\n".join([*lines, *chain.from_iterable(_platform(n, f.platform) for n, f in platforms.items())]).rstrip()
        + "\n"
    )


def _platform(name: str, platform: Platform) -> list[str]:
    lines = [f"## {name}", "", platform.description.zh, "", platform.description.en, ""]
    lines += table_lines(["column", "holds", "of that person"], [_column(c) for c in platform.columns])
    if platform.documented:
        lines += ["", "Documented: " + ", ".join(f"<{link}>" for link in platform.documented)]
    return [*lines, ""]


def _form(platform: Platform) -> str:
    zipped = ", zip" if platform.pack == "zip" else ""
    header = "" if platform.form != "csv" or platform.header else ", no header"
    per_line = f", {platform.rows_per_line:,} a line" if platform.rows_per_line else ""
    return f"{platform.form}{header}{per_line}{zipped}"


def _limits(platform: Platform) -> str:
    limits = platform.limits
    said = [
        f"{limits.rows:,} rows" if limits.rows else "",
        f"{limits.mb:g} MB" if limits.mb else "",
        f"{limits.cell_bytes} bytes a cell" if limits.cell_bytes else "",
        f"at least {limits.least_rows:,} rows" if limits.least_rows else "",
    ]
    return ", ".join(s for s in said if s)


def _column(column: PlatformColumn) -> list[str]:
    header = f"`{header_of(column)}`"
    if column.id is not None:
        shape = f" as {column.shape}" if column.shape else ""
        how = "in clear" if column.hash == "clear" else column.hash.upper().replace("SHA256", "SHA-256")
        text = contact(column.id, SAMPLE[column.id], column.hash, COUNTRY, column.shape)
        return [header, f"{column.id}{shape}, {how}", f"`{text}`"]
    if column.profile == AUDIENCE:
        said = (
            f"`{column.header}`"
            if column.header
            else f"their names; money with its currency (`..._{DEFAULT_CURRENCY}`)"
        )
        return [said, "the columns of the audience's `export:`", ""]
    if column.value is not None:
        when = f", in rows of people who were {column.when}" if column.when else ""
        return [header, f"`{column.value}`{when}" if column.value else "empty", ""]
    return [header, f"`{column.profile}` of the profile", ""]
