"""The language of ``audiences/*.yaml``: frozen models, read with file, line and the nearest known key.

A condition is one mapping whose first word says what it is: ``tag``, ``event``, ``audience``, ``alert``, ``users``,
``all``, ``any`` or ``not``. What a tag or an event can be compared with is judged by the compiler, which knows the catalogue.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    field_serializer,
    field_validator,
    model_validator,
)

from schemas.behaviours import BEHAVIOURS, BROWSE
from schemas.configuration import Settings, Words, line_of, nearest, read_yaml, validated
from schemas.contracts import contract
from schemas.errors import ConfigurationError, NotThereError
from schemas.measures import View, Where, Window, refuse_unknown

Scalar: TypeAlias = StrictBool | StrictInt | StrictFloat | date | StrictStr
Ordered: TypeAlias = StrictInt | StrictFloat | date | StrictStr

COMPARISONS = ("is", "is_not", "at_least", "at_most", "above", "below", "between", "known")
ID = re.compile(r"[a-z][a-z0-9_]{0,62}")


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def _not_empty(value: Any) -> Any:
    # After validation, so that a wrong item is not reported a second time as a list that is too short.
    if value is not None and not value:
        raise ValueError("the list is empty")
    return value


Listed = BeforeValidator(_listed)
Filled = AfterValidator(_not_empty)


class FilledWords(Words):
    """What neither language may leave empty."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)


class Comparison(Settings):
    """What a value is held against; several comparisons must all hold. ``between`` includes both ends."""

    is_: Annotated[tuple[Scalar, ...] | None, Listed, Filled] = Field(default=None, alias="is")
    is_not: Annotated[tuple[Scalar, ...] | None, Listed, Filled] = None
    at_least: Ordered | None = None
    at_most: Ordered | None = None
    above: Ordered | None = None
    below: Ordered | None = None
    between: tuple[Ordered, Ordered] | None = None

    @property
    def comparisons(self) -> dict[str, tuple[Scalar, ...]]:
        """The comparisons that are there, by key, each with its operands."""
        found: dict[str, tuple[Scalar, ...]] = {}
        for key in COMPARISONS:
            value = getattr(self, "is_" if key == "is" else key, None)
            if value is not None:
                found[key] = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        return found


class TagCondition(Comparison):
    """The value of a tag. ``known: true`` asks whether there is one; any other comparison with none is unknown."""

    tag: str
    known: StrictBool | None = None

    @model_validator(mode="after")
    def _compares(self) -> TagCondition:
        if not self.comparisons:
            raise ValueError(f"tag {self.tag!r} is compared with nothing; add one of {', '.join(COMPARISONS)}")
        return self


class EventCondition(Comparison):
    """What a user did within the last days: ``measure`` over the rows of ``event``, compared, or merely done at all.

    ``did: false`` turns the condition round. ``within_days`` W is the W business days that end on ``as_of``; absent is
    ever. ``event: browse`` stands for every on-site behaviour.
    """

    event: Annotated[tuple[str, ...], Listed, Filled]
    did: StrictBool = True
    measure: str = "rows"
    agg: str | None = None
    within_days: Window = None
    where: Where = Where()
    view: View = "behaviour"

    @field_validator("event")
    @classmethod
    def _known_event(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        refuse_unknown("behaviour", value, (*BEHAVIOURS, "browse"))
        spread = [b for one in value for b in (BROWSE if one == "browse" else (one,))]
        return tuple(dict.fromkeys(spread))

    @field_serializer("where")
    def _where(self, where: Where) -> dict[str, Any]:
        # Lists that are left out are written as empty ones: the hashes of definitions that stand in the lake have them so.
        return {k: () for k in where.lists if k not in where.given} | where.given


class AudienceCondition(Settings):
    """Who is in another audience, by that audience's definition at the same release."""

    audience: str


class AlertCondition(Settings):
    """Who is listed by an alert of the release's day (``segments.alert_users``), raised or not."""

    alert: str


class UsersCondition(Settings):
    """Users by name: a list of ``user_id``."""

    users: Annotated[tuple[StrictStr, ...], Filled]


class AllConditions(Settings):
    all: Annotated[tuple[Condition, ...], Filled]


class AnyConditions(Settings):
    any: Annotated[tuple[Condition, ...], Filled]


class NotCondition(Settings):
    not_: Condition = Field(alias="not")


KINDS = {
    "tag": "(TagCondition)",
    "event": "(EventCondition)",
    "audience": "(AudienceCondition)",
    "alert": "(AlertCondition)",
    "users": "(UsersCondition)",
    "all": "(AllConditions)",
    "any": "(AnyConditions)",
    "not": "(NotCondition)",
}


def _kind(value: Any) -> str | None:
    if isinstance(value, Settings):
        return f"({type(value).__name__})"
    if isinstance(value, Mapping):
        return next((KINDS[k] for k in KINDS if k in value), None)
    return None


Condition = Annotated[
    Annotated[TagCondition, Tag("(TagCondition)")]
    | Annotated[EventCondition, Tag("(EventCondition)")]
    | Annotated[AudienceCondition, Tag("(AudienceCondition)")]
    | Annotated[AlertCondition, Tag("(AlertCondition)")]
    | Annotated[UsersCondition, Tag("(UsersCondition)")]
    | Annotated[AllConditions, Tag("(AllConditions)")]
    | Annotated[AnyConditions, Tag("(AnyConditions)")]
    | Annotated[NotCondition, Tag("(NotCondition)")],
    Discriminator(
        _kind,
        custom_error_type="no_condition",
        custom_error_message=f"not a condition; it needs one of {', '.join(KINDS)}",
    ),
]

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
    (a recall, a delivery notice).
    """

    name: FilledWords
    description: FilledWords
    owner: str = Field(min_length=1)
    include: Condition
    exclude: Condition | None = None
    consent: Literal["required", "ignore"] = "required"
    consent_reason: str | None = None
    export: Export = Export()

    @model_validator(mode="after")
    def _reason_given(self) -> Definition:
        if self.consent == "ignore" and not (self.consent_reason or "").strip():
            raise ValueError("consent: ignore needs a consent_reason that says why these people may be reached")
        if self.consent == "required" and self.consent_reason:
            raise ValueError("consent_reason is given, but consent is not ignored; remove it or say consent: ignore")
        return self


for _model in (AllConditions, AnyConditions, NotCondition, Definition):
    _model.model_rebuild()


@dataclass(frozen=True)
class Audience:
    """A definition with where it was read, so that later errors can name the line. ``id`` is the file's name."""

    id: str
    path: Path
    definition: Definition
    node: yaml.Node

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

        def walk(node: Any) -> None:
            if isinstance(node, dict):
                if set(node) == {"audience"}:
                    found.append(node["audience"])
                for value in node.values():
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)

        walk([self.content["include"], self.content.get("exclude")])
        return tuple(dict.fromkeys(found))


def read(path: Path) -> Audience:
    """One audience from its file; ConfigurationError names file, line, key and the nearest known one."""
    if not ID.fullmatch(path.stem):
        raise ConfigurationError(
            f"{path}: the file's name is the audience's id: small letters, digits and _, beginning with a letter"
        )
    content, node = read_yaml(path)
    return Audience(path.stem, path, validated(Definition, content, node, path), node)


def read_folder(folder: Path) -> dict[str, Audience]:
    """Every audience of a folder by id, in order of id; the mistakes of all files are reported together."""
    found: dict[str, Audience] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            one = read(path)
        except ConfigurationError as e:
            problems.append(str(e))
            continue
        found[one.id] = one
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def named(audiences: Mapping[str, Audience], name: str) -> Audience:
    """The audience of that id; NotThereError suggests the nearest."""
    try:
        return audiences[name]
    except KeyError:
        there = nearest(name, list(audiences)) or "none is defined yet (audiences/*.yaml)"
        raise NotThereError(f"no audience {name!r}; {there}") from None


def definition_hash(audience: Audience, audiences: Mapping[str, Audience]) -> str:
    """SHA-256 of the definition and of all definitions that it refers to, so that a change in any of them shows."""
    wanted: dict[str, Any] = {}
    todo = [audience.id]
    while todo:
        name = todo.pop()
        if name not in wanted:
            one = named(audiences, name) if name != audience.id else audience
            wanted[name] = one.content
            todo.extend(one.mentions())
    plain = json.dumps([audience.id, wanted], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
