"""A runtime for KServe, and a service that uses it, with a canary."""

from __future__ import annotations

from typing import Any

from outgrow.deploy.kubernetes import DRAIN_SECONDS, container
from outgrow.deploy.plan import PORT, Plan
from outgrow.deploy.texts import as_yaml

_MOUNTED = "/mnt/models"
_FORMAT = "outgrow"


def kserve_files(plan: Plan) -> dict[str, str]:
    """The runtime once a namespace, the service once a model."""
    return {
        "kserve/runtime.yaml": as_yaml(runtime(plan)),
        "kserve/service.yaml": as_yaml(inference_service(plan)),
    }


def runtime(plan: Plan) -> dict[str, Any]:
    """What serves models of outgrow; its image needs no model in it."""
    server = container(plan)
    command = ["outgrow", "serve", "--model", f"{{{{.Name}}}}={_MOUNTED}"]
    server |= {
        "name": "kserve-container",
        "args": [*command, "--host", "0.0.0.0", "--port", str(PORT)],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
    }
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        server[probe] = {**server[probe], "httpGet": {**server[probe]["httpGet"], "port": PORT}}
    spec = {
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/path": "/metrics",
            "prometheus.io/port": str(PORT),
        },
        "supportedModelFormats": [{"name": _FORMAT, "version": "2", "autoSelect": True}],
        "protocolVersions": ["v2"],
        "containers": [server],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    metadata = {"name": "outgrow", "labels": {"app.kubernetes.io/managed-by": "outgrow"}}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": metadata,
        "spec": spec,
    }


def inference_service(plan: Plan) -> dict[str, Any]:
    """The model; with `canary_percent` a second version, under `spec.canary`, gets that share."""
    storage = plan.choices.storage or f"pvc://{plan.name}/{plan.version}"
    predictor = {
        "minReplicas": plan.choices.replicas,
        "maxReplicas": plan.choices.most_replicas,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 45,
        "model": {
            "modelFormat": {"name": _FORMAT, "version": "2"},
            "runtime": "outgrow",
            "protocolVersion": "v2",
            "storageUri": storage,
        },
    }
    spec: dict[str, Any] = {"predictor": predictor}
    if plan.choices.canary_percent is not None:
        newer = {**predictor["model"], "storageUri": f"{storage}-canary"}  # type: ignore[dict-item]
        canary = {**predictor, "minReplicas": 1, "model": newer}
        spec["canary"] = [{"trafficPercent": plan.choices.canary_percent, "predictor": canary}]
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": plan.name,
            "labels": plan.labels,
            "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
        },
        "spec": spec,
    }
