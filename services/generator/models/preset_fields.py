"""The fields of a preset for the API's documentation."""

from typing import Any

from services.generator.models.preset import Preset


def describe_fields() -> dict[str, Any]:
    """The fields that a request may override, as properties of a JSON schema without references or defaults."""
    schema = Preset.model_json_schema()
    fields = {name: _inline(field, schema["$defs"]) for name, field in schema["properties"].items()}
    del fields["name"]
    return fields


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """`schema` with each reference replaced by what it means; defaults differ from preset to preset and go."""
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].split("/")[-1]], definitions)
    return {key: _inline(value, definitions) for key, value in schema.items() if key not in ("default", "required")}
