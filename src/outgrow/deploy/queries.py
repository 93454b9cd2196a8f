"""What is asked of Prometheus, for dashboards, rules and scaling: one list, of metrics that a server has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from outgrow.deploy.plan import Plan


def quoted(text: str) -> str:
    """A text as the value of a label in PromQL, quotes around it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@dataclass(frozen=True)
class Panel:
    """A picture of a dashboard.

    Attributes
    ----------
    title : above it.
    unit : as Grafana calls it.
    queries : by what a line is called; `{{label}}` is a label's value.
    row : under which heading it stands.
    """

    title: str
    unit: str
    queries: dict[str, str]
    row: str


@dataclass(frozen=True)
class Rule:
    """An alert.

    Attributes
    ----------
    name : of the alert.
    query : which has a value where something is wrong.
    lasts : for how long it must be so.
    severity : page or ticket.
    says : what is wrong and what to do.
    """

    name: str
    query: str
    lasts: str
    severity: str
    says: str


def waiting(plan: Plan) -> str:
    """Rows that wait on all replicas. Whoever scales divides it by the rows that one replica may have.

    The most of the last seconds, as rows come in bursts between two looks.
    """
    return f"sum(max_over_time(outgrow_waiting_rows{{model={quoted(plan.model)}}}[15s]))"


_EVERY = "$__rate_interval"
"""Of Grafana: a few looks of Prometheus, or more where a picture spans days."""


def _quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{{MODEL}}[{_EVERY}])))"


_PANELS: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "Traffic": [
        (
            "Requests",
            "reqps",
            {"{{status}}": f"sum by (status) (rate(outgrow_requests_total{{MODEL}}[{_EVERY}]))"},
        ),
        ("Rows", "rowsps", {"rows": f"sum(rate(outgrow_rows_total{{MODEL}}[{_EVERY}]))"}),
        (
            "Time of requests",
            "s",
            {f"{share:.0%}": _quantile(share, "outgrow_request_seconds") for share in (0.5, 0.95, 0.99)},
        ),
    ],
    "Load": [
        ("Rows that wait", "short", {"{{instance}}": "outgrow_waiting_rows{MODEL}"}),
        ("Time in the queue", "s", {"95%": _quantile(0.95, "outgrow_queue_seconds")}),
        (
            "Rows in a batch",
            "short",
            {
                "mean": f"sum(rate(outgrow_batch_rows_sum{{MODEL}}[{_EVERY}]))"
                f" / sum(rate(outgrow_batch_rows_count{{MODEL}}[{_EVERY}]))"
            },
        ),
    ],
    "Machines": [
        ("Processor", "short", {"{{instance}}": f"rate(outgrow_process_cpu_seconds_total{{JOB}}[{_EVERY}])"}),
        ("Memory", "bytes", {"{{instance}}": "outgrow_process_resident_bytes{JOB}"}),
        ("GPU", "percentunit", {"{{instance}} {{gpu}}": "outgrow_gpu_utilization_ratio{JOB}"}),
        ("GPU memory", "bytes", {"{{instance}} {{gpu}}": "outgrow_gpu_memory_bytes{JOB}"}),
    ],
    "Model": [
        (
            "Versions that answer",
            "short",
            {"{{role}} {{version}}": "sum by (role, version) (outgrow_model_version{MODEL})"},
        ),
        ("Drift", "short", {"{{column}} {{metric}}": "max by (column, metric) (outgrow_drift{MODEL})"}),
        ("Quality", "short", {"{{version}} {{metric}}": "max by (version, metric) (outgrow_quality{MODEL})"}),
        ("Age of labels", "s", {"labels": "max(outgrow_label_lag_seconds{MODEL})"}),
    ],
}
"""Headings, and under each its pictures: title, unit, queries. MODEL and JOB stand for labels."""
_PAGE, _TICKET = "page", "ticket"
_REQUESTS = "sum(rate(outgrow_requests_total{MODEL}[5m]))"
_RULES = [
    Rule(
        "OutgrowSlow",
        "histogram_quantile(0.99, sum by (le) (rate(outgrow_request_seconds_bucket{MODEL}[5m]))) > 0.25",
        "5m",
        _PAGE,
        "One request of a hundred takes longer than 0.25 s. See whether rows wait; raise the most replicas.",
    ),
    Rule(
        "OutgrowRefuses",
        f'sum(rate(outgrow_requests_total{{MODEL,status="429"}}[5m])) / {_REQUESTS} > 0.01',
        "5m",
        _PAGE,
        "More than 1 % of the requests are refused, as too many rows wait. Raise the most replicas.",
    ),
    Rule(
        "OutgrowFails",
        f'sum(rate(outgrow_requests_total{{MODEL,status=~"5.."}}[5m])) / {_REQUESTS} > 0.001',
        "5m",
        _PAGE,
        "More than 0.1 % of the requests fail. The server's log says why.",
    ),
    Rule(
        "OutgrowGone",
        'absent(outgrow_model_version{MODEL,role="primary"} == 1)',
        "2m",
        _PAGE,
        "No server answers for the model, or Prometheus does not reach it.",
    ),
    Rule(
        "OutgrowVersionSkew",
        'count(count by (version) (outgrow_model_version{MODEL,role="primary"} == 1)) > 1',
        "15m",
        _TICKET,
        "Replicas answer with different versions, longer than a rollout takes.",
    ),
    Rule(
        "OutgrowVersionRefused",
        "sum by (role) (increase(outgrow_refused_versions_total{MODEL}[15m])) > 0",
        "0m",
        _TICKET,
        "A new version cannot be used; the one before goes on answering. /health says why.",
    ),
    Rule(
        "OutgrowDrift",
        'max by (column) (outgrow_drift{MODEL,metric="psi"}) > 0.2',
        "1h",
        _TICKET,
        "A column is not what it was when the model learned. See the report of `outgrow drift`.",
    ),
    Rule(
        "OutgrowLabelsLate",
        "max(outgrow_label_lag_seconds{MODEL}) > 172800",
        "1h",
        _TICKET,
        "No labels came for two days: nobody knows how good the model is.",
    ),
    Rule(
        "OutgrowLogLost",
        "sum(increase(outgrow_log_lost_rows_total{JOB}[15m])) > 0",
        "0m",
        _TICKET,
        "Rows of the prediction log could not be written. See the disk of the log.",
    ),
]


def _about(plan: Plan, query: str) -> str:
    """A query about one model: once, so that a name may hold any text."""
    labels = {"MODEL": f"model={quoted(plan.model)}", "JOB": f"job={quoted(plan.name)}"}
    return re.sub(r"(?<={)(MODEL|JOB)\b", lambda match: labels[match[1]], query)


def panels(plan: Plan) -> Iterator[Panel]:
    """The pictures, in their order."""
    for row, pictures in _PANELS.items():
        for title, unit, queries in pictures:
            yield Panel(title, unit, {name: _about(plan, query) for name, query in queries.items()}, row)


def rules(plan: Plan) -> Iterator[Rule]:
    """The alerts."""
    for rule in _RULES:
        yield replace(rule, query=_about(plan, rule.query))
