"""A typed Python client out of an OpenAPI document: what a program that uses the API would generate, in a hundred lines."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any

HEAD = '''"""Generated."""
from __future__ import annotations
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict, cast

Sender = Callable[[str, str, Mapping[str, Any], Mapping[str, Any], Any], Any]

'''
CLIENT = """

def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if v is not None}


class Client:
    def __init__(self, send: Sender) -> None:
        self._send = send
"""
METHOD = """
    def {name}(self, {parameters}) -> {answer}:
        query: dict[str, Any] = {query}
        headers: dict[str, Any] = {headers}
        return cast({quoted!r}, self._send({method!r}, f{path!r}, _said(query), _said(headers), {body}))
"""
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def client_text(document: Mapping[str, Any]) -> str:
    """The module: a TypedDict a schema, a class ``Client`` with a method an operation."""
    classes, aliases = [], []
    for name, schema in document["components"]["schemas"].items():
        if schema.get("properties"):
            classes.append(_class(name, schema))
        else:
            aliases.append(f"{_name(name)} = {_type(schema)}\n")
    methods = [_method(m, path, o) for path, operations in document["paths"].items() for m, o in operations.items()]
    return "".join([HEAD, *classes, *aliases, CLIENT, *methods])


def _class(name: str, schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    lines = [f"class {_name(name)}(TypedDict):\n"]
    for field, type_ in schema["properties"].items():
        assert field.isidentifier() and not keyword.iskeyword(field), f"{name}.{field} can be no attribute"
        lines.append(f"    {field}: {_type(type_) if field in required else f'NotRequired[{_type(type_)}]'}\n")
    return "".join([*lines, "\n\n"])


def _method(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = operation.get("parameters", [])
    inside = [p for p in parameters if p["in"] == "path"]
    others = [p for p in parameters if p["in"] != "path"]
    asked = [f"{_name(p['name'])}: {_type(p['schema'])}" for p in inside]
    body = operation.get("requestBody")
    named = [] if body is None else [f"body: {_type(body['content']['application/json']['schema'])}"]
    for p in sorted(others, key=lambda p: not p.get("required")):
        type_ = _type(p["schema"])
        named.append(f"{_name(p['name'])}: {type_}" + ("" if p.get("required") else " | None = None"))
    answers = [a for status, a in operation["responses"].items() if status.startswith("2") and "content" in a]
    content = answers[0]["content"] if answers else {}
    answer = _type(content["application/json"]["schema"]) if "application/json" in content else "Any"
    return METHOD.format(
        name=operation["operationId"],
        parameters=", ".join([*asked, *(["*", *named] if named else [])]) or "*_: None",
        answer=answer,
        quoted=answer,
        method=method.upper(),
        path=re.sub(r"\{([^}]+)\}", lambda m: "{" + _name(m[1]) + "}", path),
        query="{" + ", ".join(f"{p['name']!r}: {_name(p['name'])}" for p in others if p["in"] == "query") + "}",
        headers="{" + ", ".join(f"{p['name']!r}: {_name(p['name'])}" for p in others if p["in"] == "header") + "}",
        body="body" if body is not None else "None",
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _name(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(s) for s in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        return f"list[{_type(schema['items'])}]" if "items" in schema else "list[Any]"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"dict[str, {_type(more)}]" if isinstance(more, dict) else "dict[str, Any]"
    return PLAIN.get(str(kind), "Any")


def _name(said: str) -> str:
    name = re.sub(r"\W", "_", said)
    name = name if name[:1].isupper() and "-" not in said else name.lower()
    return name + "_" if keyword.iskeyword(name) else name
