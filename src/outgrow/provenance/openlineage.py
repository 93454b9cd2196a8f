"""A graph of lineage as events of OpenLineage, spec 2-0-2, for catalogues that take them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from outgrow._version import __version__
from outgrow.provenance.graph import DATA, MODEL, PREDICTIONS, RUN, VERSION, Lineage, Node

_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
PRODUCER = f"https://pypi.org/project/outgrow/{__version__}"
_STATES = {"finished": "COMPLETE", "failed": "FAIL", "killed": "ABORT"}


def to_openlineage(graph: Lineage, *, namespace: str = "outgrow") -> list[dict[str, Any]]:
    """A START and, where it has ended, a COMPLETE, FAIL or ABORT event for each run.

    Parameters
    ----------
    graph : all or a part.
    namespace : of the jobs.
    """
    return [
        event
        for node in graph.nodes.values()
        if node.kind == RUN
        for event in _events(graph, node, namespace)
    ]


def _events(graph: Lineage, run: Node, namespace: str) -> list[dict[str, Any]]:
    inputs = [
        _dataset(graph.nodes[name])
        for name, after, _ in graph.edges
        if after == run.id and _is_data(graph, name)
    ]
    outputs = [
        _dataset(graph.nodes[name])
        for before, name, _ in graph.edges
        if before == run.id and graph.nodes[name].kind in (MODEL, VERSION, PREDICTIONS)
    ]
    key = run.id.partition(":")[2]
    name = str(run.facts.get("name") or run.facts.get("kind") or "fit")
    event = {
        "run": {"runId": _uuid(key), "facets": {}},
        "job": {"namespace": namespace, "name": name, "facets": {}},
        "inputs": inputs,
        "producer": PRODUCER,
        "schemaURL": _SPEC,
    }
    began, ended = run.facts.get("began"), run.facts.get("ended")
    events = [{"eventType": "START", "eventTime": _time(began), **event, "outputs": []}]
    state = _STATES.get(str(run.facts.get("state")))
    if state is not None:
        events.append({"eventType": state, "eventTime": _time(ended), **event, "outputs": outputs})
    return events


def _is_data(graph: Lineage, name: str) -> bool:
    return graph.nodes[name].kind in (DATA, MODEL)


def _dataset(node: Node) -> dict[str, Any]:
    uri = str(node.facts.get("uri") or node.facts.get("path") or node.id)
    scheme, mark, rest = uri.partition("://")
    host, _, path = rest.partition("/") if mark else ("", "", uri)
    space = f"{scheme}://{host}" if mark else "file" if uri.startswith("/") else "outgrow"
    return {
        "namespace": space,
        "name": path or uri,
        "facets": _facets(node.facts) if node.kind == DATA else {},
    }


def _facets(facts: Mapping[str, Any]) -> dict[str, Any]:
    version = facts.get("version")
    fields = [{"name": name, "type": kind} for name, kind in (facts.get("schema") or {}).items()]
    return {
        "version": {
            **_facet("DatasetVersionDatasetFacet", "1-0-1"),
            "datasetVersion": str(facts.get("fingerprint") if version is None else version),
        },
        "schema": {**_facet("SchemaDatasetFacet", "1-1-1"), "fields": fields},
    }


def _facet(name: str, version: str) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{_FACETS}/{version}/{name}.json#/$defs/{name}"}


def _uuid(key: str) -> str:
    try:
        return str(uuid.UUID(hex=key))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, key))


def _time(seconds: Any) -> str:
    return datetime.fromtimestamp(float(seconds or 0), UTC).isoformat()
