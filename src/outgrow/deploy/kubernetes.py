"""Objects of Kubernetes: replicas that come warm, go drained, and are as many as rows wait for."""

from __future__ import annotations

from typing import Any

from outgrow.deploy.docker import STOP_SECONDS, USER, arguments
from outgrow.deploy.plan import PORT, Plan
from outgrow.deploy.queries import rules, waiting
from outgrow.deploy.texts import as_yaml

DRAIN_SECONDS = 10
"""How long a replica that goes serves on, until no new connections come to it."""
Document = dict[str, Any]


def kubernetes_files(plan: Plan) -> dict[str, str]:
    """The files of the folder `k8s`, by their names."""
    always = {
        "deployment.yaml": [deployment(plan)],
        "service.yaml": [service(plan)],
        "disruptions.yaml": [disruptions(plan)],
        "hpa.yaml": [autoscaler(plan)],
    }
    return {
        **{f"k8s/{name}": as_yaml(*documents) for name, documents in always.items()},
        "k8s/kustomization.yaml": as_yaml(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": list(always),
            }
        ),
        "k8s/keda/scaledobject.yaml": as_yaml(scaled_object(plan)),
        "k8s/prometheus-operator/servicemonitor.yaml": as_yaml(service_monitor(plan)),
        "k8s/prometheus-operator/rules.yaml": as_yaml(prometheus_rule(plan)),
    }


def _object(plan: Plan, api: str, kind: str, spec: Document) -> Document:
    metadata = {"name": plan.name, "labels": plan.labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def _selected(plan: Plan) -> Document:
    return {"matchLabels": {"app.kubernetes.io/name": plan.name}}


def container(plan: Plan) -> Document:
    """The container that serves."""
    memory = plan.needs.requested_mebibytes, plan.needs.limit_mebibytes
    return {
        "name": "server",
        "image": plan.image,
        "args": ["outgrow", *(word.replace("$(", "$$(") for word in arguments(plan))],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {
            "requests": {"cpu": "500m", "memory": f"{memory[0]}Mi"},
            "limits": {"memory": f"{memory[1]}Mi"},
        },
        "startupProbe": _probe("ready", period=1, failures=max(60, int(10 * plan.needs.start_seconds))),
        "readinessProbe": _probe("ready", period=2, failures=2),
        "livenessProbe": _probe("live", period=10, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(DRAIN_SECONDS)]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def _probe(state: str, *, period: int, failures: int) -> Document:
    """A look at `/v2/health/ready`, which is so when the model is loaded and warm, or `/v2/health/live`."""
    get = {"path": f"/v2/health/{state}", "port": "http"}
    return {"httpGet": get, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures}


def deployment(plan: Plan) -> Document:
    """Replicas; a new version's come first, and one of the old goes when one of the new answers."""
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + STOP_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": _selected(plan),
            }
        ],
        "containers": [container(plan)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    spec = {
        "replicas": plan.choices.replicas,
        "selector": _selected(plan),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": {**plan.labels, "app.kubernetes.io/version": plan.version}},
            "spec": pod,
        },
    }
    return _object(plan, "apps/v1", "Deployment", spec)


def service(plan: Plan) -> Document:
    """The address of all replicas that are ready."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return _object(plan, "v1", "Service", {"selector": _selected(plan)["matchLabels"], "ports": ports})


def disruptions(plan: Plan) -> Document:
    """When nodes are emptied, one replica goes at a time."""
    return _object(
        plan, "policy/v1", "PodDisruptionBudget", {"maxUnavailable": 1, "selector": _selected(plan)}
    )


def autoscaler(plan: Plan) -> Document:
    """By rows that wait, which an adapter of metrics gives, and by processor."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": plan.name}
    rows = {
        "metric": {"name": "outgrow_waiting_rows"},
        "target": {"type": "AverageValue", "averageValue": str(plan.choices.waiting_rows)},
    }
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 160}}
    spec = {
        "scaleTargetRef": target,
        "minReplicas": plan.choices.replicas,
        "maxReplicas": plan.choices.most_replicas,
        "metrics": [{"type": "Pods", "pods": rows}, {"type": "Resource", "resource": cpu}],
        "behavior": _behavior(),
    }
    return _object(plan, "autoscaling/v2", "HorizontalPodAutoscaler", spec)


def _behavior() -> Document:
    """Up at once, by twice as many; down slowly, after five minutes."""
    up = {"type": "Percent", "value": 100, "periodSeconds": 15}
    down = {"type": "Pods", "value": 1, "periodSeconds": 60}
    return {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [up, {**up, "type": "Pods", "value": 4}]},
        "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [down]},
    }


def scaled_object(plan: Plan) -> Document:
    """The same for KEDA, which asks Prometheus itself. It takes the place of the autoscaler.

    The query is the sum over all replicas; KEDA divides it by the threshold, so it must not be a mean.
    """
    trigger = {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": "http://prometheus-operated.monitoring.svc:9090",
            "query": waiting(plan),
            "threshold": str(plan.choices.waiting_rows),
        },
    }
    spec = {
        "scaleTargetRef": {"name": plan.name},
        "pollingInterval": 5,
        "cooldownPeriod": 300,
        "minReplicaCount": plan.choices.replicas,
        "maxReplicaCount": plan.choices.most_replicas,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior()}},
        "triggers": [trigger],
    }
    return _object(plan, "keda.sh/v1alpha1", "ScaledObject", spec)


def service_monitor(plan: Plan) -> Document:
    """Prometheus looks at each replica every five seconds, under the job's name that the queries have."""
    spec = {
        "jobLabel": "app.kubernetes.io/name",
        "selector": _selected(plan),
        "endpoints": [{"port": "http", "path": "/metrics", "interval": "5s", "honorLabels": False}],
    }
    return _object(plan, "monitoring.coreos.com/v1", "ServiceMonitor", spec)


def rule_groups(plan: Plan) -> Document:
    """The alerts, as Prometheus reads them from a file."""
    alerts = [
        {
            "alert": rule.name,
            "expr": rule.query,
            "for": rule.lasts,
            "labels": {"severity": rule.severity, "model": plan.model},
            "annotations": {"summary": f"{plan.model}: {rule.says}".replace("{{", "{ {")},
        }
        for rule in rules(plan)
    ]
    return {"groups": [{"name": plan.name, "rules": alerts}]}


def prometheus_rule(plan: Plan) -> Document:
    return _object(plan, "monitoring.coreos.com/v1", "PrometheusRule", rule_groups(plan))
