"""What a column can be held against: comparisons with operands of its type, or a mistake at the key that has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from audiences.conditions import Comparison
from audiences.plan import Operand, Test
from schemas.configuration import Words, nearest
from schemas.contracts import Type

NUMBERS = ("int32", "int64", "float64")


@dataclass(frozen=True)
class Attribute:
    """What the catalogue says of one column of the profile. No ``values`` means that any text may occur.

    The changes of a dynamic tag are kept; of a number with ``bands`` by these.
    """

    id: str
    type: Type
    name: Words
    description: Words
    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = None
    labels: Mapping[str, Words] = field(default_factory=dict)
    is_dynamic: bool = False
    bands: tuple[str, ...] = ()


class MistakeError(Exception):
    """One mistake at one place; becomes a line of the ConfigurationError."""

    def __init__(self, message: str, *key: Any):
        super().__init__(message)
        self.key = key


def tests_of(condition: Comparison, known: Attribute) -> tuple[Test, ...]:
    """The comparisons with operands of the column's type; refuses what the column cannot be compared with."""
    found = []
    low, high = -math.inf, math.inf
    for key, values in condition.comparisons.items():
        if key == "known":
            continue
        if key not in ("is", "is_not") and known.type in ("string", "bool"):
            kind = "text" if known.type == "string" else "true or false"
            raise MistakeError(f"{known.id!r} is {kind}; it can be compared with is and is_not, not with {key}", key)
        plain = tuple(operand_of(v, known, key) for v in values)
        if key == "between" and plain[0] > plain[1]:  # type: ignore[operator]
            raise MistakeError(
                f"between goes from the smaller to the greater value, given {plain[0]} and {plain[1]}", key
            )
        if known.type in NUMBERS:
            low, high = _narrowed(key, [float(v) for v in plain], low, high)
        found.append(Test(op=key, values=plain))
    least = -math.inf if known.minimum is None else known.minimum
    most = math.inf if known.maximum is None else known.maximum
    if max(low, least) > min(high, most):
        raise MistakeError(f"can never match: {known.id!r} takes {_range(known)}" if low <= high else "can never match")
    return tuple(found)


def _narrowed(key: str, values: list[float], low: float, high: float) -> tuple[float, float]:
    """The closed range that is left after a comparison; a strict one moves its end by the smallest float."""
    if key == "at_least":
        return max(low, values[0]), high
    if key == "at_most":
        return low, min(high, values[0])
    if key == "above":
        return max(low, math.nextafter(values[0], math.inf)), high
    if key == "below":
        return low, min(high, math.nextafter(values[0], -math.inf))
    if key == "between":
        return max(low, values[0]), min(high, values[1])
    return low, high


def _range(known: Attribute) -> str:
    if known.minimum is not None and known.maximum is not None:
        return f"values from {known.minimum:g} to {known.maximum:g}"
    return f"values from {known.minimum:g}" if known.minimum is not None else f"values up to {known.maximum:g}"


def operand_of(value: Any, known: Attribute, key: str) -> Operand:
    """``value`` as the column's type holds it; a value that the column cannot take is refused."""
    if known.type == "string":
        return _text(value, known, key)
    if known.type == "bool":
        if not isinstance(value, bool):
            raise MistakeError(f"{known.id!r} is true or false, given {value!r}", key)
        return value
    if known.type == "date":
        return _day(value, known, key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MistakeError(f"{known.id!r} is a number, given {value!r}", key)
    if isinstance(value, float) and not math.isfinite(value):
        raise MistakeError(f"{known.id!r} is a number, given {value!r}", key)
    if key in ("is", "is_not"):
        if known.type != "float64" and value != int(value):
            raise MistakeError(f"{known.id!r} is a whole number, given {value!r}", key)
        least = -math.inf if known.minimum is None else known.minimum
        most = math.inf if known.maximum is None else known.maximum
        if not least <= value <= most:
            raise MistakeError(f"{known.id!r} takes {_range(known)}, given {value!r}", key)
    return value


def _text(value: Any, known: Attribute, key: str) -> str:
    if not isinstance(value, str):
        raise MistakeError(f"{known.id!r} is text, given {value!r}; write it in quotes if it is meant", key)
    if known.values and value not in known.values:
        labelled = [v for v, label in known.labels.items() if value in (label.zh, label.en)]
        hint = f"that is what {labelled[0]!r} is called" if labelled else nearest(value, list(known.values))
        raise MistakeError(f"{known.id!r} never takes the value {value!r}; {hint}", key)
    return value


def _day(value: Any, known: Attribute, key: str) -> str:
    if isinstance(value, date):
        return value.isoformat()
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise MistakeError(f"{known.id!r} is a date such as 2026-03-01, given {value!r}", key) from None
