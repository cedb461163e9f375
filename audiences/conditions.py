"""The conditions of ``audiences/*.yaml``: frozen models.

A condition is one mapping whose first word says what it is (``KINDS``). What a tag or an event can be compared with is judged by
the compiler, which knows the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

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

from audiences.id_files import USER_ID, id_kinds
from schemas.behaviours import BEHAVIOURS, BROWSE
from schemas.configuration import Settings
from schemas.measures import MAX_WINDOW_DAYS, View, Where, Window, refuse_unknown

Scalar: TypeAlias = StrictBool | StrictInt | StrictFloat | date | StrictStr
Ordered: TypeAlias = StrictInt | StrictFloat | date | StrictStr

COMPARISONS = ("is", "is_not", "at_least", "at_most", "above", "below", "between", "known")


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def _not_empty(value: Any) -> Any:
    # After validation, so that a wrong item is not reported a second time as a list that is too short.
    if value is not None and not value:
        raise ValueError("the list is empty")
    return value


Listed = BeforeValidator(_listed)
Filled = AfterValidator(_not_empty)


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


class Switchable(Settings):
    """What can be switched off and stay where it is: ``disabled: true`` counts as if it were not there.

    The key is not ``off``, which YAML takes for false. Nothing but ``true`` can be said, so that there is one way to
    say that a condition counts.
    """

    disabled: Literal[True] | None = None


class TagCondition(Comparison, Switchable):
    """The value of a tag. ``known: true`` asks whether there is one; any other comparison with none is unknown."""

    tag: str
    known: StrictBool | None = None

    @model_validator(mode="after")
    def _compares(self) -> TagCondition:
        if not self.comparisons:
            raise ValueError(f"tag {self.tag!r} is compared with nothing; add one of {', '.join(COMPARISONS)}")
        return self


WRITTEN_EMPTY = ("brand", "category", "category_parent", "sku", "seller", "channel", "detail")
DaysAgo = Annotated[StrictInt, Field(ge=0, lt=MAX_WINDOW_DAYS)]


class EventKind(Settings):
    """Rows of behaviour: which events, and what of them must hold. ``event: browse`` is every on-site behaviour."""

    event: Annotated[tuple[str, ...], Listed, Filled]
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
        return {k: () for k in WRITTEN_EMPTY if k not in where.given} | where.given


class EventRows(EventKind):
    """Rows on some days.

    At most one says the days: ``within_days`` W are the W business days that end on ``as_of``; ``days_ago`` [N, M] those
    from M to N days before it, both included, 0 being ``as_of`` itself; ``on_days`` two dates, both included. Absent is
    ever.
    """

    within_days: Window = None
    days_ago: tuple[DaysAgo, DaysAgo] | None = None
    on_days: tuple[date, date] | None = None

    @model_validator(mode="after")
    def _one_window(self) -> EventRows:
        said = [k for k in ("within_days", "days_ago", "on_days") if getattr(self, k) is not None]
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)} both say the days; keep one")
        for key in ("days_ago", "on_days"):
            pair = getattr(self, key)
            if pair is not None and pair[0] > pair[1]:
                raise ValueError(f"{key} goes from the smaller to the greater, given {pair[0]} and {pair[1]}")
        return self


class EventCondition(Comparison, EventRows, Switchable):
    """What a user did: ``measure`` over the rows, compared, or merely done at all. ``did: false`` turns it round."""

    did: StrictBool = True
    measure: str = "rows"
    agg: str | None = None


class Succession(Settings):
    """Something done, ``then`` another later on its day or in the ``within_days`` after it, or ``without`` another."""

    first: EventRows
    then: EventKind | None = None
    without: EventKind | None = None
    within_days: Annotated[StrictInt, Field(ge=0, le=MAX_WINDOW_DAYS)]

    @model_validator(mode="after")
    def _one_follows(self) -> Succession:
        if (self.then is None) == (self.without is None):
            raise ValueError("say what follows: either then, or without for what does not")
        return self


class SequenceCondition(Switchable):
    """Who did one thing and then another, or not. Without: unknown of whose days after it are not over yet."""

    sequence: Succession


class AudienceCondition(Switchable):
    """Who is in another audience, by that audience's definition at the same release.

    With ``as_of``: who its log says was in it at the end of that day, whatever its definition was then.
    """

    audience: str
    as_of: date | None = None


class AlertCondition(Switchable):
    """Who is listed by an alert of the release's day (``segments.alert_users``), raised or not."""

    alert: str


class UsersCondition(Switchable):
    """Users by name: a list of ``user_id``."""

    users: Annotated[tuple[StrictStr, ...], Filled]


class TagChange(Settings):
    """A change of a dynamic tag ``from`` one of some values ``to`` one of others (absent: any) in the last days."""

    tag: str
    from_: Annotated[tuple[Scalar, ...] | None, Listed, Filled] = Field(default=None, alias="from")
    to: Annotated[tuple[Scalar, ...] | None, Listed, Filled] = None
    within_days: Window = None


class ChangedCondition(Switchable):
    """Whose tag changed (``profile.tag_changes``). The first value that is known of somebody is no change."""

    changed: TagChange


class IdList(Settings):
    """A CSV file in the project folder with ids of one kind: those of ``column``, else of the first."""

    file: str = Field(min_length=1)
    kind: str
    column: str | None = None

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        refuse_unknown("kind of id", (value,), (USER_ID, *id_kinds()))
        return value


class IdsCondition(Switchable):
    """Whose id is in a list."""

    ids: IdList


class Chosen(Settings):
    """So many ``people``, or the ``share`` of those who can be chosen, among those who fulfil a condition (absent: all)."""

    people: Annotated[StrictInt, Field(ge=1)] | None = None
    share: float | None = Field(default=None, gt=0, le=1)
    among: Condition | None = None

    @model_validator(mode="after")
    def _how_many(self) -> Chosen:
        if (self.people is None) == (self.share is None):
            raise ValueError("say how many: either people or share")
        return self


class Top(Chosen):
    """Those with the highest (or lowest) values of the tag ``by``, in each group of the tag ``within``."""

    by: str
    within: str | None = None
    order: Literal["highest", "lowest"] = "highest"


class TopCondition(Switchable):
    """Who is among the first. Equal values are told apart by ``user_id``; who has no value is not among them."""

    top: Top


class Drawn(Chosen):
    """Drawn by the hash of ``seed`` and ``user_id``: the same people for as long as both are."""

    seed: StrictStr | StrictInt


class SampleCondition(Switchable):
    sample: Drawn


class TreePart(Settings):
    """People whom a user brought, those whom these brought, and so on for so many ``levels`` (absent: all)."""

    below: StrictStr
    levels: Annotated[StrictInt, Field(ge=1)] | None = None


class TreeCondition(Switchable):
    """Who is below a user in the share tree (``fission.share_edges``)."""

    share_tree: TreePart


class AllConditions(Switchable):
    all: Annotated[tuple[Condition, ...], Filled]


class AnyConditions(Switchable):
    any: Annotated[tuple[Condition, ...], Filled]


class NotCondition(Switchable):
    not_: Condition = Field(alias="not")


KINDS = {
    "tag": "(TagCondition)",
    "event": "(EventCondition)",
    "audience": "(AudienceCondition)",
    "alert": "(AlertCondition)",
    "users": "(UsersCondition)",
    "sequence": "(SequenceCondition)",
    "changed": "(ChangedCondition)",
    "ids": "(IdsCondition)",
    "top": "(TopCondition)",
    "sample": "(SampleCondition)",
    "share_tree": "(TreeCondition)",
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
    | Annotated[SequenceCondition, Tag("(SequenceCondition)")]
    | Annotated[ChangedCondition, Tag("(ChangedCondition)")]
    | Annotated[IdsCondition, Tag("(IdsCondition)")]
    | Annotated[TopCondition, Tag("(TopCondition)")]
    | Annotated[SampleCondition, Tag("(SampleCondition)")]
    | Annotated[TreeCondition, Tag("(TreeCondition)")]
    | Annotated[AllConditions, Tag("(AllConditions)")]
    | Annotated[AnyConditions, Tag("(AnyConditions)")]
    | Annotated[NotCondition, Tag("(NotCondition)")],
    Discriminator(
        _kind,
        custom_error_type="no_condition",
        custom_error_message=f"not a condition; it needs one of {', '.join(KINDS)}",
    ),
]

for _model in (Chosen, Top, TopCondition, Drawn, SampleCondition, AllConditions, AnyConditions, NotCondition):
    _model.model_rebuild()


def counts(condition: Condition) -> bool:
    """Whether a condition is switched on, and of a group whether anything in it is."""
    if condition.disabled:
        return False
    below = parts_of(condition)
    return not below or any(counts(part) for part in below)


def parts_of(condition: Condition) -> tuple[Condition, ...]:
    """The conditions directly in a group; none of any other."""
    if isinstance(condition, NotCondition):
        return (condition.not_,)
    if isinstance(condition, AllConditions):
        return condition.all
    return condition.any if isinstance(condition, AnyConditions) else ()
