"""One condition as the fields of a form, and back: what a form does not show of it stays as it was.

A field's text that is as it was sent keeps its value, whatever its type; only what somebody changed is read anew, as the
tag or the measure has it. Money is shown and read in the currency's main unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from audiences.builder.tree import GROUPS, condition_kind
from audiences.conditions import COMPARISONS
from audiences.operands import NUMBERS, Attribute
from schemas.contracts import Type
from schemas.measures import COMPARED, MEASURES, Where, value_type
from schemas.money import main_units, minor_units

Fields = Mapping[str, Sequence[str]]
"""What a form sends: of every name one or several texts."""
Found = dict[str, list[str]]
WHERE_NAMES = Where().lists
WHERE_SIGNS = ("on_promotion", "peer")
DAYS = {"within": "within_days", "ago": "days_ago", "on": "on_days"}
LISTED = ("is", "is_not")


@dataclass(frozen=True)
class Form:
    """What texts of forms mean in a project: its tags, and the currency of its money."""

    tags: Mapping[str, Attribute]
    currency: str

    def fields_of(self, condition: Mapping[str, Any]) -> Found | None:
        """The fields of a condition; None for a group, and for what a form cannot show: that is shown as text."""
        kind = condition_kind(condition)
        if kind in (*GROUPS, "not", ""):
            return None
        try:
            found = self._fields(kind, condition)
            same = self.condition_of(kind, found, condition) == condition
        except (TypeError, ValueError, ArithmeticError, AttributeError, KeyError, IndexError):
            return None
        return found if same else None

    def condition_of(self, kind: str, fields: Fields, was: Mapping[str, Any]) -> dict[str, Any]:
        """The condition that the fields say; ``was`` is what stands there now."""
        made = dict(was)
        read = getattr(self, f"_read_{kind}", None)
        if read is None:
            _keep(made, was, kind, _one(fields, kind))
        else:
            read(made, fields, was)
        return made

    def _fields(self, kind: str, c: Mapping[str, Any]) -> Found:
        show = getattr(self, f"_show_{kind}", None)
        if show is not None:
            return dict(show(c))
        return {kind: [_text(c[kind])]}

    # --- tags and what is compared ---

    def _show_tag(self, c: Mapping[str, Any]) -> Found:
        return {"tag": [c["tag"]], **self._show_comparisons(c, *self.typed(c))}

    def _read_tag(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        _keep(made, was, "tag", _one(fields, "tag"))
        self._read_comparisons(made, fields, was)
        if not any(k in made for k in COMPARISONS):
            made["known"] = True

    def typed(self, c: Mapping[str, Any]) -> tuple[Type, str | None]:
        """Type and unit of what a condition compares."""
        if "tag" in c:
            known = self.tags.get(str(c["tag"]))
            return (known.type, known.unit) if known is not None else ("string", None)
        measure = str(c.get("measure", "rows"))
        if measure not in COMPARED:
            return "int64", None
        agg = str(c.get("agg") or (*COMPARED[measure], "count")[0])
        return value_type(measure, agg), "minor" if MEASURES[measure].unit == "minor" else None

    def _show_comparisons(self, c: Mapping[str, Any], type_: Type, unit: str | None) -> Found:
        found: Found = {}
        for i, key in enumerate(k for k in c if k in COMPARISONS):
            values = c[key] if isinstance(c[key], list) else [c[key]]
            found[f"op.{i}"] = [key]
            found[f"value.{i}"] = [_text(v, unit, self.currency) for v in values]
        return found

    def _read_comparisons(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        type_, unit = self.typed(made)
        said: dict[str, Any] = {}
        guessed = False
        for name in fields:
            if not name.startswith("op."):
                continue
            key = _one(fields, name)
            texts = [t for t in fields.get(f"value.{name[3:]}", ()) if t.strip() != ""]
            if not key and texts:
                # A value typed before anybody said how it compares.
                key, guessed = "is" if type_ in ("string", "bool") else "at_least", True
            if key not in COMPARISONS:
                continue
            said[key] = self._operands(key, texts, was, type_, unit)
        if guessed and said.get("known") is True:
            # What is compared is known; a new condition only began with it.
            del said["known"]
        for key in COMPARISONS:
            made.pop(key, None)
        for key, value in said.items():
            made[key] = was[key] if key in was and was[key] == value else value

    def _operands(self, key: str, texts: list[str], was: Mapping[str, Any], type_: Type, unit: str | None) -> Any:
        """What a comparison is held against. Without a value it is one to begin with, or one that the language asks for."""
        if key == "known":
            return "false" not in texts
        if not texts and key in LISTED:
            return []
        if not texts or (key == "between" and len(texts) < 2):
            first = texts[0] if texts else "1"
            texts = [first, first] if type_ in NUMBERS else ["", ""]
        if key not in (*LISTED, "between"):
            texts = texts[:1]
        old = was.get(key)
        same = bool(condition_kind(was)) and self.typed(was) == (type_, unit)
        kept = {_text(v, unit, self.currency): v for v in _listed(old)} if same else {}
        read = [kept[t] if t in kept else self.value_of(t, type_, unit) for t in texts]
        listed = key == "between" or (key in LISTED and (len(read) > 1 or isinstance(old, list)))
        return read if listed else read[0]

    def value_of(self, text: str, type_: Type, unit: str | None) -> Any:
        """A text as the type has it; as it is where it cannot be, so that the language can say what is wrong with it."""
        text = text.strip()
        try:
            if type_ == "bool":
                return {"true": True, "false": False}.get(text.lower(), text)
            if type_ in NUMBERS:
                plain = text.replace(",", "")
                if unit == "minor":
                    return minor_units(plain, self.currency)
                number = Decimal(plain)
                return int(plain) if plain.lstrip("+-").isdecimal() else float(number) if number.is_finite() else text
            if type_ == "date":
                return date.fromisoformat(text)
        except (ValueError, ArithmeticError):
            return text
        return text

    # --- behaviour ---

    def _show_event(self, c: Mapping[str, Any]) -> Found:
        return {
            "did": [_text(c.get("did", True))],
            "measure": [c.get("measure", "rows")],
            "agg": [c.get("agg") or ""],
            **self._show_rows(c, "", days=True),
            **self._show_comparisons(c, *self.typed(c)),
        }

    def _read_event(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        self._read_rows(made, fields, was, "", days=True)
        _keep(made, was, "did", _one(fields, "did") != "false", True)
        _keep(made, was, "measure", _one(fields, "measure") or "rows", "rows")
        _keep(made, was, "agg", _one(fields, "agg") or None, None)
        self._read_comparisons(made, fields, was)

    def _show_rows(self, c: Mapping[str, Any], before: str, *, days: bool) -> Found:
        found: Found = {f"{before}event": _texts(c.get("event", []))}
        if days:
            kind = next((k for k, key in DAYS.items() if c.get(key) is not None), "ever")
            said = c.get(DAYS.get(kind, ""))
            pair = said if isinstance(said, list) else [said]
            found[f"{before}days"] = [kind]
            for name, value in zip(("from", "to"), pair, strict=False):
                found[f"{before}days.{name}"] = [] if value is None else [_text(value)]
        where = c.get("where") or {}
        for key in WHERE_NAMES:
            found[f"{before}where.{key}"] = _texts(where.get(key, []))
        for key in WHERE_SIGNS:
            found[f"{before}where.{key}"] = [_text(where[key])] if key in where else [""]
        found[f"{before}view"] = [c.get("view", "behaviour")]
        return found

    def _read_rows(
        self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any], before: str, *, days: bool
    ) -> None:
        _keep(made, was, "event", _list(fields, f"{before}event", was.get("event")))
        if days:
            self._read_days(made, fields, was, before)
        old = was.get("where") or {}
        where = dict(old)
        for key in WHERE_NAMES:
            _keep(where, old, key, _list(fields, f"{before}where.{key}", old.get(key)), [])
        for key in WHERE_SIGNS:
            text = _one(fields, f"{before}where.{key}")
            _keep(where, old, key, None if text == "" else text == "true", None)
        _keep(made, was, "where", where, {})
        _keep(made, was, "view", _one(fields, f"{before}view") or "behaviour", "behaviour")

    def _read_days(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any], before: str) -> None:
        kind = _one(fields, f"{before}days")
        texts = [_one(fields, f"{before}days.{name}") for name in ("from", "to")]
        said: Any = None
        if kind == "within":
            said = self.value_of(texts[0], "int32", None) if texts[0] else 30
        elif kind in DAYS:
            said = [self.value_of(t, "int32" if kind == "ago" else "date", None) for t in texts]
            if kind == "ago":
                said = [n if n != "" else d for n, d in zip(said, (0, 30), strict=True)]
        for name, key in DAYS.items():
            _keep(made, was, key, _as_was(said, was.get(key)) if name == kind else None, None)

    def _show_sequence(self, c: Mapping[str, Any]) -> Found:
        s = c["sequence"]
        follows = "without" if "without" in s else "then"
        return {
            **self._show_rows(s["first"], "first.", days=True),
            "follows": [follows],
            **self._show_rows(s[follows], "next.", days=False),
            "within_days": [_text(s["within_days"])],
        }

    def _read_sequence(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        old = dict(was.get("sequence") or {})
        new = dict(old)
        new["first"] = dict(old.get("first") or {})
        self._read_rows(new["first"], fields, old.get("first") or {}, "first.", days=True)
        follows = "without" if _one(fields, "follows") == "without" else "then"
        next_ = old.get("then") or old.get("without") or {}
        for key in ("then", "without"):
            new.pop(key, None)
        new[follows] = dict(next_)
        self._read_rows(new[follows], fields, next_, "next.", days=False)
        _number(self, new, old, fields, "within_days")
        made["sequence"] = new

    # --- whom others know ---

    def _show_audience(self, c: Mapping[str, Any]) -> Found:
        return {"audience": [c["audience"]], "as_of": [_text(c["as_of"])] if c.get("as_of") else [""]}

    def _read_audience(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        _keep(made, was, "audience", _one(fields, "audience"))
        text = _one(fields, "as_of")
        _keep(made, was, "as_of", _as_was(self.value_of(text, "date", None) if text else None, was.get("as_of")), None)

    def _show_users(self, c: Mapping[str, Any]) -> Found:
        return {"users": ["\n".join(_texts(c["users"]))]}

    def _read_users(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        named = [line.strip() for line in _one(fields, "users").splitlines() if line.strip()]
        _keep(made, was, "users", named)

    def _show_changed(self, c: Mapping[str, Any]) -> Found:
        changed = c["changed"]
        ends = {k: [_text(v) for v in _listed(changed.get(k))] for k in ("from", "to")}
        within = changed.get("within_days")
        return {"tag": [changed["tag"]], **ends, "within_days": [""] if within is None else [_text(within)]}

    def _read_changed(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        old = was.get("changed") or {}
        new = dict(old)
        _keep(new, old, "tag", _one(fields, "tag"))
        known = self.tags.get(new["tag"])
        type_: Type = "string" if known is None or known.bands else known.type
        for key in ("from", "to"):
            kept = {_text(v): v for v in _listed(old.get(key))}
            read = [kept[t] if t in kept else self._changed(t, type_) for t in fields.get(key, ()) if t]
            _keep(new, old, key, read, [])
        _number(self, new, old, fields, "within_days")
        made["changed"] = new

    def _changed(self, text: str, type_: Type) -> Any:
        return text if text == "unknown" else self.value_of(text, type_, None)

    def _show_ids(self, c: Mapping[str, Any]) -> Found:
        return {k: [_text(c["ids"].get(k, ""))] for k in ("file", "kind", "column")}

    def _read_ids(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        made["ids"] = _texts_kept(fields, was.get("ids") or {}, ("file", "kind"), ("column",))

    def _show_share_tree(self, c: Mapping[str, Any]) -> Found:
        part = c["share_tree"]
        return {"below": [part["below"]], "levels": [_text(part["levels"])] if part.get("levels") else [""]}

    def _read_share_tree(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        old = was.get("share_tree") or {}
        made["share_tree"] = _texts_kept(fields, old, ("below",), ())
        _number(self, made["share_tree"], old, fields, "levels")

    def _show_top(self, c: Mapping[str, Any]) -> Found:
        top = c["top"]
        return {k: [_text(top.get(k, ""))] for k in ("by", "within", "people", "share")} | {
            "order": [top.get("order", "highest")]
        }

    def _read_top(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        old = was.get("top") or {}
        made["top"] = self._chosen(fields, old, _texts_kept(fields, old, ("by",), ("within",)))
        _keep(made["top"], old, "order", _one(fields, "order") or "highest", "highest")

    def _show_sample(self, c: Mapping[str, Any]) -> Found:
        return {k: [_text(c["sample"].get(k, ""))] for k in ("seed", "people", "share")}

    def _read_sample(self, made: dict[str, Any], fields: Fields, was: Mapping[str, Any]) -> None:
        old = was.get("sample") or {}
        made["sample"] = self._chosen(fields, old, _texts_kept(fields, old, ("seed",), ()))

    def _chosen(self, fields: Fields, old: Mapping[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        _number(self, new, old, fields, "people")
        text = _one(fields, "share")
        _keep(
            new, old, "share", _as_was(self.value_of(text, "float64", None) if text else None, old.get("share")), None
        )
        return new


def _text(value: Any, unit: str | None = None, currency: str = "") -> str:
    """A value as a field shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    if unit == "minor" and isinstance(value, (int, float)):
        return str(main_units(value, currency))
    return str(value)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _texts(value: Any) -> list[str]:
    return [_text(v) for v in _listed(value)]


def _one(fields: Fields, name: str) -> str:
    """The text of a field, empty where it was not sent."""
    return next(iter(fields.get(name, ())), "").strip()


def _as_was(new: Any, old: Any) -> Any:
    """``old`` where it reads the same."""
    return old if old is not None and new is not None and _texts(old) == _texts(new) else new


def _list(fields: Fields, name: str, old: Any) -> Any:
    texts = list(dict.fromkeys(t.strip() for t in fields.get(name, ()) if t.strip()))
    if _texts(old) == texts and old is not None:
        return old
    return texts[0] if len(texts) == 1 and not isinstance(old, list) else texts


def _keep(made: dict[str, Any], was: Mapping[str, Any], key: str, value: Any, unsaid: Any = ...) -> None:
    """Say ``value``; one that needs no saying stays unsaid, save where it was said."""
    if key in was and (was[key] == value or (unsaid is not ... and was[key] is None and value == unsaid)):
        made[key] = was[key]
    elif unsaid is not ... and value == unsaid:
        made.pop(key, None)
    else:
        made[key] = value


def _texts_kept(fields: Fields, old: Mapping[str, Any], must: Sequence[str], may: Sequence[str]) -> dict[str, Any]:
    new = dict(old)
    for key in (*must, *may):
        text = _one(fields, key)
        value = old[key] if key in old and _text(old[key]) == text else text
        if key in must or value:
            new[key] = value
        else:
            new.pop(key, None)
    return new


def _number(form: Form, new: dict[str, Any], old: Mapping[str, Any], fields: Fields, key: str) -> None:
    text = _one(fields, key)
    _keep(new, old, key, _as_was(form.value_of(text, "int64", None) if text else None, old.get(key)), None)
