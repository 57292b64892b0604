"""The messages of ``docs/PROTOCOL.md``: fields and an example of each."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from stream_mer.event_json import encode, kind_of
from stream_mer.server import messages as wire
from stream_mer.server.messages import CLIENT_TYPES, CLOSE_REASONS, SERVER_TYPES, all_types, components
from tools.docgen.generated_page import GeneratedPage
from tools.examples import examples


def examples_markdown() -> str:
    """Return the part of ``docs/PROTOCOL.md`` that is made from code: fields and an example of each message."""
    parts = []
    types: tuple[type[wire.Message], ...] = (*all_types(), wire.Summary)
    _, definitions = components(types, "#/{name}")
    by_kind = {kind_of(one): one for one in types}
    for kind, example in examples().items():
        one = by_kind[kind]
        parts.append(f"### `{kind}`\n\n{(one.__doc__ or '').strip()} From: {_sender(one)}.\n")
        parts.append(_field_table(definitions[one.__name__]))
        parts.append(f"```json\n{_pretty(encode(example))}\n```\n")
    parts.append("### Objects inside messages\n")
    whole = {one.__name__ for one in types}
    for name, definition in definitions.items():
        if name not in whole:
            parts.append(f"**{_plain_name(name)}**: {definition.get('description', '')}\n")
            parts.append(_field_table(definition))
    closes = "\n".join(f"| {code.value} | {reason} |" for code, reason in CLOSE_REASONS.items())
    parts.append(f"### Close codes\n\n| code | why |\n| --- | --- |\n{closes}\n")
    return "\n".join(parts)


def _sender(one: type[wire.Message]) -> str:
    if one is wire.Summary:
        return "`stream-mer tag`"
    if one in SERVER_TYPES:
        return "both" if one in CLIENT_TYPES else "server"
    return "client"


def _pretty(data: bytes) -> str:
    """Indent JSON, with lists of plain values on one line."""
    text = msgspec.json.format(data, indent=2).decode()
    return re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]", text)


def _plain_name(name: str) -> str:
    return name.removesuffix("Part")


def _field_table(definition: dict[str, Any]) -> str:
    rows = ["| field | kind | |", "| --- | --- | --- |"]
    for name, schema in definition["properties"].items():
        if name != "type":
            rows.append(f"| `{name}` | {_kind_of_field(schema)} | {_description(schema)} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def _description(schema: dict[str, Any]) -> str:
    return str(schema.get("description", "")).replace("|", "\\|")


def _kind_of_field(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _plain_name(str(schema["$ref"]).rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind_of_field(choice) for choice in schema["anyOf"])
    if "allOf" in schema:
        return _kind_of_field(schema["allOf"][0])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        inside = schema.get("items") or schema.get("prefixItems", [{}])[0]
        return f"list of {_kind_of_field(inside)}"
    return str(schema.get("type", "anything"))


PAGE = GeneratedPage(page="docs/PROTOCOL.md", make=examples_markdown)
