"""The text of a definition and changes to it that leave everything else as it is written: comments, order, quotes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from audiences.builder.tree import BLOCKS
from schemas.configuration import parse_yaml
from schemas.errors import ConfigurationError

R = TypeVar("R")
MOST_CHARACTERS = 200_000
"""Of a draft; a file may have more (``MAX_BYTES``)."""
INDENTS = ((2, 4, 2), (2, 2, 0), (4, 6, 4), (4, 4, 2), (4, 4, 0))
"""How people indent: mappings, lists, and the dash within a list."""


def definition_in(text: str, path: Path) -> Any:
    """The text's content; ConfigurationError for what is too long, no plain YAML, or no mapping."""
    if len(text) > MOST_CHARACTERS:
        raise ConfigurationError(
            f"{path}: {len(text):,} characters are more than the {MOST_CHARACTERS:,} that a draft may have; put ids into a list"
        )
    content, _ = parse_yaml(text, path)
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{path}:1: a definition is a mapping that begins with `name:`")
    return content


def edited(text: str, path: Path, change: Callable[[Any], R]) -> tuple[str, R]:
    """The text after a change of its content, and what the change gives.

    ``change`` is made twice: to the plain content, and to the tree that knows how everything is written. The new text
    must read as the former; ConfigurationError where it would not, and nothing is changed.
    """
    plain = definition_in(text, path)
    try:
        reader, tree = _read_as_written(text)
    except YAMLError as e:
        raise ConfigurationError(f"{path}: this can be changed as text only: {e.__class__.__name__}") from None
    read = list(_texts(tree))
    given = change(plain)
    change(tree)
    _style(tree, {id(text) for text in read})
    out = io.StringIO()
    reader.dump(tree, out)
    if not _reads_as(out.getvalue(), path, plain):
        raise ConfigurationError(
            f"{path}: this change cannot be written without touching the rest; make it in the text"
        )
    return out.getvalue(), given


def _reads_as(text: str, path: Path, content: Any) -> bool:
    try:
        return bool(definition_in(text, path) == content)
    except ConfigurationError:
        return False


def definition_text(content: Any) -> str:
    """A new definition, or a part of one, as it would be written by hand."""
    out = io.StringIO()
    tree = _made(content, top=True)
    _reader().dump(tree, out)
    return out.getvalue()


def _reader(mapping: int = 2, sequence: int = 4, offset: int = 2) -> YAML:
    found = YAML(typ="rt")
    found.preserve_quotes = True
    found.width = 10**6
    found.indent(mapping=mapping, sequence=sequence, offset=offset)
    return found


def _read_as_written(text: str) -> tuple[YAML, Any]:
    """The tree, and what writes it as it was written; of an indentation that changes on the way, the house's own."""
    for indents in INDENTS:
        reader, out = _reader(*indents), io.StringIO()
        reader.dump(reader.load(text), out)
        if out.getvalue() == text:
            break
    else:
        reader = _reader()
    return reader, reader.load(text)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    for value in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        yield from _texts(value)


def _style(part: Any, read: set[int]) -> None:
    """Give what a change brought in the style of the house; what was read has one already."""
    items = part.items() if isinstance(part, Mapping) else enumerate(part) if isinstance(part, list) else ()
    for key, value in list(items):
        if isinstance(value, (CommentedMap, CommentedSeq)):
            _style(value, read)
        elif isinstance(value, (Mapping, list)) or (type(value) is str and id(value) not in read):
            part[key] = _made(value, read)


def _made(value: Any, read: set[int] = frozenset(), top: bool = False) -> Any:  # type: ignore[assignment]
    if isinstance(value, (CommentedMap, CommentedSeq)):
        _style(value, read)
        return value
    if isinstance(value, Mapping):
        made = CommentedMap(
            {k: _made(v, read, top and isinstance(v, Mapping) and k in BLOCKS) for k, v in value.items()}
        )
        if not top and not _holds_groups(value):
            made.fa.set_flow_style()
        return made
    if isinstance(value, (list, tuple)):
        listed = CommentedSeq([_made(v, read) for v in value])
        if not any(isinstance(v, Mapping) for v in value):
            listed.fa.set_flow_style()
        return listed
    return _quoted(value) if type(value) is str and id(value) not in read else value


def _holds_groups(value: Mapping[str, Any]) -> bool:
    """Whether a mapping is written over several lines: it is, or has below it, a list of conditions."""
    return any(
        (isinstance(v, list) and any(isinstance(x, Mapping) for x in v))
        or (isinstance(v, Mapping) and _holds_groups(v))
        for v in value.values()
    )


def _quoted(text: str) -> str:
    """Text in quotes where YAML would read something else without (``no``, ``2026-01-01``, ``1:30``)."""
    try:
        plain = yaml.safe_load(text) == text
    except yaml.YAMLError:
        plain = False
    return text if plain else DoubleQuotedScalarString(text)
