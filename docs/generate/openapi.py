"""The page of the HTTP API, rendered from its OpenAPI document."""

from collections.abc import Iterator
from typing import Any

from api.main import create_app
from api.problem_types import TYPES
from api.settings import Settings
from docs.generate.markdown import code, table
from docs.generate.markdown import page as markdown_page

Document = dict[str, Any]


def document() -> Document:
    """The document that a running API serves at /openapi.json. Nothing is connected to."""
    settings = Settings(_env_file=None, database_url="postgresql+asyncpg://nobody@127.0.0.1/nothing")
    return create_app(settings).openapi()


def kind(schema: Document) -> str:
    """A JSON schema in words: its type, format and limits."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(map(kind, choices))
    if values := schema.get("enum"):
        return " or ".join(map(code, values))
    words = [
        f"array of {kind(schema['items'])}"
        if "items" in schema
        else schema.get("format") or schema.get("type", "any")
    ]
    limits = {
        "minLength": "length ≥",
        "maxLength": "length ≤",
        "minimum": "≥",
        "maximum": "≤",
        "minItems": "items ≥",
    }
    limits |= {"maxItems": "items ≤", "pattern": "matches"}
    words += [f"{text} {code(schema[name])}" for name, text in limits.items() if name in schema]
    return ", ".join(words)


def parameters(operation: Document) -> Iterator[str]:
    found = [
        (
            code(one["name"]),
            one["in"],
            "yes" if one.get("required") else "",
            kind(one["schema"]),
            one.get("description", one["schema"].get("description", "")),
        )
        for one in operation.get("parameters", ())
    ]
    if found:
        yield table(("Parameter", "In", "Required", "Type", "Meaning"), found)


def body(content: Document) -> str:
    """The type of a JSON body, linked to its schema."""
    return " or ".join(kind(media["schema"]) for media in content.values() if media.get("schema"))


def responses(operation: Document) -> str:
    found = [
        (code(status), body(response.get("content", {})), response.get("description", ""))
        for status, response in sorted(operation["responses"].items())
    ]
    return table(("Status", "Body", "Meaning"), found)


def operations(api: Document) -> Iterator[str]:
    """A section for each operation."""
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            yield f"### `{method.upper()} {path}`"
            yield operation.get("description") or f"{operation['summary']}."
            if operation.get("security"):
                yield "Takes an API key: `Authorization: Bearer KEY`."
            yield from parameters(operation)
            if request := operation.get("requestBody"):
                yield f"Request body: {body(request['content'])}."
            yield responses(operation)


def schemas(api: Document) -> Iterator[str]:
    """A section for each schema."""
    for name, schema in sorted(api["components"]["schemas"].items()):
        yield f"### {name}"
        if description := schema.get("description"):
            yield description
        required = schema.get("required", ())
        rows = [
            (code(field), kind(value), "yes" if field in required else "", value.get("description", ""))
            for field, value in schema.get("properties", {}).items()
        ]
        yield table(("Field", "Type", "Required", "Meaning"), rows) if rows else kind(schema)


def page(api: Document) -> str:
    return markdown_page(
        "HTTP API",
        "the OpenAPI document of `api`",
        api["info"]["description"],
        "The document itself is [openapi.json](openapi.json). A running API serves it at `/openapi.json`, "
        "and an interactive page at `/docs`. [Call the API](../how-to/call-the-api.md) has examples.",
        "## Operations",
        *operations(api),
        "## Schemas",
        *schemas(api),
        "## Problems",
        "The `code` of an error. A running API shows this table at the path in `type`.",
        table(
            ("Code", "Status", "Meaning", "What to do"),
            [(code(one.code), str(one.status.value), one.meaning, one.action) for one in TYPES.values()],
        ),
    )
