"""Every setting of the configuration in words: what the reference page tells, from the models that check it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from brainldm.core.config import Config

LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
PAGE = """# Configuration

Every setting of `config.yaml`. `brainldm config reference` writes this page from the models that check the configuration; do not edit it.
A setting without a default must be set; `demo` is its value in the repository's `config.yaml`, whose comments name sources.
"""


class Setting(NamedTuple):
    """A setting: its dotted name, what it may be, its default (None where it must be set), what it is."""

    name: str
    kind: str
    default: str | None
    text: str


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested sections -> dotted name: value; an empty section is a value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return found


def settings(model: dict[str, Any], definitions: dict[str, Any], above: str = "") -> Iterator[Setting]:
    """The settings of a section's JSON schema, those of its sections included, in their order."""
    for key, field in model["properties"].items():
        own = _resolved(field, definitions)
        if "properties" in own:
            yield from settings(own, definitions, f"{above}{key}.")
            continue
        default = None if key in model.get("required", []) else _shown(field.get("default"))
        yield Setting(f"{above}{key}", _kind(own), default, field.get("description", ""))


def _resolved(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return definitions[field["$ref"].rpartition("/")[2]] if "$ref" in field else field


def _kind(field: dict[str, Any]) -> str:
    """The type and limits of a setting's JSON schema, such as 'integer > 0'."""
    if "anyOf" in field:
        return " or ".join(map(_kind, field["anyOf"]))
    if "enum" in field:
        return ", ".join(map(_shown, field["enum"]))
    if field["type"] == "array":
        each = field.get("items") or field["prefixItems"][0]
        return f"{len(field['prefixItems'])} of {_kind(each)}" if "prefixItems" in field else f"list of {_kind(each)}"
    limits = ", ".join(f"{sign} {field[name]}" for name, sign in LIMITS.items() if name in field)
    return f"{field['type']} {limits}".strip()


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value))}]"
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)


def page(demo: dict[str, Any]) -> str:
    """The reference in Markdown: a table for each section, with the values of the demo's configuration."""
    schema, values = Config.model_json_schema(), flat(demo)
    parts, section = [PAGE], None
    for setting in sorted(settings(schema, schema["$defs"]), key=lambda each: "." in each.name):
        if (own := setting.name.partition(".")[0] if "." in setting.name else "") != section:
            section = own
            about = _resolved(schema["properties"][own], schema["$defs"]).get("description", "") if own else "What all stages share."
            parts.append(
                f"\n## {own or 'Shared'}\n\n{' '.join(about.split())}\n\n| setting | is | default | demo | |\n|---|---|---|---|---|\n"
            )
        cells = (f"`{setting.name}`", setting.kind, setting.default, _demo(setting.name, values), setting.text)
        parts.append("| " + " | ".join((cell or "").replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def _demo(name: str, values: dict[str, Any]) -> str:
    return _shown(values[name]) if name in values else ""
