"""What is asked of Prometheus, for dashboards, rules and scaling: one list, of metrics that a server has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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


def panels(plan: Plan) -> Iterator[Panel]:
    """The pictures, in their order."""
    model, job = f"model={quoted(plan.model)}", f"job={quoted(plan.name)}"
    seconds = f"sum by (le) (rate(outgrow_request_seconds_bucket{{{model}}}[$__rate_interval]))"
    queue = f"sum by (le) (rate(outgrow_queue_seconds_bucket{{{model}}}[$__rate_interval]))"
    yield Panel(
        "Requests",
        "reqps",
        {"{{status}}": f"sum by (status) (rate(outgrow_requests_total{{{model}}}[$__rate_interval]))"},
        "Traffic",
    )
    yield Panel(
        "Rows", "rowsps", {"rows": f"sum(rate(outgrow_rows_total{{{model}}}[$__rate_interval]))"}, "Traffic"
    )
    yield Panel(
        "Time of requests",
        "s",
        {f"{share:.0%}": f"histogram_quantile({share}, {seconds})" for share in (0.5, 0.95, 0.99)},
        "Traffic",
    )
    yield Panel(
        "Rows that wait",
        "short",
        {"{{instance}}": f"outgrow_waiting_rows{{{model}}}", "all": waiting(plan)},
        "Load",
    )
    yield Panel("Time in the queue", "s", {"95%": f"histogram_quantile(0.95, {queue})"}, "Load")
    batches = "outgrow_batch_rows"
    yield Panel(
        "Rows in a batch",
        "short",
        {
            "mean": f"sum(rate({batches}_sum{{{model}}}[$__rate_interval])) / "
            f"sum(rate({batches}_count{{{model}}}[$__rate_interval]))"
        },
        "Load",
    )
    yield Panel(
        "Processor",
        "short",
        {"{{instance}}": f"rate(outgrow_process_cpu_seconds_total{{{job}}}[$__rate_interval])"},
        "Machines",
    )
    yield Panel("Memory", "bytes", {"{{instance}}": f"outgrow_process_resident_bytes{{{job}}}"}, "Machines")
    yield Panel(
        "GPU",
        "percentunit",
        {"{{instance}} {{gpu}}": f"outgrow_gpu_utilization_ratio{{{job}}}"},
        "Machines",
    )
    yield Panel(
        "GPU memory", "bytes", {"{{instance}} {{gpu}}": f"outgrow_gpu_memory_bytes{{{job}}}"}, "Machines"
    )
    yield Panel(
        "Versions that answer",
        "short",
        {"{{role}} {{version}}": f"sum by (role, version) (outgrow_model_version{{{model}}})"},
        "Model",
    )
    yield Panel(
        "Drift",
        "short",
        {"{{column}} {{metric}}": f"max by (column, metric) (outgrow_drift{{{model}}})"},
        "Model",
    )
    yield Panel(
        "Quality",
        "short",
        {"{{version}} {{metric}}": f"max by (version, metric) (outgrow_quality{{{model}}})"},
        "Model",
    )
    yield Panel("Age of labels", "s", {"labels": f"max(outgrow_label_lag_seconds{{{model}}})"}, "Model")


def rules(plan: Plan) -> Iterator[Rule]:
    """The alerts."""
    model, job = f"model={quoted(plan.model)}", f"job={quoted(plan.name)}"
    requests = f"sum(rate(outgrow_requests_total{{{model}}}[5m]))"
    yield Rule(
        "OutgrowSlow",
        f"histogram_quantile(0.99, sum by (le) (rate(outgrow_request_seconds_bucket{{{model}}}[5m]))) > 0.25",
        "5m",
        "page",
        "One request of a hundred takes longer than 0.25 s. See whether rows wait; raise the most replicas.",
    )
    yield Rule(
        "OutgrowRefuses",
        f'sum(rate(outgrow_requests_total{{{model},status="429"}}[5m])) / {requests} > 0.01',
        "5m",
        "page",
        "More than 1 % of the requests are refused, as too many rows wait. Raise the most replicas.",
    )
    yield Rule(
        "OutgrowFails",
        f'sum(rate(outgrow_requests_total{{{model},status=~"5.."}}[5m])) / {requests} > 0.001',
        "5m",
        "page",
        "More than 0.1 % of the requests fail. The server's log says why.",
    )
    yield Rule(
        "OutgrowGone",
        f'absent(outgrow_model_version{{{model},role="primary"}} == 1)',
        "2m",
        "page",
        "No server answers for the model, or Prometheus does not reach it.",
    )
    yield Rule(
        "OutgrowVersionSkew",
        f'count(count by (version) (outgrow_model_version{{{model},role="primary"}} == 1)) > 1',
        "15m",
        "ticket",
        "Replicas answer with different versions, longer than a rollout takes.",
    )
    yield Rule(
        "OutgrowVersionRefused",
        f"sum by (role) (increase(outgrow_refused_versions_total{{{model}}}[15m])) > 0",
        "0m",
        "ticket",
        "A new version cannot be used; the one before goes on answering. /health says why.",
    )
    yield Rule(
        "OutgrowDrift",
        f'max by (column) (outgrow_drift{{{model},metric="psi"}}) > 0.2',
        "1h",
        "ticket",
        "A column is not what it was when the model learned. See the report of `outgrow drift`.",
    )
    yield Rule(
        "OutgrowLabelsLate",
        f"max(outgrow_label_lag_seconds{{{model}}}) > 172800",
        "1h",
        "ticket",
        "No labels came for two days: nobody knows how good the model is.",
    )
    yield Rule(
        "OutgrowLogLost",
        f"sum(increase(outgrow_log_lost_rows_total{{{job}}}[15m])) > 0",
        "0m",
        "ticket",
        "Rows of the prediction log could not be written. See the disk of the log.",
    )
