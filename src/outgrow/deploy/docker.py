"""A container: its recipe and its libraries; and Compose, with Prometheus and Grafana beside it."""

from __future__ import annotations

import json

from outgrow.deploy.plan import PORT, Plan
from outgrow.deploy.texts import as_lines, as_yaml

USER = 10001
"""The number of the user that serves; no name, so that Kubernetes can see that it is not root."""
STOP_SECONDS = 45
"""How long a server may take to finish what it accepted, and its drain before."""
_WHEELS = """Put wheels here that your package index has not, such as one of outgrow itself:

    pip wheel --no-deps -w wheels outgrow

They are preferred to others of the same version when the image is built.
"""


def arguments(plan: Plan) -> list[str]:
    """The words after `outgrow` that serve the model."""
    return ["serve", "--model", f"{plan.model}=/model", "--host", "0.0.0.0", "--port", str(PORT)]


def image_files(plan: Plan) -> dict[str, str]:
    """The files an image is built of, but the model."""
    return {
        "Dockerfile": as_lines(_recipe(plan)),
        ".dockerignore": "*\n!model\n!wheels\n!requirements.txt\n!handler.py\n",
        "requirements.txt": as_lines(plan.needs.requirements),
        "wheels/README.txt": _WHEELS,
    }


def _recipe(plan: Plan) -> list[str]:
    command = json.dumps(["outgrow", *arguments(plan)], ensure_ascii=False)
    probe = f"http://127.0.0.1:{PORT}/v2/health/ready"
    return [
        f"FROM python:{plan.needs.python}-slim AS build",
        "COPY requirements.txt /requirements.txt",
        "COPY wheels /wheels",
        "RUN python -m venv /app \\",
        " && /app/bin/pip install --no-cache-dir --find-links /wheels -r /requirements.txt",
        "",
        f"FROM python:{plan.needs.python}-slim",
        "ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp",
        "COPY --from=build /app /app",
        "COPY model /model",
        f"USER {USER}:{USER}",
        f"EXPOSE {PORT}",
        "STOPSIGNAL SIGTERM",
        "HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD "
        + json.dumps(["python", "-c", f"import urllib.request as u; u.urlopen('{probe}', timeout=2)"]),
        f"CMD {command}",
    ]


def compose_files(plan: Plan) -> dict[str, str]:
    """Compose: the server, and Prometheus and Grafana under the profile `watch`."""
    server = {
        "build": ".",
        "image": plan.image,
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{plan.needs.limit_mebibytes}m",
        "stop_grace_period": f"{STOP_SECONDS}s",
        "restart": "unless-stopped",
    }
    prometheus = {
        "image": "prom/prometheus:v3.5.0",
        "profiles": ["watch"],
        "volumes": ["./prometheus:/etc/prometheus:ro"],
        "ports": ["127.0.0.1:9090:9090"],
    }
    grafana = {
        "image": "grafana/grafana:12.1.0",
        "profiles": ["watch"],
        "volumes": [
            "./grafana/provisioning:/etc/grafana/provisioning:ro",
            "./grafana/dashboards:/var/lib/grafana/dashboards:ro",
        ],
        "ports": ["127.0.0.1:3000:3000"],
    }
    services = {plan.name: server, "prometheus": prometheus, "grafana": grafana}
    return {"compose.yaml": as_yaml({"name": plan.name, "services": services})}
