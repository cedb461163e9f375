"""The language of ``audiences/*.yaml``: a definition's frozen model, read with file, line and the nearest known key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StrictBool, field_validator, model_validator

from audiences.conditions import Condition, Filled
from audiences.id_files import digest_of
from audiences.life import LIFE_KEYS, State, refuse_unknown_rhythm
from schemas.configuration import (
    Settings,
    Words,
    each_read,
    line_of,
    nearest,
    one_named,
    parse_yaml,
    read_yaml,
    validated,
)
from schemas.contracts import contract
from schemas.errors import ConfigurationError

ID = re.compile(r"[a-z][a-z0-9_]{0,62}")


class FilledWords(Words):
    """What neither language may leave empty."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)


Hashing = Literal["clear", "sha256", "md5"]


def contact_fields() -> tuple[str, ...]:
    """Fields of a member that reach or identify the person: what ``contacts`` may name."""
    members = contract("silver.members")
    wanted = ("phone", "email", "unionid", "openid", "external_userid", "member_id", "device_id")
    return tuple(n for n in wanted if members.column(n).field.personal in ("contact", "identifier"))


class Export(Settings):
    """What leaves for whom: profile columns, contacts in clear or hashed, and the form of the file.

    ``excel`` (default) writes a byte-order mark and keeps long ids as text; ``plain`` is for machines.
    ``phone_form``: e164 ``+8613…``, digits ``8613…`` (no plus), national ``13…``; it is what gets hashed, too.
    ``region`` is the country of phone numbers that carry no country code; absent: the project's ``default_country``.
    ``money``: in main units (yuan), with the currency in the header, or in minor ones (fen), as tags hold it.
    """

    columns: Annotated[tuple[str, ...], Filled] = ("user_id",)
    contacts: dict[str, Hashing] = Field(default_factory=dict)
    phone_form: Literal["e164", "digits", "national"] = "e164"
    region: str = Field(default="CN", pattern="^[A-Z]{2}$")
    format: Literal["excel", "plain"] = "excel"
    money: Literal["main", "minor"] = "main"

    @property
    def country(self) -> str | None:
        """The region that the file says; None where it says none."""
        # The default counts for nothing; it stays because hashes of definitions that stand in the lake have it.
        return self.region if "region" in self.model_fields_set else None

    @field_validator("contacts")
    @classmethod
    def _known_contact(cls, value: dict[str, Hashing]) -> dict[str, Hashing]:
        for one in value:
            if one not in contact_fields():
                raise ValueError(f"no contact {one!r}; {nearest(one, list(contact_fields()))}")
        return value

    @model_validator(mode="after")
    def _no_column_twice(self) -> Export:
        names = [*self.columns, *self.contacts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"column {name!r} stands twice")
        return self


class Definition(Settings):
    """One audience. A user is a member if ``include`` is true and ``exclude`` is not; unknown at either top is false.

    Contacts leave only for members who agreed to marketing, unless ``consent: ignore`` says why in ``consent_reason``
    (a recall, a delivery notice). ``may_be_empty``: that nobody is in it is nothing unusual, and the file leaves empty.
    ``state`` (absent: active), ``expires`` (the last day of use) and ``refresh`` say when it is built and delivered.
    """

    name: FilledWords
    description: FilledWords
    owner: str = Field(min_length=1)
    include: Condition
    exclude: Condition | None = None
    consent: Literal["required", "ignore"] = "required"
    consent_reason: str | None = None
    may_be_empty: StrictBool | None = None
    state: State | None = None
    folder: str | None = Field(default=None, min_length=1, max_length=200)
    expires: date | None = None
    refresh: str | None = None
    export: Export = Export()

    @field_validator("refresh")
    @classmethod
    def _known_rhythm(cls, value: str | None) -> str | None:
        return None if value is None else refuse_unknown_rhythm(value)

    @field_validator("folder")
    @classmethod
    def _in_one_line(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("a folder's name holds a line end or another character that cannot be seen")
        return value

    @model_validator(mode="after")
    def _reason_given(self) -> Definition:
        if self.consent == "ignore" and not (self.consent_reason or "").strip():
            raise ValueError("consent: ignore needs a consent_reason that says why these people may be reached")
        if self.consent == "required" and self.consent_reason:
            raise ValueError("consent_reason is given, but consent is not ignored; remove it or say consent: ignore")
        return self


@dataclass(frozen=True)
class Audience:
    """A definition with where it was read, so that later errors can name the line. ``id`` is the file's name."""

    id: str
    path: Path
    definition: Definition
    node: yaml.Node

    @property
    def project(self) -> Path:
        """The project folder: that of the folder of audiences."""
        return self.path.parent.parent

    def at(self, place: tuple[Any, ...]) -> str:
        """``file:line`` of a part of the definition."""
        return f"{self.path}:{line_of(self.node, place)}"

    @cached_property
    def content(self) -> dict[str, Any]:
        """The whole definition as plain data, defaults written out."""
        plain: dict[str, Any] = self.definition.model_dump(mode="json", by_alias=True, exclude_none=True)
        return plain

    def mentions(self) -> tuple[str, ...]:
        """Audiences that the definition names, in order of appearance."""
        found: list[str] = []

        for node in self._mappings():
            if set(node) == {"audience"}:
                found.append(node["audience"])
        return tuple(dict.fromkeys(found))

    def lists(self) -> tuple[str, ...]:
        """Files of ids that the definition names, in order of appearance."""
        return tuple(dict.fromkeys(node["ids"]["file"] for node in self._mappings() if set(node) == {"ids"}))

    def switched_off(self) -> tuple[str, ...]:
        """Where a condition is switched off, in order of reading."""
        found: list[str] = []

        def look(place: str, part: Any) -> None:
            if isinstance(part, dict) and part.get("disabled") is True:
                found.append(place)
            for key, below in part.items() if isinstance(part, dict) else enumerate(part):
                if isinstance(below, (dict, list)):
                    look(f"{place}.{key}", below)

        for block in ("include", "exclude"):
            if block in self.content:
                look(block, self.content[block])
        return tuple(found)

    def _mappings(self) -> Iterator[dict[str, Any]]:
        """Every mapping of the two blocks, parents first."""
        todo: list[Any] = [self.content.get("exclude"), self.content["include"]]
        while todo:
            node = todo.pop()
            if isinstance(node, dict):
                yield node
                todo += reversed(node.values())
            elif isinstance(node, list):
                todo += reversed(node)


def read(path: Path) -> Audience:
    """One audience from its file; ConfigurationError names file, line, key and the nearest known one."""
    _refuse_other_id(path)
    return _of(path, *read_yaml(path))


def read_text(text: str, path: Path) -> Audience:
    """An audience as the file at ``path`` would hold it, were ``text`` written there; mistakes as of that file."""
    _refuse_other_id(path)
    return _of(path, *parse_yaml(text, path))


def _refuse_other_id(path: Path) -> None:
    if not ID.fullmatch(path.stem):
        raise ConfigurationError(
            f"{path}: the file's name is the audience's id: small letters, digits and _, beginning with a letter"
        )


def _of(path: Path, content: Any, node: yaml.Node) -> Audience:
    return Audience(path.stem, path, validated(Definition, content, node, path), node)


def read_folder(folder: Path) -> dict[str, Audience]:
    """Every audience of a folder by id, in order of id; the mistakes of all files are reported together."""
    return each_read(sorted(folder.glob("*.yaml")), read)


def named(audiences: Mapping[str, Audience], name: str) -> Audience:
    """The audience of that id; NotThereError suggests the nearest."""
    return one_named(audiences, "audience", name)


def definition_hash(audience: Audience, audiences: Mapping[str, Audience]) -> str:
    """SHA-256 of the definition, of all definitions that it refers to and of their lists: a change in any of them shows.

    What they say of their life (``LIFE_KEYS``) is not in it: it changes nobody.
    """
    wanted: dict[str, Any] = {}
    todo = [audience.id]
    while todo:
        name = todo.pop()
        if name not in wanted:
            one = named(audiences, name) if name != audience.id else audience
            wanted[name] = {k: v for k, v in one.content.items() if k not in LIFE_KEYS}
            if lists := one.lists():
                wanted[name] |= {"lists": {file: digest_of(one.project, file) for file in lists}}
            todo.extend(one.mentions())
    plain = json.dumps([audience.id, wanted], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
