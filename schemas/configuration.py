"""Reading the project folder's YAML: frozen models, and errors with file, line, key and the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import ConfigurationError, NotThereError


class Settings(BaseModel):
    """Base of every configuration model: cannot be changed after loading, refuses keys it does not know and numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class Words(Settings):
    """One thing said in Chinese and in English."""

    zh: str
    en: str


M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
MAX_BYTES = 2_000_000
MAX_NESTING = 100
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def _refuse_duplicates(node: yaml.Node, path: Path) -> None:
    stack = [node]
    while stack:
        n = stack.pop()
        if isinstance(n, yaml.SequenceNode):
            stack.extend(n.value)
        if not isinstance(n, yaml.MappingNode):
            continue
        seen: dict[str, int] = {}
        for key, value in n.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigurationError(
                    f"{path}:{line}: key {key.value!r} stands twice (first on line {seen[key.value]}); keep one"
                )
            seen[key.value] = line
            stack.append(value)


def read_yaml(path: Path) -> tuple[Any, yaml.Node]:
    """The file's content and its node tree (for line numbers). Only plain YAML: no tags, no aliases, one document."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: the file is not there") from None
    except UnicodeDecodeError as e:
        raise ConfigurationError(f"{path}: not UTF-8 at byte {e.start}; save the file as UTF-8") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> tuple[Any, yaml.Node]:
    """``read_yaml`` of what may one day be the file's text."""
    if len(text) > MAX_BYTES:
        raise ConfigurationError(f"{path}: {len(text):,} characters is more than a configuration file may have")
    try:
        _refuse_aliases_and_depth(text, path)
        loader = yaml.CSafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise ConfigurationError(f"{path}: the file is empty")
        _refuse_duplicates(node, path)
        return loader.construct_document(node), node
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        said = text.splitlines()[mark.line][mark.column :] if mark and mark.line < len(text.splitlines()) else ""
        if said.startswith("\t"):
            raise ConfigurationError(f"{path}{line}: tabs are not allowed for indenting; use spaces") from None
        raise ConfigurationError(f"{path}{line}: not valid YAML: {getattr(e, 'problem', None) or e}") from None


def _refuse_aliases_and_depth(text: str, path: Path) -> None:
    """Before anything is built from the text: the parser itself recurses, and aliases multiply."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        if isinstance(token, yaml.AliasToken):
            line = token.start_mark.line + 1
            raise ConfigurationError(f"{path}:{line}: aliases (*name) are not allowed; write the value out")
        if isinstance(token, _OPENING):
            depth += 1
        elif isinstance(token, _CLOSING):
            depth -= 1
        if depth > MAX_NESTING:
            raise ConfigurationError(f"{path}:{token.start_mark.line + 1}: nested more than {MAX_NESTING} deep")


def line_of(node: yaml.Node, location: tuple[Any, ...]) -> int:
    """The line on which the key or item at ``location`` stands, or of its nearest parent; 1 is the first."""
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                continue
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def nearest(word: str, known: list[str]) -> str:
    """`` Did you mean 'x'?`` or the list of what is known."""
    close = difflib.get_close_matches(word, known, 1, 0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known are " + ", ".join(sorted(known)[:30]) if known else ""


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _models_in(a)]


def _is_choice(part: Any) -> bool:
    """Whether a part of a location names the chosen member of a union, ``(ClassName)``, and no key of the file."""
    return isinstance(part, str) and part.startswith("(")


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    models = [model]
    for part in location:
        if not isinstance(part, str):
            continue
        if _is_choice(part):
            models = [m for m in models if f"({m.__name__})" == part] or models
            continue
        deeper = [
            found
            for m in models
            for name, info in m.model_fields.items()
            if part in (name, info.alias)
            for found in _models_in(info.annotation)
        ]
        models = deeper or models
    return [info.alias or name for m in models for name, info in m.model_fields.items()]


Location = tuple[Any, ...]
Whose = Callable[[Location], tuple[str, Location]]


def _nobodys(location: Location) -> tuple[str, Location]:
    return "", location


def validated(model: type[M], content: Any, node: yaml.Node, path: Path, whose: Whose = _nobodys) -> M:
    """``content`` as ``model``; ConfigurationError lists every mistake with its line.

    ``whose`` parts a location into words for the entry that it lies in and the location within.
    """
    try:
        return model.model_validate(content)
    except ValidationError as e:
        lines = []
        for problem in e.errors():
            entry, location = whose(problem["loc"])
            where = f"{path}:{line_of(node, problem['loc'])}: {entry}"
            dotted = ".".join(str(p) for p in location if not _is_choice(p))
            if problem["type"] == "extra_forbidden":
                known = _known_keys(model, problem["loc"][:-1])
                lines.append(f"{where}unknown key {dotted!r}; {nearest(str(problem['loc'][-1]), known)}")
            elif problem["type"] == "missing":
                lines.append(f"{where}{dotted!r} is missing")
            else:
                message = problem["msg"].removeprefix("Value error, ")
                said = f"{dotted}: {message}" if dotted else message
                whole = isinstance(problem["input"], dict)
                lines.append(f"{where}{said}" + ("" if whole else f" (given: {problem['input']!r:.80})"))
        raise ConfigurationError("\n".join(lines)) from None


def read_settings(path: Path, model: type[M]) -> M:
    """One YAML file as one frozen model."""
    content, node = read_yaml(path)
    return validated(model, content, node, path)


def each_read(paths: Iterable[Path], read: Callable[[Path], T]) -> dict[str, T]:
    """What each file says, by its name without ending; the mistakes of all files are reported together."""
    found: dict[str, T] = {}
    problems: list[str] = []
    for path in paths:
        try:
            found[path.stem] = read(path)
        except ConfigurationError as e:
            problems.append(str(e))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def one_named(found: Mapping[str, T], kind: str, name: str, remedy: str = "") -> T:
    """That of ``found`` which is called so; NotThereError suggests the nearest ``kind``, and ends with the ``remedy``."""
    try:
        return found[name]
    except KeyError:
        there = nearest(name, list(found)) or f"none is defined yet ({kind}s/*.yaml)"
        raise NotThereError(f"no {kind} {name!r}; {there}{remedy}") from None
