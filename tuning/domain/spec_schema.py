"""JSON Schemas of the sections that have more than one form, which pydantic can't derive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuning.domain.cluster_names import OLDER_RUNTIME_PATTERN
from tuning.domain.metrics import LATENCY_FAMILIES, LATENCY_STATISTICS, METRICS
from tuning.domain.objectives import NAMED_OBJECTIVES
from tuning.domain.spec_errors import Section
from tuning.domain.spec_objective import MetricObjective
from tuning.domain.spec_parameters import ChoiceForm, FloatRangeForm, IntRangeForm
from tuning.domain.spec_slo import (
    OLDER_FAMILY,
    OLDER_STATISTICS,
    STEEPNESS,
    LimitForm,
    OlderLimitForm,
    SteepnessForm,
)

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _inline(form: type[Section]) -> Schema:
    """A form's schema with the few definitions it refers to put in their places."""
    schema = form.model_json_schema()
    definitions = schema.pop("$defs", {})
    for name, field in schema["properties"].items():
        if "$ref" in field:
            definition = definitions[field.pop("$ref").rpartition("/")[2]]
            schema["properties"][name] = definition | field
    return schema


_LIMIT = {"$ref": "#/$defs/Limit"}
_OLDER_LIMIT = {"$ref": "#/$defs/OlderLimit"}
_VALUE = {"$ref": "#/$defs/FlagValue"}

_DEFINITIONS: Mapping[str, Schema] = {
    "FlagValue": {
        "type": ["boolean", "number", "string"],
        "description": "What a flag is set to. true switches it on, false leaves it out.",
    },
    "IntRange": _inline(IntRangeForm),
    "FloatRange": _inline(FloatRangeForm),
    "ChoiceForm": _inline(ChoiceForm) | {"deprecated": True},
    "Limit": {
        "anyOf": [
            {
                "type": "number",
                "minimum": 0,
                "description": "The limit, on the side on which the metric gets worse.",
            },
            _inline(LimitForm),
        ]
    },
    "OlderLimit": _inline(OlderLimitForm) | {"deprecated": True},
}

_PARAMETERS: Schema = {
    "additionalProperties": {
        "anyOf": [
            _VALUE,
            {
                "type": "array",
                "items": _VALUE,
                "minItems": 1,
                "description": "The values to try, in this order.",
            },
            {"$ref": "#/$defs/IntRange"},
            {"$ref": "#/$defs/FloatRange"},
            {"$ref": "#/$defs/ChoiceForm"},
        ]
    },
}

OBJECTIVE_SCHEMA: Schema = {
    "anyOf": [{"type": "string", "enum": list(NAMED_OBJECTIVES)}, _inline(MetricObjective)]
}
"""Both forms of `optimization.objective`."""


def completed(schema: Schema) -> Schema:
    """Pydantic's schema of a task file, with the forms put in that pydantic knows nothing of."""
    properties, definitions = schema["properties"], schema["$defs"]
    return schema | {
        "$schema": DIALECT,
        "title": "Task file of the LLM Inference Autotuner",
        "properties": properties
        | {
            "base_runtime": _with_older_runtime(properties["base_runtime"]),
            "parameters": properties["parameters"] | _PARAMETERS,
            "slo": properties["slo"] | _slo_schema(),
        },
        "$defs": definitions
        | _DEFINITIONS
        | {"ModelSpec": _with_older_name(definitions["ModelSpec"])},
    }


def _slo_schema() -> Schema:
    metrics = {
        name: _LIMIT | {"description": _sentence(metric.description, metric.unit or "share")}
        for name, metric in METRICS.items()
    }
    families = {
        name: {
            "description": f"Limits on the {meaning}, by statistic.",
            "anyOf": [_limits(LATENCY_STATISTICS, _LIMIT), _OLDER_LIMIT],
        }
        for name, meaning in LATENCY_FAMILIES.items()
    }
    older_family = _limits(OLDER_STATISTICS, _OLDER_LIMIT) | {
        "description": "Older form of limits on e2e_latency.",
        "deprecated": True,
    }
    steepness = _inline(SteepnessForm)["properties"][STEEPNESS]
    others = {OLDER_FAMILY: older_family, STEEPNESS: steepness}
    return {
        "type": ["object", "null"],
        "properties": metrics | families | others,
        "additionalProperties": False,
    }


def _limits(statistics: Iterable[str], limit: Schema) -> Schema:
    return {
        "type": "object",
        "properties": dict.fromkeys(statistics, limit),
        "additionalProperties": False,
    }


def _sentence(description: str, unit: str) -> str:
    return f"{description[0].upper()}{description[1:]} ({unit})."


def _with_older_name(model: Schema) -> Schema:
    older_name = {
        "type": "string",
        "description": "Older name of `id_or_path`.",
        "deprecated": True,
    }
    return {key: item for key, item in model.items() if key != "required"} | {
        "properties": model["properties"] | {"name": older_name},
        "anyOf": [{"required": ["id_or_path"]}, {"required": ["name"]}],
    }


def _with_older_runtime(engine: Schema) -> Schema:
    older_runtime = {
        "type": "string",
        "pattern": OLDER_RUNTIME_PATTERN,
        "description": "Older form: the name of a serving runtime, now `ome.runtime`.",
        "deprecated": True,
    }
    others = {key: item for key, item in engine.items() if key != "$ref"}
    return others | {"anyOf": [{"$ref": engine["$ref"]}, older_runtime]}
