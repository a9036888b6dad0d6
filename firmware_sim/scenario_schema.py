"""The published JSON schema of a scenario file, from the models that read it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from firmware_sim.draws import Draw
from firmware_sim.plots import PLOTS
from firmware_sim.scenario import Scenario

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """The schema as data. Every plot's parameters are in it, each a value or a draw."""
    schema = Scenario.model_json_schema()
    defs = schema["$defs"]
    draw = TypeAdapter(Draw).json_schema(ref_template="#/$defs/{model}")
    defs.update(draw.pop("$defs"))
    defs["Draw"] = draw
    names = sorted(PLOTS)
    for name in names:
        defs[f"plot_{name}"] = _params(name, defs)
    use = defs["PlotUse"]
    use["properties"]["name"] = {"enum": names}
    use["allOf"] = [
        {
            "if": {"properties": {"name": {"const": name}}},
            "then": {"properties": {"params": {"$ref": f"#/$defs/plot_{name}"}}},
        }
        for name in names
    ]
    plain: dict[str, Any] = _untitled(schema)
    return {"$schema": _DIALECT, "title": "Scenario of firmware_sim", **plain}


def schema_text() -> str:
    """The schema as the file's text."""
    return json.dumps(scenario_schema(), indent=1, ensure_ascii=False) + "\n"


def _params(name: str, defs: dict[str, Any]) -> dict[str, Any]:
    schema = PLOTS[name].model_json_schema(ref_template="#/$defs/{model}")
    defs.update(schema.pop("$defs", {}))
    fields = {
        key: {"anyOf": [value, {"$ref": "#/$defs/Draw"}]}
        for key, value in schema.get("properties", {}).items()
    }
    return {
        "type": "object",
        "description": schema.get("description", ""),
        "properties": fields,
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def _untitled(value: Any) -> Any:
    """The same without the titles, which only repeat the names."""
    if isinstance(value, dict):
        return {
            key: _untitled(part)
            for key, part in value.items()
            if not (key == "title" and isinstance(part, str))
        }
    return [_untitled(part) for part in value] if isinstance(value, list) else value
