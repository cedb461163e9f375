"""The language of ``platforms/*.yaml``: what an advertising, message or shop system takes, as frozen models.

An audience's own ``export:`` is read as a platform, too, so that there is one way from members to files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import yaml
from pydantic import Field, field_validator, model_validator

from audiences.conditions import Filled
from audiences.contacts import SHAPES
from audiences.details import DETAIL_SHAPES
from audiences.forms.dmp import DATA_TYPES
from audiences.language import ID, Export, FilledWords, Hashing, contact_fields
from schemas.configuration import Settings, each_read, line_of, nearest, one_named, read_yaml, validated
from schemas.errors import ConfigurationError

Form: TypeAlias = Literal["csv", "txt", "jsonl", "xlsx", "dmp"]
Consent: TypeAlias = Literal["sms", "email", "wechat", "ads"]
"""Channels and purposes of which members may agree or refuse apart: their fields are called so, with ``_consent``."""
Country = Annotated[str, Field(pattern="^[A-Z]{2}$")]
Environment = Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")]
"""The name of an environment variable: secrets are never written into a file."""

OWN = "own"
"""What an audience's own ``export:`` is called where platforms are named."""
AUDIENCE = "audience"
"""``profile: audience`` stands for the columns of the audience's own ``export:``."""
WORDS = ("audience", "platform", "as_of", "release", "delivery", "change")
"""What ``{...}`` in the name of a file may say."""
VALUE_WORDS = ("audience", "zh", "en", "as_of")
"""What ``{...}`` in the text of a column may say."""
HEADER_WORDS = ("name", "number", "variable")
"""What ``{...}`` in the header of the audience's columns may say; ``{variable}`` is the number in braces."""
_PLACE = re.compile(r"\{([^{}]*)\}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
EXCEL_ROWS = 1_048_576
EXCEL_CHARACTERS = 32_767


def filled(template: str, words: Mapping[str, Any]) -> str:
    """The template with its ``{word}`` places filled; words are names only, nothing in them is evaluated."""
    return _PLACE.sub(lambda m: str(words[m[1]]), template)


def _refuse_places(template: str, known: Sequence[str]) -> None:
    for word in _PLACE.findall(template):
        if word not in known:
            raise ValueError(f"no word {{{word}}}; {nearest(word, list(known))}")
    if "{" in (rest := _PLACE.sub("", template)) or "}" in rest:
        raise ValueError("a brace stands alone; write {word}")


class PlatformColumn(Settings):
    """One column: an id of the person, a detail beside it, a column of the profile, or the same text in every row.

    A ``detail`` is a name or part of an address; those that stand ``together`` leave all or none. ``when`` keeps a text to
    rows of people who were added to, or removed from, what the platform has.
    """

    header: str | None = Field(default=None, min_length=1, max_length=200)
    id: str | None = None
    detail: str | None = None
    together: str | None = Field(default=None, min_length=1)
    shape: str | None = None
    hash: Hashing = "clear"
    profile: str | None = None
    value: str | None = None
    when: Literal["added", "removed"] | None = None

    @field_validator("header")
    @classmethod
    def _in_one_line(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("a header holds a line end or another character that cannot be seen")
        return value

    @field_validator("id")
    @classmethod
    def _known_id(cls, value: str | None) -> str | None:
        if value is not None and value not in contact_fields():
            raise ValueError(f"no id {value!r}; {nearest(value, list(contact_fields()))}")
        return value

    @field_validator("detail")
    @classmethod
    def _known_detail(cls, value: str | None) -> str | None:
        if value is not None and value not in DETAIL_SHAPES:
            raise ValueError(f"no detail {value!r}; {nearest(value, list(DETAIL_SHAPES))}")
        return value

    @field_validator("value")
    @classmethod
    def _known_words(cls, value: str | None) -> str | None:
        if value is not None:
            _refuse_places(value, VALUE_WORDS)
        return value

    @model_validator(mode="after")
    def _one_thing(self) -> PlatformColumn:
        given = [k for k in ("id", "detail", "profile", "value") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(
                "a column is one of id, detail, profile and value" + (f", not {' and '.join(given)}" * bool(given))
            )
        if self.member_field is None and (self.shape is not None or self.hash != "clear"):
            raise ValueError("shape and hash are of an id or detail")
        if self.detail is None and self.together is not None:
            raise ValueError("together is of a detail")
        if self.when is not None and self.value is None:
            raise ValueError("when is of a value")
        if self.value is not None and self.header is None:
            raise ValueError("a value needs a header")
        if self.header is not None and self.profile == AUDIENCE:
            _refuse_places(self.header, HEADER_WORDS)
            if not _PLACE.search(self.header):
                raise ValueError(
                    f"all columns of the audience would be called {self.header!r}; use {{name}} or {{number}}"
                )
        shapes = SHAPES.get(self.member_field or "", ("as_is",))
        if self.shape is not None and self.shape not in shapes:
            raise ValueError(f"{self.member_field} has no shape {self.shape!r}; {nearest(self.shape, list(shapes))}")
        return self

    @property
    def member_field(self) -> str | None:
        """The field of a member record that it holds."""
        return self.id or self.detail


class PlatformLimits(Settings):
    """What the platform takes: rows and size (1 MB is 1,000,000 bytes, counted before packing) of a file, and of a cell.

    More is parted into several files. ``least_rows``: fewer are delivered with a note.
    """

    rows: int | None = Field(default=None, ge=1)
    mb: float | None = Field(default=None, gt=0)
    least_rows: int | None = Field(default=None, ge=1)
    cell_bytes: int | None = Field(default=None, ge=1)


class HttpPlace(Settings):
    """``PUT URL/FILE`` with ``HEADER: SCHEME TOKEN``; the token is the environment's."""

    url: str
    token: Environment
    header: str = Field(default="Authorization", pattern="^[A-Za-z][A-Za-z0-9-]*$")
    scheme: str = Field(default="Bearer", pattern="^[A-Za-z0-9-]*$")

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        if not value.isprintable() or " " in value or parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("an address is https://HOST/PATH")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("a token and contacts go over https only")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("an address holds no user, password or query; the token is named by its variable")
        return value


class SftpPlace(Settings):
    """A folder of an SFTP server. Secrets are the environment's: a password, or the path of a private key's file.

    ``host_key`` is the server's public key (``ssh-ed25519 AAAA...``): without it nobody knows who takes the files.
    """

    host: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$")
    port: int = Field(default=22, ge=1, le=65535)
    user: str = Field(min_length=1)
    host_key: str = Field(pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+$")
    folder: str = "."
    password: Environment | None = None
    key: Environment | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> SftpPlace:
        if (self.password is None) == (self.key is None):
            raise ValueError("name one of password and key, by their environment variables")
        return self


class Destination(Settings):
    """Where files go: a folder, relative to the project's, or ``s3://...``; or on from the outbox by HTTP or SFTP."""

    folder: str | None = Field(default=None, min_length=1)
    http: HttpPlace | None = None
    sftp: SftpPlace | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Destination:
        if sum(v is not None for v in (self.folder, self.http, self.sftp)) != 1:
            raise ValueError("to is one of folder, http and sftp")
        return self


class Platform(Settings):
    """One platform. ``consent`` names the channel or purpose of which a member's word counts beside that of all marketing.

    ``sends: changes`` delivers who came and who went since the last delivery to it."""

    name: FilledWords
    description: FilledWords
    documented: tuple[str, ...] = ()
    form: Form = "csv"
    columns: Annotated[tuple[PlatformColumn, ...], Filled]
    header: bool = True
    excel: bool = False
    rows_per_line: int | None = Field(default=None, ge=1)
    pack: Literal["none", "zip"] = "none"
    file: str = Field(default="{audience}-{as_of}-{platform}", min_length=1)
    limits: PlatformLimits = PlatformLimits()
    sends: Literal["full", "changes"] = "full"
    country: Country | None = None
    consent: Consent | None = None
    money: Literal["main", "minor"] = "main"
    to: Destination | None = None

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        _refuse_places(value, WORDS)
        if not _FILE.fullmatch(filled(value, dict.fromkeys(WORDS, "x"))):
            raise ValueError("a file's name is letters, digits and _ . -, and does not begin with a dot")
        return value

    @model_validator(mode="after")
    def _fits_its_form(self) -> Platform:
        ids = [c for c in self.columns if c.id is not None]
        if not ids and any(c.detail for c in self.columns):
            raise ValueError("a detail stands beside an id, by which the row leaves; add a column with an id")
        if self.form in ("txt", "dmp") and len(ids) < len(self.columns):
            raise ValueError(f"form {self.form} takes ids only")
        if self.form == "txt" and len(ids) != 1:
            raise ValueError("form txt takes one column: one id a line")
        if self.form == "dmp":
            for c in self.columns:
                if c.header not in DATA_TYPES:
                    raise ValueError(
                        f"a header of form dmp is a data type, not {c.header!r}; {nearest(c.header or '', [*DATA_TYPES])}"
                    )
        if self.excel and self.form != "csv":
            raise ValueError("excel marks the cells of a csv; a workbook (form xlsx) needs no marks")
        if self.rows_per_line is not None and self.form not in ("jsonl", "dmp"):
            raise ValueError("rows_per_line is of jsonl and dmp")
        if self.pack == "zip" and self.form == "xlsx":
            raise ValueError("a workbook is packed already; remove pack")
        if self.sends == "changes" and not ids:
            raise ValueError("sends: changes needs an id, by which the platform knows whom to remove")
        if any(c.when for c in self.columns) and self.sends != "changes":
            raise ValueError("when is of sends: changes")
        if self.form == "xlsx" and (self.limits.rows or 0) > EXCEL_ROWS:
            raise ValueError(f"a sheet holds {EXCEL_ROWS:,} rows at most")
        headers = [h for c in self.columns if c.profile != AUDIENCE and (h := header_of(c)) is not None]
        if twice := [h for h in headers if headers.count(h) > 1]:
            # Ids may be asked for in several columns of one header where a platform takes repeated ones.
            raise ValueError(f"header {twice[0]!r} stands twice")
        return self

    @property
    def ids(self) -> tuple[PlatformColumn, ...]:
        return tuple(c for c in self.columns if c.id is not None)

    @property
    def tells_changes_in_rows(self) -> bool:
        """Whether rows themselves say who came and who went; else these are files of their own."""
        return any(c.when for c in self.columns)

    @property
    def most_rows(self) -> int | None:
        """Rows of one file, without its header."""
        most = self.limits.rows
        return min(most or EXCEL_ROWS, EXCEL_ROWS - self.header) if self.form == "xlsx" else most

    @property
    def content(self) -> dict[str, Any]:
        """The whole definition as plain data, defaults written out."""
        plain: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return plain

    @property
    def mark(self) -> str:
        """SentChanges with whatever changes a delivery: names and where it goes do not."""
        formed = {k: v for k, v in self.content.items() if k not in ("name", "description", "documented", "to")}
        plain = json.dumps(formed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()


def header_of(column: PlatformColumn) -> str | None:
    """What the file calls it, as far as the platform says."""
    return column.header or column.profile or column.member_field


def resolved(platform: Platform, own: Export) -> tuple[PlatformColumn, ...]:
    """The platform's columns with those of the audience in the place of ``profile: audience``."""
    found: list[PlatformColumn] = []
    for c in platform.columns:
        if c.profile != AUDIENCE:
            found.append(c)
            continue
        for i, name in enumerate(own.columns, 1):
            words = {"name": name, "number": i, "variable": f"{{{i}}}"}
            found.append(PlatformColumn(profile=name, header=None if c.header is None else filled(c.header, words)))
    return tuple(found)


def own_export(name: FilledWords, own: Export) -> Platform:
    """An audience's ``export:`` as a platform."""
    contacts = [
        PlatformColumn(id=kind, hash=how, shape=own.phone_form if kind == "phone" else None)
        for kind, how in own.contacts.items()
    ]
    return Platform(
        name=name,
        description=name,
        columns=(*(PlatformColumn(profile=c) for c in own.columns), *contacts),
        excel=own.format == "excel",
        file="{audience}-{as_of}",
        country=own.country,
        money=own.money,
    )


@dataclass(frozen=True)
class PlatformFile:
    """A platform with where it was read; ``id`` is the file's name."""

    id: str
    path: Path
    platform: Platform
    node: yaml.Node

    def at(self, place: tuple[Any, ...]) -> str:
        """``file:line`` of a part of it."""
        return f"{self.path}:{line_of(self.node, place)}"

    @cached_property
    def profile_columns(self) -> dict[str, int]:
        """Columns of the profile that it names itself, with their numbers."""
        return {c.profile: i for i, c in enumerate(self.platform.columns) if c.profile not in (None, AUDIENCE)}


def read_platform(path: Path) -> PlatformFile:
    """One platform from its file; ConfigurationError names file, line, key and the nearest known one."""
    if not ID.fullmatch(path.stem) or path.stem == OWN:
        raise ConfigurationError(
            f"{path}: the file's name is the platform's id: small letters, digits and _, beginning with a letter, "
            f"and not {OWN!r}, which is an audience's own export"
        )
    content, node = read_yaml(path)
    return PlatformFile(path.stem, path, validated(Platform, content, node, path), node)


def read_platforms(paths: Sequence[Path]) -> dict[str, PlatformFile]:
    """Every platform by id; the mistakes of all files are reported together."""
    return each_read(paths, read_platform)


def platform_named(platforms: Mapping[str, PlatformFile], name: str) -> PlatformFile:
    """The platform of that id; NotThereError suggests the nearest."""
    return one_named(platforms, "platform", name, ". A folder is named by --out")
