"""The shop's mappings and tags from their files: read and validated here, so that ``features/`` opens none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from features.sources import Mapping, mistakes, shortfalls
from schemas.configuration import line_of, read_yaml, validated
from schemas.errors import ConfigurationError
from schemas.money import DEFAULT_CURRENCY

if TYPE_CHECKING:
    from features.catalogue import Catalogue


def load_mappings(files: Iterable[Path]) -> list[Mapping]:
    """The mappings of ``sources/*.yaml`` in the order given; ConfigurationError lists every mistake with its line."""
    found, wrong = [], []
    for path in files:
        try:
            found.append(_mapping(path))
        except ConfigurationError as e:
            wrong.append(str(e))
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return found


def _mapping(path: Path) -> Mapping:
    content, node = read_yaml(path)
    if isinstance(content, dict) and "name" in content:
        line = line_of(node, ("name",))
        raise ConfigurationError(f"{path}:{line}: unknown key 'name'; a mapping is named by its file")
    mapping = validated(Mapping, content, node, path).model_copy(update={"name": path.stem})
    lines = [f"{path}:{line_of(node, at)}: {'.'.join(map(str, at))}: {text}" for at, text in mistakes(mapping)]
    # What lacks a field that it needs would be told the same twice.
    at = (path, line_of(node, ("fields",)))
    lines = lines or [f"{at[0]}:{at[1]}: fields: {text}" for level, text in shortfalls(mapping) if level == "fail"]
    if lines:
        raise ConfigurationError("\n".join(lines))
    return mapping


def load_catalogue(paths: Iterable[Path], currency: str = DEFAULT_CURRENCY) -> Catalogue:
    """The catalogue of these files for a lake of this currency; ConfigurationError lists every mistake with file, line, tag and reason."""
    # Expressions bring a SQL parser that is slow to import and that mappings have no need of.
    from features.catalogue import TagSource
    from features.catalogue_check import checked_catalogue
    from features.tags import TagFile

    sources, wrong = [], []
    for path in paths:
        try:
            content, node = read_yaml(path)
            file = validated(TagFile, content, node, path, _tags_named(content))
            sources.append(TagSource(str(path), file, _lines(node)))
        except ConfigurationError as e:
            wrong.append(str(e))
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return checked_catalogue(sources, currency=currency)


def _lines(node: yaml.Node) -> Callable[[tuple[Any, ...]], int]:
    return lambda location: line_of(node, location)


def _tags_named(content: Any) -> Callable[[tuple[Any, ...]], tuple[str, tuple[Any, ...]]]:
    """``tags.3.unit`` says little to who reads the file: the tag's id is put in its place."""

    def whose(location: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        match location:
            case ("tags", int(n), *rest) if isinstance(tag := content["tags"][n], dict) and tag.get("id"):
                return f"tag {tag['id']!r}: ", tuple(rest)
        return "", location

    return whose
