"""The text that a block's columns hold for a mapping, as SQL: trimmed, mapped, with words for nothing made null."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from features import text_forms as forms
from features.block_shape import Shape
from features.person_forms import as_typed_in
from features.sources import Condition, FieldRule, Mapping
from schemas.contracts import Column
from schemas.quarantine import UNIT_SEPARATOR, literal, one_of

SEPARATOR = literal(UNIT_SEPARATOR)
PLACE = "place"
"""Column of a block: what its file holds, and the row's number in it, for ids that are made of the row's place."""


@dataclass
class Texts:
    """The trimmed text of a mapping's columns for one shape of block, as named steps of one statement."""

    mapping: Mapping
    shape: Shape
    steps: forms.Projection
    thorough: bool
    named: dict[tuple[str, bool], str] = field(default_factory=dict)
    lengths: dict[str, frozenset[int]] = field(default_factory=dict)
    """Of texts that are as long as they came: the lengths that occur (``Shape.lengths``)."""

    def column(self, name: str, *, plain: bool) -> str:
        """Trimmed text of a column; ``plain`` turns full-width forms into half-width ones."""
        if (name, plain) not in self.named:
            text = self.named[name, plain] = self.steps.let(self.trimmed(name, plain=plain))
            if name in self.shape.columns:
                k = self.shape.columns.index(name)
                # Signs beyond ASCII may change their length with their case.
                if k not in self.shape.wide and k not in self.shape.ragged:
                    self.lengths[text] = self.shape.lengths[k]
        return self.named[name, plain]

    def there(self, text: str, absent: Sequence[str], *, fold: bool = True) -> str:
        """Name of the text, null where it is one of the words for nothing."""
        among = self.lengths.get(text)
        found = self.steps.let(forms.present(text, absent, fold=fold, among=among), text)
        if among is not None:
            self.lengths[found] = among
        return found

    def trimmed(self, name: str, *, plain: bool) -> str:
        if name not in self.shape.columns:
            return "null::varchar"
        k = self.shape.columns.index(name)
        text = f"replace(c{k}, {SEPARATOR}, ' ')" if k in self.shape.special else f"c{k}"
        if plain and k in self.shape.full:
            text = forms.half_width(text)
        if k not in self.shape.ragged:
            return text
        return forms.trimmed(text) if k in self.shape.wide else forms.trimmed(text, " \t\r\n")

    def odd(self, rule: FieldRule) -> list[str]:
        """Those of the rule's columns that may hold text as spreadsheets write it, to keep it text."""
        return [c for c in rule.columns if self.is_odd(c)]

    def is_odd(self, name: str) -> bool:
        return name in self.shape.columns and self.shape.columns.index(name) in self.shape.odd

    def typed_in(self, name: str, *, plain: bool, is_id: bool = False) -> str:
        """Text of a column as somebody typed it in, without the marks of a spreadsheet."""
        text = self.column(name, plain=plain)
        return self.steps.let(as_typed_in(text, is_id=is_id), text) if self.is_odd(name) else text

    def present(self, name: str, rule: FieldRule) -> str:
        """Text of one term of a sum; null where it means nothing."""
        text = self.typed_in(name, plain=True)
        if rule.absent:
            text = self.there(text, rule.absent, fold=False)
        return self.there(text, forms.ABSENT_VALUES)

    def condition(self, c: Condition) -> str:
        """One test of ``where``, over the columns of the block themselves."""
        text = f"coalesce({self.trimmed(c.column, plain=False)}, '')"
        if c.starts_with is not None:
            return f"starts_with({text}, {literal(c.starts_with)})"
        if c.not_starts_with is not None:
            return f"not starts_with({text}, {literal(c.not_starts_with)})"
        if c.is_empty is not None:
            return f"{text} {'=' if c.is_empty else '<>'} ''"
        listed = c.in_ if c.in_ is not None else c.not_in or ()
        found = one_of(text, listed) if listed else "false"
        return found if c.in_ is not None else f"not {found}"

    def origin(self, col: Column) -> str:
        """Text that the value is read from: of the column or the constant, values mapped, words for nothing null."""
        text = self._origin(col)
        return self.where_it_holds(text, self.mapping.fields[col.name])

    def where_it_holds(self, value: str, rule: FieldRule) -> str:
        """``value`` in rows that the rule is for, null in others."""
        if not rule.when:
            return value
        return self.steps.let(f"case when {self.holds(rule.when)} then {value} end", value)

    def holds(self, conditions: Sequence[Condition]) -> str:
        return " and ".join(self.condition(c) for c in conditions) or "true"

    def _origin(self, col: Column) -> str:
        rule, kind = self.mapping.fields[col.name], col.field.type
        if rule.constant is not None:
            text = literal(rule.constant) if rule.constant.strip() else "null"
            return self.steps.let(f"{text}::varchar")
        if rule.row is not None:
            return PLACE
        if rule.join:
            parts = self.parts(rule)
            return self.steps.let(f"nullif(concat_ws(' | ', {', '.join(parts)}), '')", *parts)
        assert rule.column is not None
        is_person = col.field.personal in ("identifier", "contact")
        plain = kind != "string" or is_person
        given = self.column(rule.column, plain=plain)
        text = self.typed_in(rule.column, plain=plain, is_id=is_id(col))
        if rule.absent:
            words = [as_read(w, plain=plain) for w in rule.absent]
            given = text = self.there(text, words, fold=False)
        if rule.values:
            text = self.steps.let(mapped(given, text, rule, plain=plain), given, text)
        if is_person:
            return text
        if kind == "string":
            return self.there(text, forms.ABSENT_TEXT, fold=False)
        absent = forms.ABSENT_TIMES if kind in ("timestamp", "date") else forms.ABSENT_VALUES
        return self.there(text, absent)

    def parts(self, rule: FieldRule) -> list[str]:
        """The texts that ``join`` puts together, null where absent; as ids, without a spreadsheet's marks."""
        found = []
        for column in rule.join:
            text = self.typed_in(column, plain=False, is_id=True)
            if rule.absent:
                text = self.there(text, rule.absent, fold=False)
            found.append(self.there(text, forms.ABSENT_TEXT, fold=False))
        return found


def is_id(col: Column) -> bool:
    """Ids are text whatever they look like: of people, and of all that is named so."""
    return col.field.type == "string" and (col.name.endswith("_id") or col.field.personal in ("identifier", "contact"))


def as_read(word: str, *, plain: bool) -> str:
    """A word of the mapping as the text of a column is read before it is compared."""
    return word.strip(forms.WHITE).translate(forms.TO_HALF_WIDTH) if plain else word.strip(forms.WHITE)


def mapped(given: str, text: str, rule: FieldRule, *, plain: bool) -> str:
    """What the map makes of a text, written as in the file or as somebody typed it in."""
    whens = " ".join(f"when {literal(as_read(k, plain=plain))} then {literal(v)}" for k, v in rule.values.items())
    rest = "null" if rule.otherwise is None else f"case when {text} <> '' then {literal(rule.otherwise)} end"
    if given != text:
        rest = f"(case coalesce({text}, '') {whens} else {rest} end)"
    return f"(case coalesce({given}, '') {whens} else {rest} end)"


def unmapped(text: str, rule: FieldRule) -> str:
    known = one_of(f"coalesce({text}, '')", ["", *rule.absent, *(k.strip() for k in rule.values)])
    return f"not {known}"


def raw_json(shape: Shape) -> str:
    """SQL of the row as received: a JSON object of texts. Plain columns are put together without looking for escapes."""
    names: list[str] = []
    for name in shape.columns:
        n, unique = 2, name
        while unique in names:
            n, unique = n + 1, f"{name}_{n}"
        names.append(unique)
    pieces, before = [], "{"
    for k, name in enumerate(names):
        key = before + json.dumps(name, ensure_ascii=False) + ":"
        if k in shape.special:
            pieces += [literal(key), f"coalesce(to_json(c{k})::varchar, 'null')"]
            before = ","
        else:
            pieces += [literal(key + '"'), f"c{k}"]
            before = '",'
    pieces.append(literal(before[:-1] + "}"))
    return f"concat({', '.join(pieces)})"
