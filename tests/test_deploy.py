"""Files of deployments: names, memory, libraries, and the schemas of who reads them."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import runpy
import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import outgrow as og
from outgrow.cli.app import app as command
from outgrow.deploy import TARGETS, deploy
from outgrow.deploy import write as writing
from outgrow.deploy.kserve import kserve_files
from outgrow.deploy.kubernetes import kubernetes_files
from outgrow.deploy.plan import Choices, Needs, Plan, kubernetes_name
from outgrow.errors import ArtifactError, OutputExistsError, ParameterError

NEEDS = Needs(("outgrow[serve]==0.1.0",), 200 << 20, 1.5, "3.11")
NAME = 'Späte Flüge "2026" $(HOME) {{x}}'
PLAN = Plan(NAME, "3", "LogisticRegression", NEEDS, Choices(canary_percent=10))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "line"
    og.LinearRegression().fit(np.arange(4.0).reshape(-1, 1), np.arange(4.0)).save(folder)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process of its own for each deployment."""
    monkeypatch.setattr(writing, "measured", lambda path, *, lean: NEEDS)


def objects(files: dict[str, str]) -> list[dict[str, Any]]:
    return [
        document
        for name, text in files.items()
        if name.endswith("yaml")
        for document in yaml.safe_load_all(text)
    ]


# ---- names and numbers -------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_any_name_becomes_one_that_kubernetes_takes(name: str) -> None:
    made = kubernetes_name(name)
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?", made)
    assert kubernetes_name(made) == made


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_names_stay_two(one: str, other: str) -> None:
    assert (kubernetes_name(one) == kubernetes_name(other)) == (one == other)


def test_memory_follows_what_was_measured() -> None:
    assert (NEEDS.requested_mebibytes, NEEDS.limit_mebibytes) == (256, 448)


@pytest.mark.parametrize(
    "wrong",
    [{"replicas": 0}, {"replicas": 11}, {"waiting_rows": 0}, {"canary_percent": 101}, {"image": "no image"}],
    ids=str,
)
def test_choices_that_cannot_be_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        Choices(**wrong)


# ---- schemas -----------------------------------------------------------------------------------------------


def test_objects_are_what_kubernetes_takes() -> None:
    """Those of its own; objects of operators have schemas of theirs, and are looked at below."""
    validate = pytest.importorskip("kubernetes_validate")
    kinds = []
    for document in objects(kubernetes_files(PLAN)):
        if not document["apiVersion"].startswith(("kustomize", "keda", "monitoring")):
            validate.validate(document, "1.33", strict=True)
            kinds.append(document["kind"])
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"]
    pods = [document["spec"] | {"restartPolicy": "Always"} for document in objects(kserve_files(PLAN))][:1]
    runtime = {key: pods[0][key] for key in ("containers", "volumes", "restartPolicy")}
    named = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runtime"}, "spec": runtime}
    validate.validate(named, "1.33", strict=True)


def test_a_rollout_loses_nothing_and_scaling_divides_once() -> None:
    files = {document["kind"]: document for document in objects(kubernetes_files(PLAN))}
    spec = files["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = spec["template"]["spec"]
    (server,) = pod["containers"]
    drain = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    probe = server["readinessProbe"]
    assert drain > probe["periodSeconds"] * probe["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] >= drain + 30  # what the server takes to finish
    assert pod["securityContext"]["runAsNonRoot"]
    assert server["securityContext"]["readOnlyRootFilesystem"]
    assert server["resources"]["requests"]["memory"] == "256Mi"
    (trigger,) = files["ScaledObject"]["spec"]["triggers"]
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["query"].startswith("sum(")  # a mean would be divided again by the replicas
    assert files["ScaledObject"]["spec"]["pollingInterval"] + 5 <= 15
    rows = files["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]
    assert rows["target"]["averageValue"] == trigger["metadata"]["threshold"] == "128"
    assert files["ServiceMonitor"]["spec"]["jobLabel"] in files["Service"]["metadata"]["labels"]


def test_names_in_arguments_are_taken_as_they_are() -> None:
    """Kubernetes replaces $(VARIABLE) in arguments."""
    (deployment, *_) = objects(kubernetes_files(PLAN))
    words = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"{NAME}=/model".replace("$(", "$$(") in words


def fields_of(kind: str, document: Any, models: types.ModuleType) -> None:
    """Refuse fields that a class of KServe has not; Kubernetes' own are looked at elsewhere."""
    listed = re.fullmatch(r"list\[(.*)\]", kind)
    if listed is not None:
        for item in document:
            fields_of(listed[1], item, models)
    elif kind in ("str", "int", "bool", "float"):
        assert type(document).__name__ == kind
    elif kind.startswith(("V1alpha1", "V1beta1")):
        module = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
        model = getattr(importlib.import_module(f"kserve.models.{module}"), kind)
        names = {json_name: name for name, json_name in model.attribute_map.items()}
        for key, value in document.items():
            assert key in names, f"{kind} has no {key}"
            fields_of(model.openapi_types[names[key]], value, models)


@pytest.fixture
def kserve(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The classes of KServe without its server, which wants many libraries."""
    spec = importlib.util.find_spec("kserve")
    if spec is None or spec.origin is None:
        pytest.skip("kserve is not installed")
    package = types.ModuleType("kserve")
    package.__path__ = [str(Path(spec.origin).parent)]
    models = types.ModuleType("kserve.models")
    models.__path__ = [str(Path(spec.origin).parent / "models")]
    monkeypatch.setitem(sys.modules, "kserve", package)
    monkeypatch.setitem(sys.modules, "kserve.models", models)
    return models


def test_objects_are_what_kserve_takes(kserve: types.ModuleType) -> None:
    runtime, service = objects(kserve_files(PLAN))
    fields_of("V1alpha1ServingRuntime", runtime, kserve)
    fields_of("V1beta1InferenceService", service, kserve)
    (canary,) = service["spec"]["canary"]
    assert canary["trafficPercent"] == 10
    assert canary["predictor"]["model"]["storageUri"] != service["spec"]["predictor"]["model"]["storageUri"]
    (plain,) = objects(kserve_files(Plan("late", "1", "Ridge", NEEDS)))[1:]
    assert "canary" not in plain["spec"]
    with pytest.raises(AssertionError, match="has no colour"):
        fields_of("V1beta1InferenceService", {"spec": {"predictor": {"model": {"colour": 1}}}}, kserve)


# ---- folders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_written_whole(target: str, saved: Path, tmp_path: Path, quick: None) -> None:
    plan = deploy(saved, tmp_path / "out", to=target, name=NAME, choices=PLAN.choices)
    assert np.array_equal(
        og.load(tmp_path / "out" / "model").predict([[2.0]]), og.load(saved).predict([[2.0]])
    )
    for path in sorted((tmp_path / "out").rglob("*")):
        if path.suffix in (".yaml", ".yml"):
            assert list(yaml.safe_load_all(path.read_text()))
        if path.suffix == ".json":
            json.loads(path.read_text())
    recipe = (tmp_path / "out" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+)", recipe, re.MULTILINE)
    assert all((tmp_path / "out" / name).exists() for name in copied)
    assert {f"!{name}" for name in copied} <= set((tmp_path / "out" / ".dockerignore").read_text().split())
    if target != "lambda":
        assert "USER 10001:10001" in recipe
        words = json.loads(re.findall(r"^CMD (.*)$", recipe, re.MULTILINE)[-1])
        assert words[:4] == ["outgrow", "serve", "--model", f"{plan.model}=/model"]


def test_a_folder_is_replaced_only_when_asked_and_if_it_is_ours(
    saved: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(saved, tmp_path / "out", to="k8s")
    with pytest.raises(OutputExistsError):
        deploy(saved, tmp_path / "out", to="docker")
    before = sorted(map(str, (tmp_path / "out").rglob("*")))
    monkeypatch.setitem(TARGETS, "docker", (lambda plan: 1 / 0,))  # type: ignore[dict-item]
    with pytest.raises(ZeroDivisionError):
        deploy(saved, tmp_path / "out", to="docker", overwrite=True)
    assert sorted(map(str, (tmp_path / "out").rglob("*"))) == before
    monkeypatch.undo()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    with pytest.raises(OutputExistsError):
        deploy(saved, tmp_path / "mine", to="k8s", overwrite=True)
    assert (tmp_path / "mine" / "notes").read_text() == "keep"


def test_other_users_may_read_what_is_copied_into_images(saved: Path, tmp_path: Path, quick: None) -> None:
    """Containers run as nobody in particular, and copy modes as they are. bentoml #1032, mlflow #5544."""
    before = os.umask(0o077)
    try:
        deploy(saved, tmp_path / "out", to="compose")
    finally:
        os.umask(before)
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_the_current_version_of_a_store_is_taken(saved: Path, tmp_path: Path, quick: None) -> None:
    store = og.ModelStore(tmp_path / "store")
    store.promote(store.add(og.load(saved)))
    store.add(og.load(saved))
    plan = deploy(tmp_path / "store", tmp_path / "out", to="docker")
    assert (plan.model, plan.version, plan.image) == ("store", "1", "store:1")


def test_what_cannot_be_deployed_is_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="docker, compose, k8s, kserve, lambda"):
        deploy(saved, tmp_path / "out", to="mesos")
    with pytest.raises(ArtifactError):
        deploy(tmp_path / "none", tmp_path / "out", to="docker")
    with pytest.raises(ParameterError, match="without / and ="):
        deploy(saved, tmp_path / "out", to="docker", name="a/b")
    assert not (tmp_path / "out").exists()


def test_the_command_measures_and_pins_what_a_server_imports(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(
        command, ["deploy", str(saved), "--to", "k8s", "-o", str(out), "--replicas", "3"]
    )
    assert done.exit_code == 0, done.output
    assert re.search(
        r"LinearRegression, version \w+, as line\. A process of its own took \d+ MB", done.output
    )
    deployment = yaml.safe_load((out / "k8s" / "deployment.yaml").read_text())
    assert deployment["spec"]["replicas"] == 3
    asked = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"]
    assert 128 <= int(asked.removesuffix("Mi")) <= 1024
    lines = [line for line in (out / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert pins.pop("outgrow[serve]") == og.__version__
    assert all(version == metadata.version(name) for name, version in pins.items())
    needed = {"numpy", "pyarrow", "safetensors", "scikit-learn", "scipy", "starlette", "uvicorn"}
    assert needed | {"anyio", "h11", "httptools", "msgspec", "prometheus-client", "threadpoolctl"} <= set(
        pins
    )
    assert not {"pyspark", "mlflow", "xgboost-cpu", "pytest"} & set(pins)


def test_the_handler_for_lambda_answers(saved: Path, tmp_path: Path) -> None:
    plan = deploy(saved, tmp_path / "out", to="lambda")
    assert plan.needs.memory_bytes < 120e6
    template = yaml.safe_load((tmp_path / "out" / "template.yaml").read_text())
    assert template["Resources"]["Model"]["Properties"]["MemorySize"] == 256
    handler = runpy.run_path(str(tmp_path / "out" / "handler.py"))["handler"]
    answer = handler({"body": '{"rows": [{"x0": 3.0}]}', "isBase64Encoded": False}, None)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["predictions"] == pytest.approx([3.0])
