"""The folder of a deployment: the model, and all files of the target, whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from outgrow import storage
from outgrow.artifact import current_artifact
from outgrow.deploy.aws_lambda import lambda_files
from outgrow.deploy.dashboards import watching_files
from outgrow.deploy.docker import compose_files, image_files
from outgrow.deploy.kserve import kserve_files
from outgrow.deploy.kubernetes import kubernetes_files
from outgrow.deploy.measure import measured
from outgrow.deploy.plan import Choices, Plan
from outgrow.errors import ParameterError
from outgrow.registry.store import Follower

TARGETS: dict[str, tuple[Callable[[Plan], dict[str, str]], ...]] = {
    "docker": (image_files,),
    "compose": (image_files, compose_files, watching_files),
    "k8s": (image_files, kubernetes_files, watching_files),
    "kserve": (image_files, kserve_files, watching_files),
    "lambda": (lambda_files,),
}
"""What makes the files of a target."""
_KIND = "files of a deployment"


def deploy(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str,
    name: str | None = None,
    choices: Choices | None = None,
    overwrite: bool = False,
) -> Plan:
    """Write the files that put a model into service.

    A process like the one that will serve it is started once, to see that it answers, and what it takes.

    Parameters
    ----------
    model : a saved model, or a folder of versions, whose current one is taken.
    out : the folder to write.
    to : docker, compose, k8s, kserve or lambda.
    name : under which it is served; None for the name of its folder.
    choices : of an operator; None for the usual ones.
    overwrite : whether a folder that `deploy` wrote before is replaced.

    Raises
    ------
    ParameterError
        When there is no such target.
    ArtifactError
        When there is no model, or a new process cannot answer with it.
    OutputExistsError
        When the folder is there, and may not be replaced.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> from outgrow.deploy import deploy
    >>> folder = tempfile.mkdtemp()
    >>> og.LinearRegression().fit(np.array([[0.0], [1.0]]), [1.0, 3.0]).save(f"{folder}/line")
    >>> deploy(f"{folder}/line", f"{folder}/deploy", to="docker").image.partition(":")[0]
    'line'
    """
    if to not in TARGETS:
        raise ParameterError(f"to={to!r}: {', '.join(TARGETS)} are possible.")
    storage.check_free(out, _KIND, overwrite=overwrite)
    version = Follower(model).look()
    assert version is not None
    called = Path(model).resolve().name if name is None else name
    if not called or "/" in called or "=" in called:
        raise ParameterError(f"name={called!r}: a name without / and = is needed.")
    artifact = current_artifact(Path(model))
    needs = measured(artifact, lean=to == "lambda")
    kind = type(version.predictor.model).__name__
    plan = Plan(called, version.name, kind, needs, choices or Choices())
    with storage.new_directory(out, _KIND, overwrite=overwrite) as folder:
        shutil.copytree(artifact, folder / "model")
        for make in TARGETS[to]:
            for name_below, text in make(plan).items():
                (folder / name_below).parent.mkdir(parents=True, exist_ok=True)
                (folder / name_below).write_text(text, encoding="utf-8")
        for path in folder.rglob("*"):  # containers read them as another user than the one who wrote them
            path.chmod(0o755 if path.is_dir() else 0o644)
        folder.chmod(0o755)
    return plan
