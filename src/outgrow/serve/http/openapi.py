"""The description of the service for programs (OpenAPI 3.1) and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from outgrow._version import __version__
from outgrow.serve.http.rows import msgspec
from outgrow.serve.http.scoring import LoadedVersion

_WRONG = {
    "400": "A header is wrong.",
    "401": "The bearer token is missing or wrong.",
    "404": "No such model.",
    "413": "The body is too large.",
    "415": "The media type is not known here.",
    "422": "The rows do not fit the model: the difference in columns, or the reason for each bad row.",
    "429": "Too many rows wait: try again after the seconds that Retry-After says.",
    "503": "The server is starting or stopping.",
    "504": "The deadline passed.",
}


def openapi(models: Mapping[str, LoadedVersion]) -> dict[str, Any]:
    """The description of a server with these models; the first is the default one."""
    schemas: dict[str, Any] = {"Error": _ERROR, "Predictions": _PREDICTIONS, "Inference": _INFERENCE}
    paths: dict[str, Any] = {}
    for index, (name, served) in enumerate(models.items()):
        schemas[f"Row_{name}"] = row_schema(served)
        plain, mlflow = _plain(name, served), _mlflow(name, served)
        if index == 0:
            paths |= {"/predict": _post("predict", plain), "/invocations": _post("invocations", mlflow)}
        paths[f"/models/{name}/predict"] = _post(f"predict_{name}", plain)
        paths[f"/models/{name}/invocations"] = _post(f"invocations_{name}", mlflow)
        paths[f"/v2/models/{name}/infer"] = _post(f"infer_{name}", _infer(served))
        paths[f"/v2/models/{name}"] = _get(f"metadata_{name}", "The model's inputs and outputs.")
        paths[f"/v2/models/{name}/ready"] = _get(f"ready_{name}", "Whether the model is ready.")
    for path, (operation, summary) in _PAGES.items():
        paths[path] = _get(operation, summary)
    return {
        "openapi": "3.1.0",
        "info": {"title": "outgrow", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def docs_page(models: Mapping[str, LoadedVersion]) -> str:
    """A page that shows each model, its columns, and a request to copy."""
    template = Template(Path(__file__).with_name("docs.html").read_text(encoding="utf-8"))
    sections = "\n".join(_section(name, served) for name, served in models.items())
    return template.substitute(sections=sections or "<p>Models are loaded from a folder; see /models.</p>")


def row_schema(served: LoadedVersion) -> dict[str, Any]:
    """A row of a model as a JSON schema."""
    columns = served.reader.columns
    return {
        "type": "object",
        "required": list(columns),
        "properties": {name: kind.form.json for name, kind in columns.items()},
        "example": example_row(served),
    }


def example_row(served: LoadedVersion) -> dict[str, Any]:
    """The row that was kept with the model, or a made-up one."""
    kept = getattr(served.version.predictor.fitted, "input_example_", {})
    return {name: kept.get(name, kind.form.example) for name, kind in served.reader.columns.items()}


def _plain(name: str, served: LoadedVersion) -> dict[str, Any]:
    rows = {"type": "array", "items": {"$ref": f"#/components/schemas/Row_{name}"}}
    chances = {"type": "boolean", "default": False}
    schema = {"type": "object", "required": ["rows"], "properties": {"rows": rows, "probabilities": chances}}
    return {
        "summary": f"Predictions of {name}.",
        "requestBody": _json({**schema, "example": {"rows": [example_row(served)]}}),
        "responses": _responses("#/components/schemas/Predictions"),
    }


def _mlflow(name: str, served: LoadedVersion) -> dict[str, Any]:
    records = {"type": "array", "items": {"$ref": f"#/components/schemas/Row_{name}"}}
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "data": {"type": "array", "items": {"type": "array"}},
        },
    }
    forms = {
        "dataframe_records": records,
        "dataframe_split": split,
        "instances": records,
        "inputs": {"type": ["array", "object"]},
    }
    schema = {
        "oneOf": [
            {"type": "object", "required": [form], "properties": {form: kind, "params": _PARAMS}}
            for form, kind in forms.items()
        ],
        "example": {"dataframe_records": [example_row(served)]},
    }
    return {
        "summary": f"Predictions of {name}, as MLflow's servers give them.",
        "requestBody": _json(schema),
        "responses": _responses("#/components/schemas/Predictions"),
    }


def _infer(served: LoadedVersion) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
    }
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": served.reader.columns[name].form.tensor,
            "data": [value],
        }
        for name, value in example_row(served).items()
    ]
    schema = {
        "type": "object",
        "required": ["inputs"],
        "example": {"inputs": inputs},
        "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "minItems": 1, "items": tensor}},
    }
    return {
        "summary": "Predictions by the Open Inference Protocol, version 2.",
        "requestBody": _json(schema),
        "responses": _responses("#/components/schemas/Inference"),
    }


def _post(operation: str, described: dict[str, Any]) -> dict[str, Any]:
    return {"post": {"operationId": operation, **described}}


def _get(operation: str, summary: str) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "responses": {
                "200": {"description": summary},
                "404": {"description": _WRONG["404"]},
                "503": {"description": _WRONG["503"]},
            },
        }
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _responses(reference: str) -> dict[str, Any]:
    good = {
        "description": "The predictions.",
        "content": {"application/json": {"schema": {"$ref": reference}}},
    }
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"200": good} | {
        status: {"description": description, "content": error} for status, description in _WRONG.items()
    }


def _section(name: str, served: LoadedVersion) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(column)}</code></td><td>{escape(kind)}</td></tr>"
        for column, kind in served.reader.columns.items()
    )
    example = msgspec.json.format(
        json.dumps({"rows": [example_row(served)], "probabilities": True}), indent=2
    )
    kind = type(served.version.predictor.model).__name__
    version = escape(served.version.name)
    return (
        f"<section><h2>{escape(name)}</h2><p>{escape(kind)}, version <code>{version}</code></p>"
        f'<div class="pair"><div><h3>POST /models/{escape(name)}/predict</h3>'
        f"<textarea spellcheck='false'>{escape(example)}</textarea>"
        f"<button data-path='/models/{escape(name)}/predict'>Send</button><pre class='answer'></pre></div>"
        f"<div><h3>Columns</h3><table>{rows}</table></div></div></section>"
    )


_ABOUT = (
    "Predictions of saved models. Rows are objects of column names and values; null is a missing value. "
    "Large requests may be Arrow IPC streams (application/vnd.apache.arrow.stream)."
)
_PARAMS = {"type": "object", "properties": {"method": {"enum": ["predict", "predict_proba"]}}}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "columns": {"type": "object"}, "rows": {"type": "object"}},
}
_PREDICTIONS = {
    "type": "object",
    "required": ["predictions"],
    "properties": {
        "version": {"type": "string"},
        "predictions": {"type": "array"},
        "classes": {"type": "array"},
        "probabilities": {"type": "array"},
    },
}
_INFERENCE = {
    "type": "object",
    "required": ["model_name", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array"},
    },
}
_PAGES = {
    "/models": ("models", "The models there are."),
    "/health": ("health", "Whether the server is ready."),
    "/ping": ("ping", "Whether the server is ready, as MLflow's servers say it."),
    "/version": ("version", "The version of outgrow."),
    "/metrics": ("metrics", "Numbers for Prometheus."),
    "/v2": ("server", "The server, as the Open Inference Protocol describes it."),
    "/v2/health/live": ("live", "Whether the server lives."),
    "/v2/health/ready": ("ready", "Whether the server is ready."),
}
