"""A dashboard for Grafana, and the files with which Prometheus and Grafana of Compose begin."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from outgrow.deploy.kubernetes import rule_groups
from outgrow.deploy.plan import PORT, Plan
from outgrow.deploy.queries import Panel, panels
from outgrow.deploy.texts import as_json, as_yaml

_SCHEMA = 39
"""Of Grafana's dashboards, since 10.2."""
_WIDE, _HIGH, _ACROSS = 8, 7, 24
_SOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard(plan: Plan) -> dict[str, Any]:
    """The pictures under their headings; the source of data is chosen on the page."""
    made: list[dict[str, Any]] = []
    top = 0
    for heading, members in groupby(panels(plan), key=lambda panel: panel.row):
        where = {"x": 0, "y": top, "w": _ACROSS, "h": 1}
        row = {"type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": where}
        made.append({"id": len(made) + 1, **row})
        top += 1
        across = _ACROSS // _WIDE
        pictures = list(members)
        for number, panel in enumerate(pictures):
            corner = {"x": number % across * _WIDE, "y": top + number // across * _HIGH}
            made.append(_picture(panel, len(made) + 1, {**corner, "w": _WIDE, "h": _HIGH}))
        top += -(-len(pictures) // across) * _HIGH
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": plan.name[:40],
        "title": f"outgrow: {plan.model}",
        "tags": ["outgrow"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": made,
    }


def _picture(panel: Panel, number: int, where: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + k), "expr": query, "legendFormat": name, "datasource": _SOURCE}
        for k, (name, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": where,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }


def watching_files(plan: Plan) -> dict[str, str]:
    """What Prometheus and Grafana of Compose read."""
    settings = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": plan.name, "static_configs": [{"targets": [f"{plan.name}:{PORT}"]}]},
        ],
    }
    source = {
        "name": "Prometheus",
        "type": "prometheus",
        "url": "http://prometheus:9090",
        "isDefault": True,
        "jsonData": {"timeInterval": "5s"},
    }
    provider = {"name": "outgrow", "type": "file", "options": {"path": "/var/lib/grafana/dashboards"}}
    provisioning = "grafana/provisioning"
    return {
        "prometheus/prometheus.yml": as_yaml(settings),
        "prometheus/rules.yaml": as_yaml(rule_groups(plan)),
        f"{provisioning}/datasources/prometheus.yaml": as_yaml({"apiVersion": 1, "datasources": [source]}),
        f"{provisioning}/dashboards/outgrow.yaml": as_yaml({"apiVersion": 1, "providers": [provider]}),
        "grafana/dashboards/outgrow.json": as_json(dashboard(plan)),
    }
